//! Backends of `up`: given by URL, simulated, or found on this machine.

use proto::v1::{Backend, Health, Kind};

use crate::{backend, client::Client, failure::Failure, name, render, words};

/// Where servers listen by default on this machine, and the name that each gets.
const PLACES: [(&str, u16); 4] = [("ollama", 11434), ("lmstudio", 1234), ("llamacpp", 8080), ("vllm", 8000)];

/// Adds the servers at these URLs, or keeps them when they are there; says what it did, a line each.
///
/// # Errors
/// [`Failure::Input`] for a URL that is none, or as any call.
pub async fn given(client: &Client, urls: &[String]) -> Result<Vec<String>, Failure> {
    let mut notes = Vec::new();
    for url in urls {
        let url = name::complete(url);
        let there = backend::all(client).await?;
        if let Some(kept) = name::same_url(&there, &url) {
            notes.push(format!("{}: kept, {}", kept.name, kept.url));
            continue;
        }
        match add(client, name::from_url(&there, &url), url.clone()).await {
            Ok(added) => notes.push(format!("{}: added, {}", added.name, added.url)),
            // The control plane knows more ways to write one URL.
            Err(Failure::Exists(said)) => notes.push(format!("{url}: kept, {said}")),
            Err(failure) => return Err(failure),
        }
    }
    Ok(notes)
}

/// Looks where servers listen by default and adds those that answer, save on `own_ports`; says what it found.
///
/// # Errors
/// As any call; that nothing answers is no error.
pub async fn local(client: &Client, own_ports: &[u16]) -> Result<Vec<String>, Failure> {
    let there = backend::all(client).await?;
    let mut looks = Vec::new();
    for (name, port) in PLACES {
        let url = format!("http://127.0.0.1:{port}");
        if !own_ports.contains(&port) && name::same_url(&there, &url).is_none() {
            let (client, backend) = (client.clone(), Backend { url: url.clone(), ..Backend::default() });
            let look = tokio::spawn(async move { backend::look(&client, backend).await });
            looks.push((name, url, look));
        }
    }
    let mut notes = Vec::new();
    for (name, url, look) in looks {
        let answer =
            look.await.map_err(|error| Failure::Failed(format!("a look at {url} broke off: {error}")))??;
        let status = answer.status.unwrap_or_default();
        if status.health() != Health::Healthy {
            continue;
        }
        let there = backend::all(client).await?;
        let added = add(client, name::unique(&there, stable(status.kind(), name)), url).await?;
        let what = format!("{} {}", words::kind(status.kind()), render::plain(&status.version));
        notes.push(format!("{}: found {} at {}", added.name, what.trim_end(), added.url));
    }
    if notes.is_empty() && there.is_empty() {
        let places: Vec<String> = PLACES.iter().map(|(name, port)| format!("{name} :{port}")).collect();
        notes.push(format!("No server was found on this machine ({}).", places.join(", ")));
    }
    Ok(notes)
}

/// The name for what was found: its kind, else after the place.
fn stable(kind: Kind, place: &'static str) -> &'static str {
    if kind == Kind::Unspecified { place } else { words::kind(kind) }
}

async fn add(client: &Client, name: String, url: String) -> Result<Backend, Failure> {
    backend::create(client, Backend { name, url, ..Backend::default() }).await
}
