//! The table of Kubernetes' own API types: every field with its name, protobuf number, type and merge rules.
//!
//! `types.txt` is printed by `generate/main.go` from the struct tags of the Go modules `k8s.io/api`,
//! `k8s.io/apimachinery` and `k8s.io/apiextensions-apiserver` and from the published OpenAPI documents. Its lines are:
//!
//! ```text
//! kind GROUP VERSION KIND TYPE          a served kind; GROUP is `core` for the empty group
//! type NAME [map=atomic]                a struct, by its OpenAPI name
//!  FIELD NUMBER TYPE FLAG...            a field; NUMBER is `-` where protobuf has none
//!  + NUMBER TYPE                        an embedded struct: a message on the wire, its fields in JSON
//! ```
//!
//! `TYPE` is a scalar (`string/v1.ServiceType` names the Go type), a special type (`Time`), a struct's name, or one of these
//! behind `*` (pointer), `[]` (list) or `{}` (map from strings). Flags: `omit`, `required`, `list=map:KEY,KEY`, `list=set`,
//! `list=atomic`, `map=atomic`, `patch=STRATEGY`, `key=MERGE_KEY`, `default=JSON`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

static TEXT: &str = include_str!("types.txt");

static TABLE: LazyLock<TypeTable> = LazyLock::new(|| TypeTable::parse(TEXT));

/// The parsed table. Parsing takes about a millisecond and happens on first use.
pub(crate) fn table() -> &'static TypeTable {
    &TABLE
}

/// All kinds and types.
#[derive(Debug)]
pub(crate) struct TypeTable {
    pub(crate) kinds: Vec<KindRow>,
    types: BTreeMap<&'static str, TypeRow>,
}

/// One kind and the struct that is its root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KindRow {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) type_name: &'static str,
}

/// One struct.
#[derive(Debug)]
pub(crate) struct TypeRow {
    pub(crate) name: &'static str,
    /// `x-kubernetes-map-type: atomic`: server-side apply owns it as a whole.
    pub(crate) atomic: bool,
    pub(crate) fields: Vec<FieldRow>,
}

/// One field of a struct.
#[derive(Debug)]
pub(crate) struct FieldRow {
    /// The JSON name; empty for an embedded struct.
    pub(crate) name: &'static str,
    /// The protobuf field number.
    pub(crate) number: Option<u32>,
    pub(crate) ty: TypeExpr,
    /// A zero value is left out of the JSON form.
    pub(crate) omit: bool,
    pub(crate) required: bool,
    pub(crate) list: Option<&'static str>,
    pub(crate) map_atomic: bool,
    pub(crate) patch_strategy: Option<&'static str>,
    pub(crate) merge_key: Option<&'static str>,
    pub(crate) default: Option<&'static str>,
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TypeExpr {
    /// A scalar and the Go name of its type.
    Scalar(Scalar, &'static str),
    Special(Special),
    Struct(&'static str),
    Pointer(Box<TypeExpr>),
    /// A list; the name is that of the Go slice type where it has one.
    List(Box<TypeExpr>, Option<&'static str>),
    /// A map from strings.
    Map(Box<TypeExpr>, Option<&'static str>),
}

/// Go's scalar types that the API uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    String,
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Float64,
    Bytes,
}

/// Types whose JSON form differs from their fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    Time,
    MicroTime,
    Duration,
    Quantity,
    IntOrString,
    Raw,
    FieldsV1,
    Json,
    SchemaOrArray,
    SchemaOrBool,
    SchemaOrStrings,
}

/// The OpenAPI name of `JSONSchemaProps`.
pub(crate) const JSON_SCHEMA_PROPS: &str =
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
/// The OpenAPI name of `ObjectMeta`.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

impl TypeTable {
    fn parse(text: &'static str) -> Self {
        let mut kinds = Vec::new();
        let mut types: BTreeMap<&'static str, TypeRow> = BTreeMap::new();
        let mut current: Option<TypeRow> = None;
        for line in text.lines() {
            let words: Vec<&'static str> = line.split_ascii_whitespace().collect();
            match words.as_slice() {
                // Fields may be called `kind` and `type` too; they are indented.
                ["kind", group, version, kind, type_name] if !line.starts_with(' ') => {
                    kinds.push(KindRow {
                        group: if *group == "core" { "" } else { group },
                        version,
                        kind,
                        type_name,
                    });
                }
                ["type", name, flags @ ..] if !line.starts_with(' ') => {
                    if let Some(row) = current.take() {
                        types.insert(row.name, row);
                    }
                    let atomic = flags.contains(&"map=atomic");
                    current = Some(TypeRow {
                        name,
                        atomic,
                        fields: Vec::new(),
                    });
                }
                [name, number, ty, flags @ ..] if line.starts_with(' ') => {
                    if let Some(row) = current.as_mut() {
                        row.fields.push(FieldRow::new(name, number, ty, flags));
                    }
                }
                _ => {}
            }
        }
        if let Some(row) = current {
            types.insert(row.name, row);
        }
        Self { kinds, types }
    }

    /// The struct with the OpenAPI name `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&TypeRow> {
        self.types.get(name)
    }

    /// The row of a kind; `group` is empty for the core group.
    pub(crate) fn kind(&self, group: &str, version: &str, kind: &str) -> Option<&KindRow> {
        self.kinds
            .iter()
            .find(|k| k.group == group && k.version == version && k.kind == kind)
    }

    /// The fields of a struct as JSON shows them: those of embedded structs in place.
    pub(crate) fn json_fields(&self, name: &str) -> Vec<&FieldRow> {
        let mut fields = Vec::new();
        for field in self
            .get(name)
            .map(|row| row.fields.as_slice())
            .unwrap_or_default()
        {
            match (&field.ty, field.name) {
                (TypeExpr::Struct(inner), "") => fields.extend(self.json_fields(inner)),
                _ => fields.push(field),
            }
        }
        fields
    }
}

impl FieldRow {
    fn new(
        name: &'static str,
        number: &'static str,
        ty: &'static str,
        flags: &[&'static str],
    ) -> Self {
        let value = |prefix: &str| flags.iter().find_map(|f| f.strip_prefix(prefix));
        Self {
            name: if name == "+" { "" } else { name },
            number: number.parse().ok(),
            ty: TypeExpr::parse(ty),
            omit: flags.contains(&"omit"),
            required: flags.contains(&"required"),
            list: value("list="),
            map_atomic: flags.contains(&"map=atomic"),
            patch_strategy: value("patch="),
            merge_key: value("key="),
            default: value("default="),
        }
    }
}

impl TypeExpr {
    fn parse(text: &'static str) -> Self {
        if let Some(rest) = text.strip_prefix('*') {
            return Self::Pointer(Box::new(Self::parse(rest)));
        }
        if let Some((name, rest)) = text.strip_prefix('[').and_then(|t| t.split_once(']')) {
            return Self::List(
                Box::new(Self::parse(rest)),
                Some(name).filter(|n| !n.is_empty()),
            );
        }
        if let Some((name, rest)) = text.strip_prefix('{').and_then(|t| t.split_once('}')) {
            return Self::Map(
                Box::new(Self::parse(rest)),
                Some(name).filter(|n| !n.is_empty()),
            );
        }
        let (word, go_name) = text.split_once('/').unwrap_or((text, text));
        match word {
            "string" => Self::Scalar(Scalar::String, go_name),
            "bool" => Self::Scalar(Scalar::Bool, go_name),
            "int32" => Self::Scalar(Scalar::Int32, go_name),
            "int64" => Self::Scalar(Scalar::Int64, go_name),
            "uint32" => Self::Scalar(Scalar::Uint32, go_name),
            "uint64" => Self::Scalar(Scalar::Uint64, go_name),
            "float64" => Self::Scalar(Scalar::Float64, go_name),
            "bytes" => Self::Scalar(Scalar::Bytes, "[]uint8"),
            "Time" => Self::Special(Special::Time),
            "MicroTime" => Self::Special(Special::MicroTime),
            "Duration" => Self::Special(Special::Duration),
            "Quantity" => Self::Special(Special::Quantity),
            "IntOrString" => Self::Special(Special::IntOrString),
            "Raw" => Self::Special(Special::Raw),
            "FieldsV1" => Self::Special(Special::FieldsV1),
            "JSON" => Self::Special(Special::Json),
            "SchemaOrArray" => Self::Special(Special::SchemaOrArray),
            "SchemaOrBool" => Self::Special(Special::SchemaOrBool),
            "SchemaOrStrings" => Self::Special(Special::SchemaOrStrings),
            _ => Self::Struct(text),
        }
    }

    /// The type without its pointers.
    pub(crate) fn pointee(&self) -> &Self {
        match self {
            Self::Pointer(inner) => inner.pointee(),
            other => other,
        }
    }

    /// The type as Go prints it in an error: `int32`, `[]v1.ServicePort`, `map[string]string`.
    pub(crate) fn go_name(&self) -> String {
        match self {
            Self::Special(special) => match special {
                Special::Time => "v1.Time".to_owned(),
                Special::MicroTime => "v1.MicroTime".to_owned(),
                Special::Duration => "v1.Duration".to_owned(),
                Special::Quantity => "resource.Quantity".to_owned(),
                Special::IntOrString => "intstr.IntOrString".to_owned(),
                Special::Raw => "runtime.RawExtension".to_owned(),
                Special::FieldsV1 => "v1.FieldsV1".to_owned(),
                Special::Json => "v1.JSON".to_owned(),
                Special::SchemaOrArray => "v1.JSONSchemaPropsOrArray".to_owned(),
                Special::SchemaOrBool => "v1.JSONSchemaPropsOrBool".to_owned(),
                Special::SchemaOrStrings => "v1.JSONSchemaPropsOrStringArray".to_owned(),
            },
            Self::Struct(name) => {
                let mut parts = name.rsplit('.');
                let last = parts.next().unwrap_or(name);
                let package = parts.next().unwrap_or("v1");
                format!("{package}.{last}")
            }
            Self::Pointer(inner) => inner.go_name(),
            Self::Scalar(_, name) | Self::List(_, Some(name)) | Self::Map(_, Some(name)) => {
                (*name).to_owned()
            }
            Self::List(inner, None) => format!("[]{}", inner.go_name()),
            Self::Map(inner, None) => format!("map[string]{}", inner.go_name()),
        }
    }
}
