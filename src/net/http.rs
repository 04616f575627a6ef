//! HTTP: metrics, health, log levels. For scrapers and people; Kafka clients never come here.
//!
//! `GET /metrics` `/health/live` `/health/ready` `/ensemble` `/loggers`, `PUT /loggers/<logger>?level=debug`,
//! `DELETE /loggers/<logger>`. Live from the moment it listens; ready (200, else 503) when clients are served.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::logging::LogLevels;
use crate::metrics::Metrics;
use crate::runtime::readiness::{Phase, Readiness};
use crate::runtime::zab_peer::{MetadataHandle, view};

/// What the pages show.
#[derive(Clone)]
pub struct HttpState {
    pub metrics: Arc<Metrics>,
    pub readiness: Arc<Readiness>,
    pub log_levels: Arc<LogLevels>,
    /// From when this node is part of one.
    pub ensemble: Arc<OnceLock<MetadataHandle>>,
}

/// Serves until `shutdown` turns true.
pub async fn serve(
    socket: TcpListener,
    state: HttpState,
    mut shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let pages = Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .route("/ensemble", get(ensemble))
        .route("/loggers", get(loggers))
        .route("/loggers/{logger}", put(set_level).delete(unset_level))
        .with_state(state);
    axum::serve(socket, pages)
        .with_graceful_shutdown(async move {
            // The sender gone means the same.
            let _ = shutdown.wait_for(|stopping| *stopping).await;
        })
        .await
}

async fn metrics(State(state): State<HttpState>) -> Response {
    let head = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    // Walking a hundred thousand partitions takes a while: not on a thread that serves clients.
    match tokio::task::spawn_blocking(move || state.metrics.render()).await {
        Ok(text) => (head, text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn ready(State(state): State<HttpState>) -> Response {
    let status = if state.readiness.phase() == Phase::Ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let head = [(header::CONTENT_TYPE, "application/json")];
    (status, head, format!("{}\n", state.readiness.describe())).into_response()
}

async fn ensemble(State(state): State<HttpState>) -> Response {
    let head = [(header::CONTENT_TYPE, "application/json")];
    let shown = match state.ensemble.get() {
        Some(metadata) => view::of(metadata).await,
        None => None,
    };
    match shown {
        Some(shown) => (head, format!("{shown}\n")).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn loggers(State(state): State<HttpState>) -> Response {
    let text: String = state
        .log_levels
        .loggers()
        .into_iter()
        .map(|(logger, level)| format!("{logger} {level}\n"))
        .collect();
    text.into_response()
}

async fn set_level(
    State(state): State<HttpState>,
    Path(logger): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let level = query.get("level").map_or("", String::as_str);
    if !state.log_levels.exists(&logger) {
        return no_logger(&logger);
    }
    if state.log_levels.set(&logger, &level.to_ascii_uppercase()) {
        "set\n".into_response()
    } else {
        let told = "expected ?level= one of trace, debug, info, warn, error\n";
        (StatusCode::BAD_REQUEST, told).into_response()
    }
}

async fn unset_level(State(state): State<HttpState>, Path(logger): Path<String>) -> Response {
    if !state.log_levels.exists(&logger) {
        return no_logger(&logger);
    }
    state.log_levels.unset(&logger);
    "unset\n".into_response()
}

fn no_logger(logger: &str) -> Response {
    (StatusCode::NOT_FOUND, format!("no logger {logger}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    struct Served {
        address: std::net::SocketAddr,
        state: HttpState,
        shutdown: watch::Sender<bool>,
        task: tokio::task::JoinHandle<std::io::Result<()>>,
    }

    async fn start() -> Served {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = HttpState {
            metrics: Arc::new(Metrics::new([(3, "Metadata")]).unwrap()),
            readiness: Arc::default(),
            log_levels: Arc::new(LogLevels::detached("info").unwrap()),
            ensemble: Arc::default(),
        };
        let (shutdown, stopping) = watch::channel(false);
        Served {
            address: socket.local_addr().unwrap(),
            state: state.clone(),
            shutdown,
            task: tokio::spawn(serve(socket, state, stopping)),
        }
    }

    impl Served {
        /// The status, the whole head, and the body.
        async fn ask(&self, method: &str, path: &str) -> (u16, String, String) {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            (status, head.to_owned(), body.to_owned())
        }

        async fn status(&self, method: &str, path: &str) -> u16 {
            self.ask(method, path).await.0
        }
    }

    #[tokio::test]
    async fn a_node_is_ready_only_while_it_serves_and_live_all_along() {
        let served = start().await;
        for (phase, status, word) in [
            (Phase::Starting, 503, "\"starting\""),
            (Phase::Ready, 200, "\"ready\""),
            (Phase::ShuttingDown, 503, "\"shutting down\""),
        ] {
            served.state.readiness.enter(phase);
            let (code, head, body) = served.ask("GET", "/health/ready").await;
            assert_eq!(code, status, "{body}");
            assert!(head.contains("content-type: application/json") && body.contains(word));
            assert_eq!(served.status("GET", "/health/live").await, 200);
        }
        served.shutdown.send(true).unwrap();
        served.task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn metrics_are_shown_as_prometheus_reads_them() {
        let served = start().await;
        let (code, head, body) = served.ask("GET", "/metrics").await;
        assert_eq!(code, 200);
        assert!(
            head.contains("content-type: text/plain; version=0.0.4"),
            "{head}"
        );
        assert!(
            body.contains("\ndohle_requests_total{api=\"Metadata\"} 0\n"),
            "{body}"
        );
        assert_eq!(served.status("POST", "/metrics").await, 405);
        assert_eq!(served.status("GET", "/").await, 404);
    }

    #[tokio::test]
    async fn levels_are_changed_while_running() {
        let served = start().await;
        let net = || served.state.log_levels.loggers()["dohle::net"];
        assert_eq!(
            served
                .status("PUT", "/loggers/dohle::net?level=debug")
                .await,
            200
        );
        assert_eq!(net(), "DEBUG");
        let (_, _, listed) = served.ask("GET", "/loggers").await;
        assert!(listed.contains("dohle::net DEBUG\n") && listed.contains("root INFO\n"));
        for (method, path, status) in [
            ("PUT", "/loggers/dohle::net?level=loud", 400),
            ("PUT", "/loggers/dohle::net", 400),
            ("PUT", "/loggers/kafka?level=debug", 404),
            ("DELETE", "/loggers/kafka", 404),
        ] {
            assert_eq!(served.status(method, path).await, status, "{method} {path}");
        }
        assert_eq!(net(), "DEBUG");
        assert_eq!(served.status("DELETE", "/loggers/dohle::net").await, 200);
        assert_eq!(net(), "INFO");
    }
}
