//! `llmctl apply`: creates or replaces all resources of a file.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use proto::v1::{self, AppliedResource};

use crate::{
    args::{self, Output},
    backend,
    client::Client,
    config,
    failure::Failure,
    out::{say, show},
    render::change,
    route,
};

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Applies it, and shows what changed.
///
/// # Errors
/// [`Failure::Input`] for a file that cannot be read or is no configuration, or as any call.
pub async fn run(client: &Client, output: Output, apply: args::Apply) -> Result<(), Failure> {
    let config = config::parse(&apply.file, &read(&apply.file)?)?;
    let before = configuration(client).await?;
    let request = v1::ApplyRequest { config: Some(config.clone()), dry_run: apply.dry_run };
    let answer = client.answer(client.rpc().apply(request)).await?;
    let after = if apply.dry_run { config } else { configuration(client).await? };
    if output == Output::Table && apply.dry_run {
        say("dry run: nothing is changed\n");
    }
    show(output, "ApplyResponse", &answer, || {
        let table = change::applied(&answer.resources, |resource| changes(&before, &after, resource));
        format!("{table}revision {}\n", answer.revision)
    });
    Ok(())
}

/// Prints the configuration without what the server sets, so that it can be applied anywhere.
///
/// # Errors
/// As any call.
pub async fn export(client: &Client, output: Output) -> Result<(), Failure> {
    let mut config = configuration(client).await?;
    for backend in &mut config.backends {
        (backend.revision, backend.status) = (0, None);
    }
    config.routes.iter_mut().for_each(|route| route.revision = 0);
    config.scheduling.iter_mut().for_each(|scheduling| scheduling.revision = 0);
    config.scheduling.take_if(|scheduling| *scheduling == v1::Scheduling::default());
    let output = if output == Output::Table { Output::Yaml } else { output };
    show(output, "Config", &config, String::new);
    Ok(())
}

async fn configuration(client: &Client) -> Result<v1::Config, Failure> {
    let scheduling = client.answer(client.rpc().get_scheduling(v1::GetSchedulingRequest {})).await?;
    let (backends, routes) = (backend::all(client).await?, route::all(client).await?);
    Ok(v1::Config { backends, routes, scheduling: Some(scheduling) })
}

fn changes(before: &v1::Config, after: &v1::Config, resource: &AppliedResource) -> Vec<String> {
    let name = &resource.name;
    if resource.resource == "backend" {
        let find =
            |config: &v1::Config| config.backends.iter().find(|backend| backend.name == *name).cloned();
        return find(before).zip(find(after)).map_or(Vec::new(), |(a, b)| change::backend(&a, &b));
    }
    if resource.resource == "scheduling" {
        let set = |config: &v1::Config| config.scheduling.unwrap_or_default();
        return change::scheduling(&set(before), &set(after));
    }
    let find = |config: &v1::Config| config.routes.iter().find(|route| route.name == *name).cloned();
    find(before).zip(find(after)).map_or(Vec::new(), |(a, b)| change::route(&a, &b))
}

fn read(path: &Path) -> Result<String, Failure> {
    let fault = |error: io::Error| Failure::Input(format!("{}: {error}", path.display()));
    let mut text = String::new();
    let length = if path == Path::new("-") {
        io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        File::open(path).map_err(fault)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)
    };
    if length.map_err(fault)? as u64 > FILE_BYTES_MAX {
        return Err(Failure::Input(format!("{}: longer than {FILE_BYTES_MAX} bytes", path.display())));
    }
    Ok(text)
}
