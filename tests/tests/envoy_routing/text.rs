//! Resources as text: every field that is not at its default, one to a line.
//!
//! The messages have no JSON form here, but their `Debug` shows every field; this reads it again and
//! leaves the defaults out. Packed messages are unpacked.

use std::collections::VecDeque;
use std::fmt::{Debug, Write as _};

use gatewright_xds::proto::envoy::config::cluster::v3::Cluster;
use gatewright_xds::proto::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
use gatewright_xds::proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use gatewright_xds::proto::envoy::config::listener::v3::{
    Listener, filter, listener_filter::ConfigType as ListenerFilterConfig,
};
use gatewright_xds::proto::envoy::config::route::v3::RouteConfiguration;
use gatewright_xds::proto::envoy::extensions::filters::http::router::v3::Router;
use gatewright_xds::proto::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use gatewright_xds::proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_filter,
};
use gatewright_xds::proto::envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext;
use gatewright_xds::proto::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use gatewright_xds::proto::from_any;
use gatewright_xds::proto::google::protobuf::Any;
use gatewright_xds::{Resource, ResourceType};

/// The messages without fields.
const UNITS: [&str; 2] = ["AggregatedConfigSource", "TlsInspector"];

/// The resources of one type, in their order.
pub(crate) fn of(resources: &[Resource], kind: ResourceType) -> String {
    let mut text = String::new();
    for resource in resources.iter().filter(|each| each.kind() == kind) {
        writeln!(text, "{}", resource.name()).unwrap();
        node(resource).write(&mut text, 1);
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn node(resource: &Resource) -> Node {
    match resource.kind() {
        ResourceType::Cluster => {
            let cluster: Cluster = resource.decode().unwrap();
            let options = cluster.typed_extension_protocol_options.values();
            let packed = options.map(unpack).collect();
            Node::parse(&cluster, packed)
        }
        ResourceType::Endpoints => {
            let endpoints: ClusterLoadAssignment = resource.decode().unwrap();
            Node::parse(&endpoints, VecDeque::new())
        }
        ResourceType::Route => {
            let routes: RouteConfiguration = resource.decode().unwrap();
            Node::parse(&routes, VecDeque::new())
        }
        ResourceType::Listener => {
            let listener: Listener = resource.decode().unwrap();
            let mut packed = VecDeque::new();
            for chain in &listener.filter_chains {
                for each in &chain.filters {
                    if let Some(filter::ConfigType::TypedConfig(any)) = &each.config_type {
                        packed.push_back(unpack(any));
                    }
                }
                let socket = chain.transport_socket.as_ref();
                if let Some(SocketConfig::TypedConfig(any)) =
                    socket.and_then(|socket| socket.config_type.as_ref())
                {
                    packed.push_back(unpack(any));
                }
            }
            for each in &listener.listener_filters {
                if let Some(ListenerFilterConfig::TypedConfig(any)) = &each.config_type {
                    packed.push_back(unpack(any));
                }
            }
            Node::parse(&listener, packed)
        }
        ResourceType::Secret => panic!("a secret is not printed"),
    }
}

fn unpack(any: &Any) -> Node {
    if let Some(manager) = from_any::<HttpConnectionManager>(any).unwrap() {
        let filters = manager.http_filters.iter();
        let packed = filters.filter_map(|each| match &each.config_type {
            Some(http_filter::ConfigType::TypedConfig(any)) => Some(unpack(any)),
            _ => None,
        });
        let packed = packed.collect();
        return Node::parse(&manager, packed);
    }
    plain::<Router>(any)
        .or_else(|| plain::<TlsInspector>(any))
        .or_else(|| plain::<DownstreamTlsContext>(any))
        .or_else(|| plain::<HttpProtocolOptions>(any))
        .unwrap_or_else(|| panic!("{} is not known here", any.type_url))
}

/// A message that holds no packed ones, if `any` is of its type.
fn plain<M: prost::Message + prost::Name + Default + Debug>(any: &Any) -> Option<Node> {
    from_any::<M>(any)
        .unwrap()
        .map(|message| Node::parse(&message, VecDeque::new()))
}

/// What `Debug` printed.
enum Node {
    Scalar(String),
    List(Vec<Node>),
    /// Fields by name.
    Fields(Vec<(String, Node)>),
    /// Values by key.
    Map(Vec<(String, Node)>),
    /// `Name(value)`.
    Variant(String, Box<Node>),
    None,
}

impl Node {
    /// `packed` are the messages in the order in which `message` holds them packed.
    fn parse(message: &impl Debug, packed: VecDeque<Node>) -> Self {
        let text = format!("{message:?}");
        let mut reader = Reader {
            rest: &text,
            packed,
        };
        let node = reader.value();
        assert!(reader.rest.is_empty() && reader.packed.is_empty(), "{text}");
        node
    }

    fn is_default(&self) -> bool {
        match self {
            Self::None => true,
            Self::Scalar(text) => ["0", "0.0", "false", "\"\"", "b\"\""].contains(&text.as_str()),
            Self::List(list) => list.is_empty(),
            Self::Map(entries) => entries.is_empty(),
            Self::Fields(_) | Self::Variant(..) => false,
        }
    }

    fn write(&self, out: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        match self {
            Self::None => {}
            Self::Scalar(text) => writeln!(out, "{indent}{text}").unwrap(),
            Self::List(list) => {
                for each in list {
                    let mut text = String::new();
                    each.write(&mut text, depth + 1);
                    // The dash takes the place of the first line's last two spaces.
                    let at = 2 * depth;
                    out.push_str(&text[..at]);
                    out.push_str("- ");
                    out.push_str(&text[at + 2..]);
                }
            }
            Self::Fields(fields) | Self::Map(fields) => {
                let shown: Vec<_> = fields.iter().filter(|(_, f)| !f.is_default()).collect();
                if shown.is_empty() {
                    writeln!(out, "{indent}{{}}").unwrap();
                }
                for (name, value) in shown {
                    value.write_field(name, out, depth);
                }
            }
            Self::Variant(name, value) => value.write_field(name, out, depth),
        }
    }

    fn write_field(&self, name: &str, out: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        let mut text = String::new();
        self.write(&mut text, depth + 1);
        match self {
            Self::Scalar(text) => writeln!(out, "{indent}{name}: {text}").unwrap(),
            _ if text.trim() == "{}" => writeln!(out, "{indent}{name}: {{}}").unwrap(),
            _ => write!(out, "{indent}{name}:\n{text}").unwrap(),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    packed: VecDeque<Node>,
}

impl<'a> Reader<'a> {
    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn word(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| !(c.is_alphanumeric() || "_#.-".contains(c)));
        self.take(end.unwrap_or(self.rest.len()))
    }

    fn string(&mut self) -> String {
        let mut escaped = false;
        let quote = |(_, c): &(usize, char)| {
            let end = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            end
        };
        let end = self.rest[1..].char_indices().find(quote);
        let (end, _) = end.expect("the end of a string");
        self.take(end + 2).to_owned()
    }

    fn value(&mut self) -> Node {
        if self.rest.starts_with('"') {
            return Node::Scalar(self.string());
        }
        if self.eat("[") {
            let mut list = Vec::new();
            while !self.eat("]") {
                list.push(self.value());
                self.eat(", ");
            }
            return Node::List(list);
        }
        if self.eat("{") {
            return Node::Map(self.fields("}"));
        }
        let word = self.word();
        if word == "b" && self.rest.starts_with('"') {
            return Node::Scalar(format!("b{}", self.string()));
        }
        if self.eat(" { ") {
            return Node::Fields(self.fields(" }"));
        }
        if !self.rest.starts_with('(') {
            return match word {
                "None" => Node::None,
                // A message without fields looks like the name of an enum's value.
                _ if UNITS.contains(&word) => Node::Fields(Vec::new()),
                _ => Node::Scalar(word.trim_start_matches("r#").to_owned()),
            };
        }
        self.eat("(");
        let node = match word {
            "Any" => {
                let end = self.rest.find(')').expect("the end of a packed message");
                let text = self.take(end);
                let url = text.split_once(',').expect("a type and a size").0;
                let name = url.rsplit('.').next().unwrap_or(url).to_owned();
                let message = self.packed.pop_front().expect("a packed message");
                Node::Variant(name, Box::new(message))
            }
            "InlineBytes" | "InlineString" => {
                let end = self.rest.find(')').expect("the end of a source");
                let size = self.take(end).to_owned();
                Node::Variant(word.to_owned(), Box::new(Node::Scalar(size)))
            }
            "Some" => self.value(),
            _ => Node::Variant(word.to_owned(), Box::new(self.value())),
        };
        assert!(self.eat(")"), "{}", self.rest);
        node
    }

    fn fields(&mut self, end: &str) -> Vec<(String, Node)> {
        let mut fields = Vec::new();
        while !self.eat(end) {
            let name = if self.rest.starts_with('"') {
                self.string()
            } else {
                self.word().trim_start_matches("r#").to_owned()
            };
            assert!(self.eat(": "), "{}", self.rest);
            fields.push((name, self.value()));
            self.eat(", ");
        }
        fields
    }
}
