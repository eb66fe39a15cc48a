//! Plain HTTP beside gRPC: liveness, readiness, metrics.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};

use crate::{model::Health, probe::watch::Sights, publish::Publisher, store::Store};

/// What the pages read.
#[derive(Clone)]
pub struct Web {
    /// For readiness, revision and commit latency.
    pub store: Arc<Store>,
    /// For backends by health.
    pub sights: Arc<Sights>,
    /// For followers and the version.
    pub publisher: Arc<Publisher>,
}

/// The pages: `/healthz`, `/readyz`, `/metrics`.
pub fn router(web: Web) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(web)
}

async fn ready(State(web): State<Web>) -> impl IntoResponse {
    match web.store.ready() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

async fn metrics(State(web): State<Web>) -> impl IntoResponse {
    let desired = web.store.desired();
    let mut counts = [0_usize; 3];
    {
        let sights = web.sights.borrow();
        for name in desired.backends.keys() {
            counts[sights.get(name).map_or(Health::Unknown, |seen| seen.health) as usize] += 1;
        }
    }
    let (commits, commit_us) = web.store.commits();
    let version = web.publisher.version();
    let mut text = String::new();
    let mut put = |name: &str, kind: &str, help: &str, lines: &[(&str, f64)]| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in lines {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    put(
        "llmb_backends",
        "gauge",
        "Backends by health.",
        &[
            ("{health=\"unknown\"}", counts[0] as f64),
            ("{health=\"healthy\"}", counts[1] as f64),
            ("{health=\"unhealthy\"}", counts[2] as f64),
        ],
    );
    put("llmb_revision", "gauge", "Revision of the configuration.", &[("", desired.revision as f64)]);
    put("llmb_epoch", "gauge", "Starts of this store.", &[("", version.epoch as f64)]);
    put("llmb_snapshot_seq", "gauge", "Snapshots published in this epoch.", &[("", version.seq as f64)]);
    put("llmb_followers", "gauge", "Data planes that follow.", &[("", web.publisher.followers() as f64)]);
    put(
        "llmb_plan_faults",
        "gauge",
        "Faults of the newest plan; 0: it is published.",
        &[("", web.publisher.plan_faults().len() as f64)],
    );
    put("llmb_commit_seconds", "summary", "Durable commits of the store.", &[]);
    let _ = writeln!(
        text,
        "llmb_commit_seconds_count {commits}\nllmb_commit_seconds_sum {}",
        commit_us as f64 / 1e6
    );
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
