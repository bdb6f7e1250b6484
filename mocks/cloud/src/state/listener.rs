use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Tags;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Http,
    Https,
}

impl Protocol {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// In any case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Http, Self::Https]
            .into_iter()
            .find(|protocol| protocol.as_str().eq_ignore_ascii_case(text))
    }

    /// Whether both cannot have the same port: all but UDP are TCP below.
    pub(crate) fn shares_port_with(self, other: Self) -> bool {
        (self == Self::Udp) == (other == Self::Udp)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerStatus {
    Stopped,
    Starting,
    Running,
    Configuring,
    Stopping,
}

impl ListenerStatus {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Configuring => "configuring",
            Self::Stopping => "stopping",
        }
    }
}

/// A passing state and its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) shown: ListenerStatus,
    pub(crate) until: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listener {
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    /// The port of the default group's servers.
    pub(crate) backend_port: Option<u16>,
    pub(crate) group: Option<String>,
    pub(crate) description: String,
    pub(crate) tags: Tags,
    /// All other attributes by the names that Describe uses.
    pub(crate) attributes: BTreeMap<String, Value>,
    /// Stopped or running; what the passing state leads to.
    pub(crate) status: ListenerStatus,
    pub(crate) change: Option<Change>,
}

impl Listener {
    pub(crate) fn status_at(&self, now: Timestamp) -> ListenerStatus {
        match self.change {
            Some(change) if now < change.until => change.shown,
            _ => self.status,
        }
    }

    /// Shows `shown` for `time` and then `status`.
    pub(crate) fn pass(
        &mut self,
        shown: ListenerStatus,
        status: ListenerStatus,
        now: Timestamp,
        time: Duration,
    ) {
        self.status = status;
        let until = jiff::SignedDuration::try_from(time).unwrap_or_default();
        self.change = Some(Change {
            shown,
            until: now.saturating_add(until).unwrap_or(Timestamp::MAX),
        });
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.as_str()
    }

    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.text(name) == Some("on")
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.attributes.get(name)?.as_u64()
    }

    /// A number of seconds.
    pub(crate) fn seconds(&self, name: &str, default: u64) -> Duration {
        Duration::from_secs(self.number(name).unwrap_or(default))
    }

    /// How long established connections of a removed member live on; none: not at all.
    pub(crate) fn drain(&self) -> Option<Duration> {
        self.is_on("ConnectionDrain")
            .then(|| self.seconds("ConnectionDrainTimeout", 0))
    }
}
