use std::path::PathBuf;

/// What can go wrong around the server; answers to requests are Kubernetes `Status` objects instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database file cannot be opened: absent folder, no permission, or held by another process.
    #[error("opening the database {}", path.display())]
    Open {
        path: PathBuf,
        source: Box<redb::Error>,
    },
    /// The database file is readable but what it holds is not.
    #[error("reading the stored object {key}")]
    Decode {
        key: String,
        source: serde_json::Error,
    },
    /// A stored definition of a custom kind is not valid any more.
    #[error("serving the stored definition {name}")]
    Definition { name: String },
    /// The objects of a fresh cluster could not be written.
    #[error("creating the first objects: {message}")]
    Bootstrap { message: String },
    /// Making the certificate authority or the server certificate.
    #[error("making the {what}")]
    Certificate {
        what: &'static str,
        source: rcgen::Error,
    },
    /// Reading or writing the files of [`crate::Access`].
    #[error("{doing} {}", path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// A file of [`crate::Access`] does not hold what it should.
    #[error("reading {}: it holds no {what}", path.display())]
    Content { what: &'static str, path: PathBuf },
    /// The TLS library refused the certificate or the key.
    #[error("configuring TLS")]
    Tls(#[source] tokio_rustls::rustls::Error),
    /// The listening socket failed.
    #[error("accepting a connection")]
    Accept(#[source] std::io::Error),
    /// The server's task group is cancelled already.
    #[error("starting the server: its tasks are cancelled")]
    Cancelled,
}
