//! Conditions in `status`, by the rules of the Kubernetes API conventions.

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{Schema, SchemaGenerator, json_schema};

/// The `type` that sums up an object: it does what its spec asks for.
pub const READY: &str = "Ready";

/// Value of a condition's `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// It could not be found out.
    Unknown,
}

impl ConditionStatus {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// What a controller found, before it is merged into the conditions an object already has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the condition in CamelCase, such as [`READY`].
    pub kind: &'static str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One CamelCase word for programs; not empty.
    pub reason: &'static str,
    /// A sentence for people. Never holds key material or credentials.
    pub message: String,
}

impl Finding {
    /// A finding whose parts are given in the order of the fields.
    pub fn new(
        kind: &'static str,
        status: impl Into<ConditionStatus>,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            status: status.into(),
            reason,
            message: message.into(),
        }
    }
}

/// Merges `finding` into `conditions` and says whether anything changed.
///
/// `generation` is the `metadata.generation` the finding speaks of; `now` is the time to note when
/// the status flips. A new reason or message alone keeps `lastTransitionTime`, so that it says
/// since when the object is in its state. Other conditions, and the order of the list, stay.
pub fn set(
    conditions: &mut Vec<Condition>,
    finding: Finding,
    generation: Option<i64>,
    now: jiff::Timestamp,
) -> bool {
    let mut wanted = Condition {
        last_transition_time: Time(now),
        message: finding.message,
        observed_generation: generation,
        reason: finding.reason.to_owned(),
        status: finding.status.as_str().to_owned(),
        type_: finding.kind.to_owned(),
    };
    let Some(existing) = conditions.iter_mut().find(|c| c.type_ == wanted.type_) else {
        conditions.push(wanted);
        return true;
    };
    if existing.status == wanted.status {
        wanted.last_transition_time = existing.last_transition_time.clone();
    }
    if *existing == wanted {
        return false;
    }
    *existing = wanted;
    true
}

/// Takes a condition away, for a matter that no longer exists. Says whether it was there.
pub fn remove(conditions: &mut Vec<Condition>, kind: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|c| c.type_ != kind);
    conditions.len() != before
}

/// The condition of this type.
pub fn get<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == kind)
}

/// Whether the condition is there and `True`, whatever generation it speaks of.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    get(conditions, kind).is_some_and(|c| c.status == ConditionStatus::True.as_str())
}

/// Whether the condition is `True` and speaks of this generation of the object or a later one.
pub fn is_true_for(conditions: &[Condition], kind: &str, generation: i64) -> bool {
    get(conditions, kind).is_some_and(|c| {
        c.status == ConditionStatus::True.as_str()
            && c.observed_generation.is_some_and(|seen| seen >= generation)
    })
}

/// Schema of a list of conditions: a map by `type`, so that several managers can apply to it.
pub(crate) fn schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": generator.subschema_for::<Condition>(),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    fn finding(holds: bool, reason: &'static str) -> Finding {
        Finding::new(READY, holds, reason, "m")
    }

    #[test]
    fn transition_time_moves_only_when_the_status_flips() {
        let mut list = Vec::new();
        assert!(set(&mut list, finding(false, "Pending"), Some(1), at(10)));
        assert!(set(&mut list, finding(false, "Failed"), Some(2), at(20)));
        let ready = get(&list, READY).unwrap();
        assert_eq!(ready.last_transition_time, Time(at(10)));
        assert_eq!(
            (ready.reason.as_str(), ready.observed_generation),
            ("Failed", Some(2))
        );
        assert!(set(&mut list, finding(true, "Done"), Some(2), at(30)));
        assert_eq!(
            get(&list, READY).unwrap().last_transition_time,
            Time(at(30))
        );
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn the_same_finding_again_changes_nothing() {
        let mut list = Vec::new();
        set(&mut list, finding(true, "Done"), Some(1), at(10));
        let before = list.clone();
        assert!(!set(&mut list, finding(true, "Done"), Some(1), at(99)));
        assert_eq!(list, before);
    }

    #[test]
    fn other_conditions_stay() {
        let mut list = Vec::new();
        set(
            &mut list,
            Finding::new("Other", true, "Fine", ""),
            None,
            at(1),
        );
        set(&mut list, finding(true, "Done"), Some(1), at(2));
        assert!(is_true(&list, "Other"));
        assert!(remove(&mut list, "Other"));
        assert!(!remove(&mut list, "Other"));
        assert!(is_true(&list, READY));
    }

    #[test]
    fn an_older_generation_does_not_count() {
        let mut list = Vec::new();
        set(&mut list, finding(true, "Done"), Some(3), at(1));
        assert!(is_true_for(&list, READY, 3));
        assert!(!is_true_for(&list, READY, 4));
    }
}
