//! Answers to HTTP-01 challenges (RFC 8555 section 8.3).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use gatewright_seams::Tasks;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

/// Where a certificate authority asks; the token follows.
pub const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// The answers of the challenges in flight. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Challenges(Arc<Mutex<BTreeMap<String, String>>>);

/// Keeps one answer for as long as it lives.
#[derive(Debug)]
pub struct Answering {
    challenges: Challenges,
    token: String,
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut answers = self
            .challenges
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        answers.remove(&self.token);
    }
}

impl Challenges {
    /// Answers `token` with `key_authorization` until the returned value is dropped.
    pub fn answer(&self, token: &str, key_authorization: &str) -> Answering {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(token.to_owned(), key_authorization.to_owned());
        Answering {
            challenges: self.clone(),
            token: token.to_owned(),
        }
    }

    /// The answer to a request for `path`, if a challenge with it is in flight.
    pub fn get(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(CHALLENGE_PATH)?;
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(token)
            .cloned()
    }

    /// Serves the answers on `listener` until the tasks are cancelled. Envoy forwards here what
    /// arrives under [`CHALLENGE_PATH`].
    pub async fn serve(self, listener: TcpListener, tasks: Tasks) {
        loop {
            // An accept error is about one connection (or a full file table); the next may work.
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let challenges = self.clone();
            tasks.spawn("challenge-connection", async move {
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let answer = respond(challenges.get(request.uri().path()));
                    async move { Ok::<_, Infallible>(answer) }
                });
                let served = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "challenge connection ended");
                }
            });
        }
    }
}

fn respond(answer: Option<String>) -> Response<Full<Bytes>> {
    let status = if answer.is_some() {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    };
    let body = answer.unwrap_or_else(|| "no such challenge\n".into());
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_lives_as_long_as_its_guard() {
        let challenges = Challenges::default();
        let guard = challenges.answer("token", "token.thumbprint");
        let path = format!("{CHALLENGE_PATH}token");
        assert_eq!(challenges.get(&path).as_deref(), Some("token.thumbprint"));
        assert_eq!(challenges.get("/token"), None);
        drop(guard);
        assert_eq!(challenges.get(&path), None);
    }
}
