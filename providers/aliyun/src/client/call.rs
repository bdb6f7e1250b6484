//! One call: action and parameters.

use std::fmt;

use gatewright_core::{Error, ErrorClass};

/// Whether a call changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Read,
    Write,
}

/// An action of a product with its parameters, without what signing adds.
#[derive(Clone, Debug)]
pub struct Call {
    pub(crate) version: &'static str,
    pub(crate) action: &'static str,
    pub(crate) effect: Effect,
    pub(crate) params: Vec<(String, String)>,
    /// For errors: what is done to which object.
    pub(crate) doing: String,
}

impl Call {
    /// `version` names the product (e.g. `2014-05-15`); `doing` says in errors what is being done
    /// to which object, e.g. `reading load balancer lb-1`.
    pub fn new(
        version: &'static str,
        action: &'static str,
        effect: Effect,
        doing: impl Into<String>,
    ) -> Self {
        Self {
            version,
            action,
            effect,
            params: Vec::new(),
            doing: doing.into(),
        }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.params.push((name.into(), format!("{value}")));
        self
    }

    /// Adds a parameter unless it is nothing.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds `Tag.N.Key` and `Tag.N.Value`, counted from 1.
    #[must_use]
    pub fn with_tags<'a>(mut self, tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        for (number, (key, value)) in (1..).zip(tags) {
            self = self
                .with(format!("Tag.{number}.Key"), key)
                .with(format!("Tag.{number}.Value"), value);
        }
        self
    }

    pub(crate) fn error(&self, class: ErrorClass, message: &str) -> Error {
        Error::new(class, self.doing.clone(), message)
    }
}
