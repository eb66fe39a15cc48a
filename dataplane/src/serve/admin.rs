//! The operator's side door: liveness, readiness, metrics, and a view of what runs and waits.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use super::{Phase, Shared, stopped};
use crate::dispatch::words;

/// Binds and serves until `stop` says so, on the runtime of the caller: a scrape never delays a byte.
///
/// # Errors
/// The system's word when the address cannot be bound.
pub async fn start(
    listen: SocketAddr,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<Phase>,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let bound = listener.local_addr()?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/view", get(view))
        .with_state(shared);
    tokio::spawn(async move {
        let stopped = async move { stopped(&mut stop).await };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "the admin listener ended");
        }
    });
    Ok(bound)
}

async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    let snapshot = shared.snapshot.load();
    if snapshot.backends.iter().any(|backend| backend.up()) && snapshot.fleet.owner {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: no usable backend, or a spare\n")
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> ([(&'static str, &'static str); 1], String) {
    let text = shared.report.render(&shared.snapshot.load(), &shared.dispatch.view());
    ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

async fn view(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let snapshot = shared.snapshot.load();
    let view = shared.dispatch.view();
    let backends: Vec<Value> = snapshot
        .backends
        .iter()
        .map(|backend| {
            let row = view.backends.get(&backend.id);
            json!({
                "name": &*backend.name,
                "healthy": words::healthy(backend.health),
                "reason": backend.reason,
                "draining": backend.draining,
                "slots": row.map(|row| row.slots),
                "busy": row.map(|row| row.busy),
                "cooling": row.map(|row| row.cooling),
                "others": row.map(|row| row.others),
                "breaker": row.map(|row| words::state(&row.breaker)),
                "failed": row.filter(|row| row.breaker.cause.is_some()).map(|row| words::cause(&row.breaker)),
                "resting": row.map(|row| words::resting(&row.breaker)),
                "asked_for_rest": row.map(|row| row.breaker.limited.0 > 0),
            })
        })
        .collect();
    Json(json!({
        "version": snapshot.version.to_string(),
        "revision": snapshot.revision,
        "owner": snapshot.fleet.owner,
        "waiting": view.waiting,
        "backends": backends,
    }))
}
