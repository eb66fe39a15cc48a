//! `llmctl models`: what can be asked for, and where it is.

use proto::v1;

use crate::{args::Output, backend, client::Client, failure::Failure, out::show, render, route};

/// Lists them. As JSON or YAML: a `ListBackendsResponse` with names, health and models alone.
///
/// # Errors
/// As any call.
pub async fn run(client: &Client, output: Output) -> Result<(), Failure> {
    let backends = backend::all(client).await?;
    let slim = v1::ListBackendsResponse { backends: backends.iter().map(models_only).collect(), revision: 0 };
    let routes = route::all(client).await?;
    show(output, "ListBackendsResponse", &slim, || render::models(&backends, &routes));
    Ok(())
}

fn models_only(backend: &v1::Backend) -> v1::Backend {
    let status = backend.status.clone().unwrap_or_default();
    let status =
        v1::BackendStatus { health: status.health, models: status.models, ..v1::BackendStatus::default() };
    v1::Backend {
        name: backend.name.clone(),
        draining: backend.draining,
        status: Some(status),
        ..v1::Backend::default()
    }
}
