//! `llmctl route`: add, list, delete.

use std::time::Duration;

use proto::v1::{self, route::Match};

use crate::{
    args::{self, Output},
    backend,
    client::Client,
    failure::Failure,
    out::show,
    render::{self, change},
};

/// Runs one of them.
///
/// # Errors
/// The [`Failure`] that decides the exit code.
pub async fn run(client: &Client, output: Output, command: args::Route) -> Result<(), Failure> {
    match command {
        args::Route::Add(add) => {
            let created = create(client, resource(add)).await?;
            if matches!(created.r#match, Some(Match::Exact(_)))
                && !render::leads(&created, &backend::all(client).await?)
            {
                eprintln!(
                    "warning: no backend serves a target of route {} now",
                    render::plain(&created.name)
                );
            }
            show(output, "Route", &created, || {
                change::added("route", &created.name, created.revision)
                    + &render::routes(std::slice::from_ref(&created))
            });
        }
        args::Route::List => {
            let list = client.answer(client.rpc().list_routes(v1::ListRoutesRequest {})).await?;
            show(output, "ListRoutesResponse", &list, || render::routes(&list.routes));
        }
        args::Route::Delete(named) => {
            let get = v1::GetRouteRequest { name: named.name.clone() };
            let before = client.answer(client.rpc().get_route(get)).await?;
            let request = v1::DeleteRouteRequest { name: named.name, expected_revision: named.revision };
            let answer = client.answer(client.rpc().delete_route(request)).await?;
            show(output, "DeleteResponse", &answer, || {
                change::deleted("route", &before.name, before.revision, answer.revision)
            });
        }
    }
    Ok(())
}

/// All routes there are, in the order in which they are tried.
///
/// # Errors
/// As any call.
pub async fn all(client: &Client) -> Result<Vec<v1::Route>, Failure> {
    Ok(client.answer(client.rpc().list_routes(v1::ListRoutesRequest {})).await?.routes)
}

/// Creates a route.
///
/// # Errors
/// [`Failure::Exists`] when the name is taken, [`Failure::Input`] when a field is faulty.
pub async fn create(client: &Client, route: v1::Route) -> Result<v1::Route, Failure> {
    client.answer(client.rpc().create_route(v1::CreateRouteRequest { route: Some(route) })).await
}

fn resource(add: args::RouteAdd) -> v1::Route {
    v1::Route {
        name: add.name,
        r#match: add.exact.map(Match::Exact).or(add.pattern.map(Match::Pattern)),
        precedence: add.precedence,
        targets: (0..)
            .zip(&add.targets)
            .map(|(at, text)| target(text, add.weights.get(at).copied()))
            .collect(),
        deadlines: deadlines(&add.deadlines),
        policy: add.policy.map(args::Policy::proto).unwrap_or_default() as i32,
        class: add.class.map(args::Class::proto).unwrap_or_default() as i32,
        revision: 0,
    }
}

/// None where no flag is given.
fn deadlines(given: &args::Deadlines) -> Option<v1::Deadlines> {
    let span = |given: Option<Duration>| {
        given.map(|time| proto::span(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    };
    let deadlines = v1::Deadlines {
        connect: span(given.deadline_connect),
        first_token: span(given.deadline_first_token),
        between_tokens: span(given.deadline_between_tokens),
        total: span(given.deadline_total),
    };
    (deadlines != v1::Deadlines::default()).then_some(deadlines)
}

/// `MODEL[@BACKEND]`: the last `@` divides.
fn target(text: &str, weight: Option<u32>) -> v1::Target {
    let (model, backend) = text.rsplit_once('@').unwrap_or((text, ""));
    v1::Target { model: model.to_owned(), backend: backend.to_owned(), weight }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_as_typed() {
        for (text, model, backend) in [
            ("qwen3:8b", "qwen3:8b", ""),
            ("qwen3:8b@box", "qwen3:8b", "box"),
            ("$1", "$1", ""),
            ("@box", "", "box"),
            ("", "", ""),
            ("claude@2026@", "claude@2026", ""),
            ("claude@2026@box", "claude@2026", "box"),
        ] {
            let target = target(text, None);
            assert_eq!((target.model.as_str(), target.backend.as_str()), (model, backend), "{text}");
            if !text.is_empty() {
                assert_eq!(render::target(&target), text, "{text}");
            }
        }
    }

    #[test]
    fn exact_and_pattern() {
        let add = |exact: Option<&str>, pattern: Option<&str>| args::RouteAdd {
            name: "r".to_owned(),
            exact: exact.map(str::to_owned),
            pattern: pattern.map(str::to_owned),
            targets: vec!["a".to_owned(), "b@c".to_owned()],
            precedence: -2,
            policy: Some(args::Policy::LeastBusy),
            class: Some(args::Class::Batch),
            weights: vec![95, 5],
            deadlines: args::Deadlines {
                deadline_total: Some(Duration::from_millis(1500)),
                ..args::Deadlines::default()
            },
        };
        let route = resource(add(Some("gpt-4o"), None));
        assert_eq!(route.r#match, Some(Match::Exact("gpt-4o".to_owned())));
        assert_eq!((route.targets.len(), route.precedence), (2, -2));
        assert_eq!((route.policy(), route.class()), (v1::Policy::LeastBusy, v1::Class::Batch));
        assert_eq!((route.targets[0].weight, route.targets[1].weight), (Some(95), Some(5)));
        assert_eq!(route.deadlines.unwrap().total, Some(proto::span(1500)));
        let route = resource(add(None, Some("^a$")));
        assert_eq!(route.r#match, Some(Match::Pattern("^a$".to_owned())));
    }
}
