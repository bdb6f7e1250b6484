use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatewright_seams::{Clock, Random, Tasks};
use http::Uri;

use crate::authority::Authority;
use crate::error::Error;
use crate::faults::Faults;
use crate::fetch::Fetch;
use crate::ledger::{CertificateRecord, Ledger};
use crate::listen;
use crate::model::Records;
use crate::nonces::Nonces;
use crate::service::AcmeService;
use crate::storage::{Journal, Storage, encode};

/// What Let's Encrypt's `classic` profile gives.
pub const DEFAULT_LIFETIME: Duration = Duration::from_hours(90 * 24);

/// How the mock is started.
pub struct Options {
    pub storage: Storage,
    pub clock: Clock,
    pub random: Random,
    pub tasks: Tasks,
    /// Where clients reach the server, such as `https://acme.test`. Every URL in an answer starts
    /// with it, and requests must be signed for such a URL.
    pub base_url: String,
    pub validator: Arc<dyn Fetch>,
    /// From issue to expiry, for orders without a profile; see [`DEFAULT_LIFETIME`].
    pub certificate_lifetime: Duration,
}

/// An ACME server: a certificate authority, its accounts and orders, and its validation.
///
/// Handles are cheap and share one server.
#[derive(Clone)]
pub struct MockAcme(pub(crate) Arc<Inner>);

impl fmt::Debug for MockAcme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockAcme")
            .field("base_url", &self.0.base_url)
            .field("authority", &self.0.authority)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) base_url: String,
    /// The path of the base URL, without a slash at its end.
    pub(crate) base_path: String,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) tasks: Tasks,
    pub(crate) validator: Arc<dyn Fetch>,
    pub(crate) certificate_lifetime: Duration,
    pub(crate) authority: Authority,
    pub(crate) faults: Faults,
    state: Mutex<State>,
    journal: Journal,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) records: Records,
    pub(crate) nonces: Nonces,
    /// Without accounts, orders and certificates, which the records hold.
    pub(crate) ledger: Ledger,
    /// Counts the changes of the records.
    revision: u64,
}

impl State {
    /// Says that the records have changed.
    pub(crate) fn touch(&mut self) {
        self.revision += 1;
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The absolute URL of `path`, which starts with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    /// Makes every change so far durable.
    pub(crate) async fn persist(&self) -> Result<(), Error> {
        if !self.journal.is_durable() {
            return Ok(());
        }
        let (revision, text) = {
            let state = self.state();
            (
                state.revision,
                encode(self.authority.stored(), &state.records)?,
            )
        };
        self.journal.write(revision, &text).await
    }
}

impl MockAcme {
    /// Starts a server, with the state of the last one when the storage holds it. Validations that
    /// were running are started again.
    ///
    /// # Errors
    /// When the base URL is no URL, the state cannot be read or written, or keys cannot be made.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let base_url = options.base_url.trim_end_matches('/').to_owned();
        let base_path = match base_url.parse::<Uri>() {
            Ok(uri)
                if matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.host().is_some()
                    && uri.query().is_none() =>
            {
                uri.path().trim_end_matches('/').to_owned()
            }
            _ => return Err(Error::BaseUrl(options.base_url)),
        };
        let journal = Journal::new(options.storage);
        let (stored, records) = match journal.load().await? {
            Some(snapshot) => (snapshot.authority, snapshot.records),
            None => (Authority::generate(&options.clock)?, Records::default()),
        };
        let unfinished: Vec<String> = records
            .authorizations
            .iter()
            .filter(|(_, authorization)| authorization.is_processing())
            .map(|(id, _)| id.clone())
            .collect();
        let inner = Arc::new(Inner {
            base_url,
            base_path,
            clock: options.clock,
            random: options.random,
            tasks: options.tasks,
            validator: options.validator,
            certificate_lifetime: options.certificate_lifetime,
            authority: Authority::load(stored)?,
            faults: Faults::default(),
            state: Mutex::new(State {
                records,
                revision: 1,
                ..State::default()
            }),
            journal,
        });
        inner.persist().await?;
        for authorization in unfinished {
            inner.start_validation(authorization);
        }
        Ok(Self(inner))
    }

    /// The server without a transport: for a client in the same process.
    pub fn service(&self) -> AcmeService {
        AcmeService::new(self.0.clone())
    }

    /// Serves HTTPS on `listener` until the tasks are cancelled, with a certificate of the mock's
    /// own root for the host of the base URL, the listener's address and `localhost`.
    ///
    /// # Errors
    /// When TLS cannot be set up or the listener fails.
    pub async fn serve(&self, listener: tokio::net::TcpListener) -> Result<(), Error> {
        listen::serve(self.0.clone(), self.service(), listener).await
    }

    /// The URL to give to a client.
    pub fn directory_url(&self) -> String {
        self.0.url("/directory")
    }

    /// The root certificate that clients must trust.
    pub fn root_pem(&self) -> String {
        self.0.authority.root_pem().to_owned()
    }

    /// What was seen and done so far.
    pub fn ledger(&self) -> Ledger {
        let state = self.0.state();
        let mut certificates: Vec<CertificateRecord> = state
            .records
            .certificates
            .iter()
            .map(|(serial, issued)| CertificateRecord {
                serial: serial.clone(),
                names: issued.names.clone(),
                not_before: issued.not_before,
                not_after: issued.not_after,
                issued_at: issued.at,
                revoked_at: issued.revoked.as_ref().map(|revoked| revoked.at),
            })
            .collect();
        certificates.sort_by(|a, b| (a.issued_at, &a.serial).cmp(&(b.issued_at, &b.serial)));
        Ledger {
            certificates,
            accounts: state.records.accounts.len(),
            orders: state.records.orders.len(),
            ..state.ledger.clone()
        }
    }

    /// The script of failures.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }
}
