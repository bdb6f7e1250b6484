use std::sync::{Arc, Mutex};

use gatewright_seams::{Clock, Random, Tasks};

use crate::faults::Faults;
use crate::kinds::Registry;
use crate::openapi::Documents;
use crate::requests::RequestLog;
use crate::store::Store;

/// What every request works on.
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) registry: Registry,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) tasks: Tasks,
    pub(crate) faults: Faults,
    pub(crate) log: RequestLog,
    /// The OpenAPI documents of one generation of the served kinds.
    pub(crate) documents: Mutex<Option<(u64, Arc<Documents>)>>,
}

impl Shared {
    /// Now, as `metav1.Time` prints it.
    pub(crate) fn now(&self) -> String {
        crate::meta::time(self.clock.now())
    }
}
