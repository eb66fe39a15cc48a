//! The operator's side door: liveness, readiness, metrics, what runs and waits, and what became of requests.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use super::{Phase, Shared, stopped};
use crate::{
    dispatch::words,
    journal::{RECENT_MAX, TAILS_MAX, tell},
};

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
        .route("/explain/{id}", get(explain))
        .with_state(shared.clone())
        .merge(Router::new().route("/tail", get(tail)).with_state((shared, stop.clone())));
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
    if snapshot.draining {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: it drains\n")
    } else if snapshot.backends.iter().any(|backend| backend.up()) && snapshot.fleet.owner {
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
        "draining": snapshot.draining,
        "lead": snapshot.planes.lead.as_ref().map(|lead| json!({
            "plane": lead.plane,
            "incarnation": lead.incarnation,
            "term": lead.term,
            "silent": shared.without_lead(lead.term),
        })),
        "waiting": view.waiting,
        "backends": backends,
    }))
}

/// How a recent request was placed and what became of it.
async fn explain(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, (StatusCode, Json<Value>)> {
    let Some(note) = shared.journal.find(&id) else {
        let why = format!("no such request here: the latest {RECENT_MAX} are known");
        return Err((StatusCode::NOT_FOUND, Json(json!({ "error": why }))));
    };
    let waiting = note.ticket().and_then(|ticket| shared.dispatch.story(ticket));
    Ok(Json(tell::whole(&note, &id, waiting, &shared.snapshot.load())))
}

/// A line for each request that ends from now on, until the client leaves or the data plane stops.
async fn tail(State((shared, stop)): State<(Arc<Shared>, watch::Receiver<Phase>)>) -> Response {
    let Some(tail) = shared.journal.tail() else {
        let why = format!("{TAILS_MAX} listen already");
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": why }))).into_response();
    };
    let lines = futures_util::stream::unfold((tail, stop), |(mut tail, mut stop)| async move {
        let line = tokio::select! {
            line = tail.next() => line?,
            () = stopped(&mut stop) => return None,
        };
        Some((Ok::<_, Infallible>(line.to_string()), (tail, stop)))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}
