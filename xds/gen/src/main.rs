//! Writes `xds/src/proto/`: the part of Envoy's API that Gatewright speaks, as prost messages.
//!
//! Usage: `gatewright-xds-gen PROTO_DIR OUT_DIR`, where `PROTO_DIR` is the `proto` folder of the
//! pinned `envoy-types` package. `cargo xtask gen` finds it and runs this.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// Messages to have. Everything that a field of theirs can hold comes along, nothing else: the
/// whole API is 90,000 lines and takes 40 s and 1.5 GB to compile.
const ROOTS: &[&str] = &[
    "envoy/config/bootstrap/v3/bootstrap.proto:Bootstrap",
    "envoy/config/cluster/v3/cluster.proto:Cluster",
    "envoy/config/endpoint/v3/endpoint.proto:ClusterLoadAssignment",
    "envoy/config/listener/v3/listener.proto:Listener",
    "envoy/config/route/v3/route.proto:RouteConfiguration",
    "envoy/extensions/access_loggers/file/v3/file.proto:FileAccessLog",
    "envoy/extensions/access_loggers/stream/v3/stream.proto:StdoutAccessLog",
    "envoy/extensions/filters/http/health_check/v3/health_check.proto:HealthCheck",
    "envoy/extensions/filters/http/router/v3/router.proto:Router",
    "envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.proto:ProxyProtocol",
    "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto:TlsInspector",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto:HttpConnectionManager",
    "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto:TcpProxy",
    "envoy/extensions/transport_sockets/tls/v3/secret.proto:Secret",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto:DownstreamTlsContext",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto:UpstreamTlsContext",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto:HttpProtocolOptions",
    "envoy/service/discovery/v3/discovery.proto:DeltaDiscoveryRequest",
    "envoy/service/discovery/v3/discovery.proto:DeltaDiscoveryResponse",
];

/// Folders of `PROTO_DIR` that imports are looked up in.
const INCLUDES: &[&str] = &[
    "data-plane-api",
    "xds",
    "protoc-gen-validate",
    "googleapis",
    "cel-spec/proto",
    "opentelemetry-proto",
    "client_model",
];

/// Types that carry key material as bare bytes: `xds/src/proto.rs` writes their `Debug`.
const MASKED: &[&str] = &[".google.protobuf.Any", ".envoy.config.core.v3.DataSource"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(protos), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: gatewright-xds-gen PROTO_DIR OUT_DIR".into());
    };
    let files: BTreeSet<&str> = ROOTS
        .iter()
        .filter_map(|root| root.split(':').next())
        .collect();
    let set = protox::compile(files, INCLUDES.iter().map(|dir| protos.join(dir)))?;
    let set = prune(set)?;

    std::fs::create_dir_all(&out)?;
    for entry in std::fs::read_dir(&out)? {
        std::fs::remove_file(entry?.path())?;
    }
    prost_build::Config::new()
        .out_dir(&out)
        .bytes(["."])
        // Versions are hashes of the encoded bytes, so a map must always be written in one order.
        .btree_map(["."])
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        .compile_well_known_types()
        .skip_debug(MASKED)
        .compile_fds(set)?;
    std::fs::write(out.join("packages.rs"), packages(&out)?)?;
    Ok(())
}

/// Drops the messages, enums and options that no root needs.
fn prune(mut set: FileDescriptorSet) -> Result<FileDescriptorSet, Box<dyn Error>> {
    let mut references = BTreeMap::new();
    for file in &set.file {
        let package = format!(".{}", file.package());
        for message in &file.message_type {
            collect(&package, message, &mut references);
        }
    }
    let mut needed = BTreeSet::new();
    let mut pending = Vec::new();
    for root in ROOTS {
        let Some((path, name)) = root.split_once(':') else {
            continue;
        };
        let file = set
            .file
            .iter()
            .find(|file| file.name() == path)
            .ok_or(*root)?;
        pending.push(format!(".{}.{name}", file.package()));
    }
    for root in &pending {
        if !references.contains_key(root) {
            return Err(format!("{root} is not in the .proto files").into());
        }
    }
    while let Some(name) = pending.pop() {
        // A nested type lives in the module of its parent, so the parent's module is needed; the
        // parent itself is kept too, since an empty module with a bare name would confuse more.
        if let Some((parent, _)) = name
            .rsplit_once('.')
            .filter(|(p, _)| references.contains_key(*p))
        {
            pending.push(parent.to_owned());
        }
        if needed.insert(name.clone()) {
            pending.extend(references.get(&name).into_iter().flatten().cloned());
        }
    }
    for file in &mut set.file {
        let package = format!(".{}", file.package());
        file.service.clear();
        file.extension.clear();
        file.source_code_info = None;
        file.message_type
            .retain_mut(|message| keep(&package, message, &needed));
        file.enum_type
            .retain(|each| needed.contains(&format!("{package}.{}", each.name())));
    }
    set.file.retain(|file| !is_empty(file));
    Ok(set)
}

fn is_empty(file: &FileDescriptorProto) -> bool {
    file.message_type.is_empty() && file.enum_type.is_empty()
}

/// Notes which types each message's fields name, by full name.
fn collect(scope: &str, message: &DescriptorProto, references: &mut BTreeMap<String, Vec<String>>) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        collect(&name, nested, references);
    }
    let types = message
        .field
        .iter()
        .filter_map(|field| field.type_name.clone())
        .collect();
    references.insert(name, types);
}

fn keep(scope: &str, message: &mut DescriptorProto, needed: &BTreeSet<String>) -> bool {
    let name = format!("{scope}.{}", message.name());
    message.extension.clear();
    message
        .nested_type
        .retain_mut(|nested| keep(&name, nested, needed));
    message
        .enum_type
        .retain(|each| needed.contains(&format!("{name}.{}", each.name())));
    needed.contains(&name)
}

/// The module tree: one module a package segment, each holding the file of its package.
fn packages(out: &Path) -> Result<String, Box<dyn Error>> {
    #[derive(Default)]
    struct Module {
        file: Option<String>,
        children: BTreeMap<String, Module>,
    }
    fn write(text: &mut String, depth: usize, module: &Module) {
        let pad = "    ".repeat(depth);
        if let Some(file) = &module.file {
            _ = writeln!(text, "{pad}include!(\"{file}\");");
        }
        for (name, child) in &module.children {
            let name = if name == "type" { "r#type" } else { name };
            _ = writeln!(text, "{pad}pub mod {name} {{");
            write(text, depth + 1, child);
            _ = writeln!(text, "{pad}}}");
        }
    }
    let mut root = Module::default();
    for entry in std::fs::read_dir(out)? {
        let name = entry?
            .file_name()
            .into_string()
            .map_err(|_| "file name is not UTF-8")?;
        let file = name.replace("r#", "");
        std::fs::rename(out.join(&name), out.join(&file))?;
        let mut module = &mut root;
        for segment in file.trim_end_matches(".rs").split('.') {
            module = module.children.entry(segment.to_owned()).or_default();
        }
        module.file = Some(file);
    }
    let mut text = "// Generated by `cargo xtask gen`.\n".to_owned();
    write(&mut text, 0, &root);
    Ok(text)
}
