use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

/// An object as it is stored, with its text: that is made once, when somebody first reads it, and shared by
/// all lists and watches that show the object.
#[derive(Debug, Default)]
pub(crate) struct Object {
    value: Value,
    text: OnceLock<Bytes>,
}

impl Object {
    pub(crate) fn new(value: Value) -> Arc<Self> {
        Arc::new(Self {
            value,
            text: OnceLock::new(),
        })
    }

    /// The object as JSON.
    pub(crate) fn text(&self) -> &Bytes {
        self.text
            .get_or_init(|| Bytes::from(self.value.to_string()))
    }
}

impl Deref for Object {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}
