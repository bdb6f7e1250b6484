#![allow(dead_code)]
pub mod schema {
    use serde_json::Value;
    #[derive(Debug, Clone, PartialEq)]
    pub struct FieldError { pub field: String, pub reason: FieldReason, pub detail: String }
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum FieldReason { Required, Invalid, NotSupported, Duplicate, Forbidden }
    impl FieldReason { pub fn as_str(self) -> &'static str { match self { Self::Required => "FieldValueRequired", Self::Invalid => "FieldValueInvalid", Self::NotSupported => "FieldValueNotSupported", Self::Duplicate => "FieldValueDuplicate", Self::Forbidden => "FieldValueForbidden" } } }
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum ListKind { Atomic, Set, Map(Vec<String>) }
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum NodeKind { Granular, Atomic, List(ListKind), Scalar }
    #[derive(Debug, Clone, Copy)]
    pub struct SchemaNode<'a>(&'a Schema);
    #[derive(Debug)]
    pub struct Schema;
    impl Schema {
        pub fn compile(_: &Value) -> Result<Self, Vec<FieldError>> { Ok(Self) }
        pub fn unknown_fields(&self, _: &Value) -> Vec<String> { Vec::new() }
        pub fn prune(&self, _: &mut Value) {}
        pub fn default(&self, _: &mut Value) {}
        pub fn validate(&self, _: &Value, _: Option<&Value>) -> Vec<FieldError> { Vec::new() }
        pub fn decode_error(&self, _: &Value) -> Option<String> { None }
        pub fn node(&self) -> SchemaNode<'_> { SchemaNode(self) }
    }
    impl<'a> SchemaNode<'a> {
        pub fn kind(self) -> NodeKind { NodeKind::Granular }
        pub fn field(self, _: &str) -> Option<Self> { None }
        pub fn items(self) -> Option<Self> { None }
        pub fn preserves_unknown(self) -> bool { true }
        pub fn patch_strategy(self) -> Option<&'static str> { None }
        pub fn patch_merge_key(self) -> Option<&'static str> { None }
        pub fn default_value(self) -> Option<&'a Value> { None }
    }
}
pub mod builtin {
    pub fn schema(_: &str, _: &str, _: &str) -> Option<std::sync::Arc<super::schema::Schema>> { None }
}
pub mod openapi { pub struct Documents; }
pub mod protobuf {
    pub fn decode(_: &[u8]) -> Result<serde_json::Value, String> { Err("no protobuf".to_owned()) }
}
