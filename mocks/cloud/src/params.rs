use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use crate::answer::ApiError;

/// The parameters of one call, without those that belong to the request style.
///
/// It remembers which of them an action looked at, so that the ledger can name those that had no
/// effect: the API ignores unknown parameters without a word, which hides misspelt names.
#[derive(Debug, Default)]
pub(crate) struct Params {
    values: BTreeMap<String, String>,
    used: Mutex<BTreeSet<String>>,
}

impl Params {
    pub(crate) fn new(values: BTreeMap<String, String>) -> Self {
        Self {
            values,
            used: Mutex::default(),
        }
    }

    /// The value of `name`; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.values.get(name)?;
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned());
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of a parameter that the action cannot do without.
    pub(crate) fn require(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::mandatory(name))
    }

    pub(crate) fn number<T>(
        &self,
        name: &str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, ApiError>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(ApiError::invalid(
                name,
                format_args!(
                    "it must be a number from {} to {}",
                    range.start(),
                    range.end()
                ),
            )),
        }
    }

    pub(crate) fn require_port(&self, name: &str) -> Result<u16, ApiError> {
        self.number(name, 1..=u16::MAX)?
            .ok_or_else(|| ApiError::mandatory(name))
    }

    /// One of `choices`.
    pub(crate) fn choice<'a>(
        &'a self,
        name: &str,
        choices: &[&str],
    ) -> Result<Option<&'a str>, ApiError> {
        match self.get(name) {
            Some(value) if !choices.contains(&value) => {
                let list = choices.join(", ");
                Err(ApiError::invalid(
                    name,
                    format_args!("it must be one of {list}"),
                ))
            }
            value => Ok(value),
        }
    }

    /// `on` or `off`.
    pub(crate) fn switch(&self, name: &str) -> Result<Option<bool>, ApiError> {
        Ok(self
            .choice(name, &["on", "off"])?
            .map(|value| value == "on"))
    }

    /// `true` or `false` in any case: SDKs differ.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::invalid(name, "it must be true or false")),
        }
    }

    /// The values of `name.1`, `name.2`, … in the order of their numbers.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        self.indexes(name, "")
            .into_iter()
            .filter_map(|index| self.get(&format!("{name}.{index}")))
            .collect()
    }

    /// The pairs (`name.N.first`, `name.N.second`) in the order of N.
    pub(crate) fn pairs(&self, name: &str, first: &str, second: &str) -> Vec<(&str, Option<&str>)> {
        self.indexes(name, &format!(".{first}"))
            .into_iter()
            .filter_map(|index| {
                let second = self.get(&format!("{name}.{index}.{second}"));
                self.get(&format!("{name}.{index}.{first}"))
                    .map(|first| (first, second))
            })
            .collect()
    }

    fn indexes(&self, name: &str, suffix: &str) -> BTreeSet<u32> {
        self.values
            .keys()
            .filter_map(|key| {
                key.strip_prefix(name)?
                    .strip_prefix('.')?
                    .strip_suffix(suffix)?
                    .parse()
                    .ok()
            })
            .collect()
    }

    /// Everything that was sent, for comparison with another call.
    pub(crate) fn fingerprint(&self) -> String {
        let pairs: Vec<_> = self
            .values
            .iter()
            .filter(|(name, _)| *name != "ClientToken")
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("\n")
    }

    /// What was sent under the names that `keep` accepts.
    pub(crate) fn select(&self, keep: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
        self.values
            .iter()
            .filter(|(name, _)| keep(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// The names that no one asked for.
    pub(crate) fn unused(&self) -> Vec<String> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.values
            .keys()
            .filter(|name| !used.contains(*name))
            .cloned()
            .collect()
    }
}
