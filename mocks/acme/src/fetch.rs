use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, select};
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A key authorization has about 90 bytes; this leaves room for an error page worth quoting.
const MAX_BODY: usize = 16 * 1024;
const MAX_REDIRECTS: usize = 5;

/// The answer to a validation request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub status: u16,
    pub body: Bytes,
}

/// How the validation authority sends its HTTP-01 request (RFC 8555, section 8.3).
pub trait Fetch: Send + Sync {
    /// Gets `http://host:80path`. Fails with a reason that a user can act on. The caller sets the
    /// deadline and drops the future when it has passed.
    fn get(&self, host: &str, path: &str) -> BoxFuture<'_, Result<Fetched, String>>;
}

/// The address that stands for port 80 of a name, or none when the name is not known.
pub type Resolver = Arc<dyn Fn(&str) -> Option<SocketAddr> + Send + Sync>;

/// Real requests over TCP. Follows at most five redirects, within http; takes at most 16 KiB.
#[derive(Clone)]
pub struct HttpFetch {
    pub resolver: Resolver,
}

impl fmt::Debug for HttpFetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFetch").finish_non_exhaustive()
    }
}

impl Fetch for HttpFetch {
    fn get(&self, host: &str, path: &str) -> BoxFuture<'_, Result<Fetched, String>> {
        let (mut host, mut path) = (host.to_owned(), path.to_owned());
        async move {
            for _ in 0..=MAX_REDIRECTS {
                match self.request(&host, &path).await? {
                    Answer::Final(fetched) => return Ok(fetched),
                    Answer::Redirect(location) => (host, path) = follow(&location, host)?,
                }
            }
            Err(format!("more than {MAX_REDIRECTS} redirects"))
        }
        .boxed()
    }
}

enum Answer {
    Final(Fetched),
    Redirect(String),
}

impl HttpFetch {
    async fn request(&self, host: &str, path: &str) -> Result<Answer, String> {
        let address =
            (self.resolver)(host).ok_or_else(|| format!("no address is known for {host}"))?;
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| format!("connecting to {host} at {address}: {error}"))?;
        let broken = |error: hyper::Error| format!("asking {host} at {address}: {error}");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let request = Request::get(path)
            .header(header::HOST, host)
            .header(header::USER_AGENT, "mock-acme validation")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| format!("asking {host}: {error}"))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            if let (true, Some(location)) = (
                response.status().is_redirection(),
                response.headers().get(header::LOCATION),
            ) {
                let location = location
                    .to_str()
                    .map_err(|_| "a redirect to no url".to_owned())?;
                return Ok(Answer::Redirect(location.to_owned()));
            }
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_BODY)
                .collect()
                .await
                .map_err(|error| format!("reading the answer of {host} at {address}: {error}"))?
                .to_bytes();
            Ok(Answer::Final(Fetched { status, body }))
        };
        // The connection must be driven beside the exchange, and may end before its last answer
        // was read.
        match select(pin!(exchange), pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((Ok(()), rest)) => rest.await,
            Either::Right((Err(error), _)) => Err(broken(error)),
        }
    }
}

/// Where a redirect leads: host and path. `host` is the host it came from.
fn follow(location: &str, host: String) -> Result<(String, String), String> {
    let uri: Uri = location
        .parse()
        .map_err(|_| "a redirect to no url".to_owned())?;
    let path = uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    match uri.scheme_str() {
        None if location.starts_with('/') => return Ok((host, path)),
        Some("http") => {}
        _ => {
            return Err(format!(
                "redirected from {host} to something other than http"
            ));
        }
    }
    if uri.port_u16().is_some_and(|port| port != 80) {
        return Err(format!("redirected from {host} to a port other than 80"));
    }
    match uri.host() {
        Some(next) => Ok((next.to_owned(), path)),
        None => Err("a redirect to no host".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_within_http_on_port_80() {
        let to = |location: &str| follow(location, "a.test".to_owned());
        assert_eq!(to("/x?y"), Ok(("a.test".to_owned(), "/x?y".to_owned())));
        assert_eq!(
            to("http://b.test/z"),
            Ok(("b.test".to_owned(), "/z".to_owned()))
        );
        assert_eq!(
            to("http://b.test:80"),
            Ok(("b.test".to_owned(), "/".to_owned()))
        );
        assert!(to("https://a.test/x").is_err());
        assert!(to("http://b.test:8080/").is_err());
        assert!(to("ftp://b.test/").is_err());
    }
}
