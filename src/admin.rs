//! The admin page: whether the process works, and how it is configured.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use gatewright_seams::{Clock, Tasks};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::settings::Effective;

/// How long a client gets to send its request.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How long accepting pauses when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const INDEX: &str = "\
/healthz    200 while every part runs
/settings   the effective configuration, secrets masked
";

/// What the admin page shows.
#[derive(Clone, Debug)]
pub struct Admin {
    settings: Bytes,
    tasks: Tasks,
}

impl Admin {
    /// `tasks` are those of the process: a dead one makes it unhealthy.
    pub fn new(settings: &Effective, tasks: Tasks) -> Self {
        Self {
            settings: settings.to_string().into(),
            tasks,
        }
    }

    /// Answers on `listener` until the tasks are cancelled.
    pub async fn serve(self, listener: TcpListener, clock: Clock) {
        loop {
            let accepted = self.tasks.until_cancelled(listener.accept()).await;
            let stream = match accepted {
                Err(_cancelled) => return,
                Ok(Ok((stream, _))) => stream,
                Ok(Err(error)) => {
                    // A connection that broke before it was accepted, or no descriptor left.
                    tracing::warn!(%error, "accepting a connection for the admin page");
                    clock.sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let admin = self.clone();
            self.tasks.spawn("admin connection", async move {
                let service = hyper::service::service_fn(|request: Request<_>| {
                    let answer = admin.answer(request.method(), request.uri().path());
                    async { Ok::<_, Infallible>(answer) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(REQUEST_LIMIT)
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the admin page ended");
                }
            });
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let (status, body) = match (method, path) {
            (&Method::GET | &Method::HEAD, "/healthz") => match self.tasks.failed() {
                None => (StatusCode::OK, "ok\n".into()),
                Some(task) => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("task {task} died\n").into(),
                ),
            },
            (&Method::GET | &Method::HEAD, "/settings") => (StatusCode::OK, self.settings.clone()),
            (&Method::GET | &Method::HEAD, "/") => (StatusCode::OK, INDEX.into()),
            (&Method::GET | &Method::HEAD, _) => (StatusCode::NOT_FOUND, INDEX.into()),
            _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into()),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let text = header::HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        response
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};
    use gatewright_aliyun::Credentials;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::proxy::admin_get;
    use crate::settings::Settings;

    fn admin(tasks: &Tasks) -> Admin {
        let matches = Settings::augment_args(Command::new("test")).get_matches_from(["test"]);
        let settings = Settings::from_arg_matches(&matches).unwrap();
        let key = Credentials::new("LTAI-hunter1", "hunter2");
        Admin::new(&Effective::of(&settings, Some(&key)), tasks.clone())
    }

    async fn text(response: Response<Full<Bytes>>) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn settings_are_shown_without_secrets_over_a_socket() {
        let tasks = Tasks::new();
        let clock = Clock::system();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tasks.spawn("admin", admin(&tasks).serve(listener, clock));
        let shown = admin_get(&clock, address, "/settings").await.unwrap();
        let shown = String::from_utf8(shown.to_vec()).unwrap();
        assert!(shown.contains("region=cn-hangzhou\n"), "{shown}");
        assert!(!shown.contains("hunter"), "{shown}");
        assert_eq!(
            &admin_get(&clock, address, "/healthz").await.unwrap()[..],
            b"ok\n"
        );
        assert!(tasks.stop(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn a_dead_task_makes_the_process_unhealthy() {
        let tasks = Tasks::new();
        let admin = admin(&tasks);
        tasks.spawn("doomed", async { panic!("boom") });
        tasks.cancelled().await;
        let response = admin.answer(&Method::GET, "/healthz");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text(response).await, "task doomed died\n");
    }

    #[tokio::test]
    async fn nothing_else_is_answered() {
        let admin = admin(&Tasks::new());
        let status = |method, path| admin.answer(method, path).status();
        assert_eq!(status(&Method::GET, "/config_dump"), StatusCode::NOT_FOUND);
        assert_eq!(
            status(&Method::POST, "/settings"),
            StatusCode::METHOD_NOT_ALLOWED
        );
        assert_eq!(status(&Method::HEAD, "/"), StatusCode::OK);
    }
}
