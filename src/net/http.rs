//! HTTP: metrics, health, log levels. For scrapers and people; Kafka clients never come here.
//!
//! `GET /metrics` `/health/live` `/health/ready` `/loggers`, `PUT /loggers/<logger>?level=debug`,
//! `DELETE /loggers/<logger>`. Live from the moment it listens; ready (200, else 503) when clients are served.

use std::collections::BTreeMap;
use std::sync::Arc;

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

/// What the pages show.
#[derive(Clone)]
pub struct HttpState {
    pub metrics: Arc<Metrics>,
    pub readiness: Arc<Readiness>,
    pub log_levels: Arc<LogLevels>,
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
        return (StatusCode::NOT_FOUND, format!("no logger {logger}\n")).into_response();
    }
    if state.log_levels.set(&logger, &level.to_ascii_uppercase()) {
        "set\n".into_response()
    } else {
        let told = "expected ?level= one of trace, debug, info, warn, error\n";
        (StatusCode::BAD_REQUEST, told).into_response()
    }
}

async fn unset_level(State(state): State<HttpState>, Path(logger): Path<String>) -> Response {
    state.log_levels.unset(&logger);
    "unset\n".into_response()
}
