use http::Method;

/// The resources of an ACME server, as faults and the ledger name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Endpoint {
    Directory,
    NewNonce,
    NewAccount,
    Account,
    AccountOrders,
    KeyChange,
    NewOrder,
    Order,
    Finalize,
    Authorization,
    Challenge,
    Certificate,
    RevokeCertificate,
    RenewalInfo,
    /// The root certificate as PEM, for people.
    Root,
    Terms,
}

/// A request path, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route<'a> {
    pub(crate) endpoint: Endpoint,
    pub(crate) id: &'a str,
    /// The challenge type.
    pub(crate) part: &'a str,
}

impl<'a> Route<'a> {
    /// `path` is relative to the base URL and starts with a slash.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let words = (
            segments.next()?,
            segments.next(),
            segments.next(),
            segments.next(),
        );
        let (endpoint, id, part) = match words {
            ("directory", None, ..) => (Endpoint::Directory, "", ""),
            ("new-nonce", None, ..) => (Endpoint::NewNonce, "", ""),
            ("new-account", None, ..) => (Endpoint::NewAccount, "", ""),
            ("key-change", None, ..) => (Endpoint::KeyChange, "", ""),
            ("new-order", None, ..) => (Endpoint::NewOrder, "", ""),
            ("revoke-certificate", None, ..) => (Endpoint::RevokeCertificate, "", ""),
            ("root.pem", None, ..) => (Endpoint::Root, "", ""),
            ("terms", None, ..) => (Endpoint::Terms, "", ""),
            ("account", Some(id), None, _) => (Endpoint::Account, id, ""),
            ("account", Some(id), Some("orders"), None) => (Endpoint::AccountOrders, id, ""),
            ("order", Some(id), None, _) => (Endpoint::Order, id, ""),
            ("order", Some(id), Some("finalize"), None) => (Endpoint::Finalize, id, ""),
            ("authorization", Some(id), None, _) => (Endpoint::Authorization, id, ""),
            ("challenge", Some(id), Some(kind), None) => (Endpoint::Challenge, id, kind),
            ("certificate", Some(id), None, _) => (Endpoint::Certificate, id, ""),
            ("renewal-info", Some(id), None, _) => (Endpoint::RenewalInfo, id, ""),
            _ => return None,
        };
        Some(Self { endpoint, id, part })
    }
}

impl Endpoint {
    /// Is the resource read with a plain GET? All others take signed POSTs (RFC 8555, section 6.2).
    pub(crate) fn is_plain(self) -> bool {
        matches!(
            self,
            Self::Directory | Self::NewNonce | Self::RenewalInfo | Self::Root
        )
    }

    pub(crate) fn allows(self, method: &Method) -> bool {
        if self.is_plain() {
            method == Method::GET || method == Method::HEAD
        } else {
            method == Method::POST
        }
    }
}
