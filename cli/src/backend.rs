//! `llmctl backend`: add, list, get, update, delete, drain, undrain, probe.

use std::time::Duration;

use proto::v1::{self, Health};
use tokio::time::{Instant, sleep};

use crate::{
    args::{self, Dialect, Output},
    client::Client,
    failure::Failure,
    name,
    out::{say, show},
    render::{self, change},
    route,
};

/// Between two looks at whether the first probe has answered.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs one of them.
///
/// # Errors
/// The [`Failure`] that decides the exit code.
pub async fn run(client: &Client, output: Output, command: args::Backend) -> Result<(), Failure> {
    match command {
        args::Backend::Add(add) => self::add(client, output, add).await,
        args::Backend::List => list(client, output).await,
        args::Backend::Get(named) => {
            let backend = get(client, &named.name).await?;
            show(output, "Backend", &backend, || render::backend(&backend));
            Ok(())
        }
        args::Backend::Update(update) => self::update(client, output, update).await,
        args::Backend::Delete(named) => delete(client, output, named).await,
        args::Backend::Drain(named) => drain(client, output, named, true).await,
        args::Backend::Undrain(named) => drain(client, output, named, false).await,
        args::Backend::Probe(probe) => self::probe(client, output, probe).await,
    }
}

/// All backends there are.
///
/// # Errors
/// As any call.
pub async fn all(client: &Client) -> Result<Vec<v1::Backend>, Failure> {
    Ok(client.answer(client.rpc().list_backends(v1::ListBackendsRequest {})).await?.backends)
}

/// Creates a backend.
///
/// # Errors
/// [`Failure::Exists`] when the name is taken, [`Failure::Input`] when a field is faulty.
pub async fn create(client: &Client, backend: v1::Backend) -> Result<v1::Backend, Failure> {
    let request = v1::CreateBackendRequest { backend: Some(backend) };
    client.answer(client.rpc().create_backend(request)).await
}

/// Looks until a backend has been probed, or `deadline` is over; what it saw last.
///
/// # Errors
/// As any call.
pub async fn first_probe(client: &Client, name: &str, deadline: Duration) -> Result<v1::Backend, Failure> {
    let end = Instant::now() + deadline;
    loop {
        let backend = get(client, name).await?;
        if health(&backend) != Health::Unspecified || Instant::now() >= end {
            return Ok(backend);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn health(backend: &v1::Backend) -> Health {
    backend.status.as_ref().map_or(Health::Unspecified, v1::BackendStatus::health)
}

async fn get(client: &Client, name: &str) -> Result<v1::Backend, Failure> {
    client.answer(client.rpc().get_backend(v1::GetBackendRequest { name: name.to_owned() })).await
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let list = client.answer(client.rpc().list_backends(v1::ListBackendsRequest {})).await?;
    show(output, "ListBackendsResponse", &list, || render::backends(&list.backends));
    Ok(())
}

async fn add(client: &Client, output: Output, add: args::BackendAdd) -> Result<(), Failure> {
    let url = name::complete(&add.url);
    let name = match add.name {
        Some(name) => name,
        None => derived(&all(client).await?, &url)?,
    };
    let mut backend = v1::Backend { name, url, ..v1::Backend::default() };
    fill(&mut backend, add.fields);
    let created = create(client, backend).await?;
    if output == Output::Table {
        say(&change::added("backend", &created.name, created.revision));
    }
    if add.no_wait {
        if output != Output::Table {
            show(output, "Backend", &created, String::new);
        }
        return Ok(());
    }
    let probed = first_probe(client, &created.name, add.wait).await?;
    show(output, "Backend", &probed, || render::found(&probed));
    healthy(&probed, add.wait)
}

/// A name from the URL, unless a backend has that URL: two of them would count its slots twice.
fn derived(backends: &[v1::Backend], url: &str) -> Result<String, Failure> {
    match name::same_url(backends, url) {
        Some(there) => {
            Err(Failure::Exists(format!("backend {} has the URL {} already", there.name, there.url)))
        }
        None => Ok(name::from_url(backends, url)),
    }
}

fn healthy(backend: &v1::Backend, waited: Duration) -> Result<(), Failure> {
    let name = &backend.name;
    match health(backend) {
        Health::Healthy => Ok(()),
        Health::Unhealthy => {
            let reason = backend.status.as_ref().map_or("", |status| status.reason.as_str());
            Err(Failure::Waited {
                name: name.clone(),
                but: format!("not healthy: {}", render::plain(reason)),
            })
        }
        Health::Unspecified => Err(Failure::Waited {
            name: name.clone(),
            but: format!("was not probed within {} ms", waited.as_millis()),
        }),
    }
}

fn fill(backend: &mut v1::Backend, fields: args::BackendFields) {
    if let Some(kind) = fields.kind {
        backend.set_kind(kind.proto());
    }
    if !fields.dialects.is_empty() {
        let named = fields.dialects.iter().filter(|dialect| **dialect != Dialect::Auto);
        backend.dialects = named.map(|dialect| dialect.proto() as i32).collect();
    }
    let set = |field: &mut u32, value: Option<u32>| *field = value.unwrap_or(*field);
    set(&mut backend.max_concurrency, fields.max_concurrency);
    set(&mut backend.max_input_tokens, fields.max_input_tokens);
    set(&mut backend.max_loaded_models, fields.max_loaded_models);
    backend.priority = fields.priority.unwrap_or(backend.priority);
    if let Some(credential) = fields.credential {
        backend.credential = credential;
    }
    if let Some(ca_file) = fields.ca_file {
        backend.ca_file = ca_file;
    }
}

async fn update(client: &Client, output: Output, update: args::BackendUpdate) -> Result<(), Failure> {
    let before = get(client, &update.name).await?;
    let expected_revision = if update.revision == 0 { before.revision } else { update.revision };
    let mut wanted = v1::Backend { status: None, ..before.clone() };
    if let Some(url) = &update.url {
        wanted.url = name::complete(url);
    }
    fill(&mut wanted, update.fields);
    let request = v1::UpdateBackendRequest { backend: Some(wanted), expected_revision };
    let after = client.answer(client.rpc().update_backend(request)).await?;
    show(output, "Backend", &after, || change::backend_echo(&before, &after));
    Ok(())
}

async fn delete(client: &Client, output: Output, named: args::Named) -> Result<(), Failure> {
    let before = get(client, &named.name).await?;
    let request = v1::DeleteBackendRequest { name: named.name.clone(), expected_revision: named.revision };
    let answer = match client.answer(client.rpc().delete_backend(request)).await {
        Err(Failure::InUse { said, .. }) => {
            let users = route::all(client).await?.into_iter();
            let users = users.filter(|route| route.targets.iter().any(|target| target.backend == named.name));
            return Err(Failure::InUse { said, routes: users.map(|route| route.name).collect() });
        }
        answer => answer?,
    };
    show(output, "DeleteResponse", &answer, || {
        change::deleted("backend", &named.name, before.revision, answer.revision)
    });
    Ok(())
}

async fn drain(client: &Client, output: Output, named: args::Named, drain: bool) -> Result<(), Failure> {
    let before = get(client, &named.name).await?;
    let (name, expected_revision) = (named.name, named.revision);
    let after = if drain {
        client.answer(client.rpc().drain_backend(v1::DrainBackendRequest { name, expected_revision })).await?
    } else {
        client
            .answer(client.rpc().undrain_backend(v1::UndrainBackendRequest { name, expected_revision }))
            .await?
    };
    show(output, "Backend", &after, || change::backend_echo(&before, &after));
    Ok(())
}

async fn probe(client: &Client, output: Output, probe: args::BackendProbe) -> Result<(), Failure> {
    let mut backend = v1::Backend {
        url: name::complete(&probe.url),
        credential: probe.credential.unwrap_or_default(),
        ca_file: probe.ca_file.unwrap_or_default(),
        ..v1::Backend::default()
    };
    backend.set_kind(probe.kind.map_or(v1::Kind::Unspecified, args::Kind::proto));
    let answer = look(client, backend.clone()).await?;
    backend.status = answer.status.clone();
    show(output, "ProbeBackendResponse", &answer, || {
        format!("{}\nevidence\n{}", render::found(&backend), evidence(&answer.evidence))
    });
    if health(&backend) == Health::Healthy {
        return Ok(());
    }
    Err(Failure::Failed(format!("no model server was recognised at {}", render::plain(&backend.url))))
}

/// A line each; one line when every question met the same, as at a port where nobody listens.
fn evidence(lines: &[String]) -> String {
    let met = |line: &String| line.split_once(": ").map(|(_, met)| met.to_owned());
    let first = lines.first().and_then(met);
    if lines.len() > 1 && first.is_some() && lines.iter().all(|line| met(line) == first) {
        let first = first.unwrap_or_default();
        return format!("  all {} questions: {}\n", lines.len(), render::plain(&first));
    }
    lines.iter().map(|line| format!("  {}\n", render::plain(line))).collect()
}

/// Looks at a server without adding it.
///
/// # Errors
/// As any call; a server that is nothing is no error.
pub async fn look(client: &Client, backend: v1::Backend) -> Result<v1::ProbeBackendResponse, Failure> {
    let request = v1::ProbeBackendRequest { backend: Some(backend) };
    client.answer(client.rpc().probe_backend(request)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{BackendFields, Kind};

    #[test]
    fn fields_that_are_not_given_stay() {
        let before = v1::Backend { priority: 3, max_concurrency: 2, ..v1::Backend::default() };
        let mut after = before.clone();
        fill(&mut after, BackendFields::default());
        assert_eq!(after, before);
        let fields = BackendFields {
            kind: Some(Kind::Vllm),
            max_concurrency: Some(0),
            dialects: vec![Dialect::Anthropic],
            ..BackendFields::default()
        };
        fill(&mut after, fields);
        assert_eq!((after.kind(), after.max_concurrency, after.priority), (v1::Kind::Vllm, 0, 3));
        assert_eq!(after.dialects, [v1::Dialect::AnthropicMessages as i32]);
        fill(&mut after, BackendFields { dialects: vec![Dialect::Auto], ..BackendFields::default() });
        assert_eq!(after.dialects, [0; 0]);
    }

    #[test]
    fn a_url_that_is_there_is_a_conflict() {
        let there = v1::Backend {
            name: "box".to_owned(),
            url: "http://127.0.0.1:1".to_owned(),
            ..v1::Backend::default()
        };
        assert_eq!(derived(std::slice::from_ref(&there), "http://localhost:1/v1").unwrap_err().code(), 4);
        assert_eq!(derived(&[there], "http://localhost:2").unwrap(), "localhost-2");
    }

    #[test]
    fn equal_evidence_is_one_line() {
        let lines = |list: &[&str]| list.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert_eq!(evidence(&lines(&["GET /a: refused", "GET /b: refused"])), "  all 2 questions: refused\n");
        assert_eq!(evidence(&lines(&["GET /a: 200", "GET /b: 404"])), "  GET /a: 200\n  GET /b: 404\n");
    }

    #[test]
    fn only_a_healthy_backend_is_a_success() {
        let with = |health: Health| {
            let mut status = v1::BackendStatus::default();
            status.set_health(health);
            v1::Backend { status: Some(status), ..v1::Backend::default() }
        };
        assert!(healthy(&with(Health::Healthy), LOOK_EVERY).is_ok());
        assert_eq!(healthy(&with(Health::Unhealthy), LOOK_EVERY).unwrap_err().code(), 6);
        assert_eq!(healthy(&with(Health::Unspecified), LOOK_EVERY).unwrap_err().code(), 6);
    }
}
