//! The planner and its check.

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::model::{Change, Deadlines, Matcher, Target};

fn backend(name: &str, url: &str) -> Backend {
    Backend {
        name: Name::new(name).unwrap(),
        url: BaseUrl::new(url).unwrap(),
        kind: None,
        max_concurrency: 0,
        priority: 3,
        max_input_tokens: 10,
        max_loaded_models: 0,
        credential: None,
        ca_file: None,
        draining: false,
        dialects: Vec::new(),
    }
}

fn seen(kind: Option<Kind>, slots: u32) -> Observed {
    Observed {
        kind,
        slots,
        health: Health::Healthy,
        dialects: vec![Dialect::OpenaiChat],
        ..Observed::default()
    }
}

fn desired() -> Desired {
    let mut desired = Desired::default();
    desired.make(&Change::CreateBackend(backend("b", "http://h:1"))).unwrap();
    desired.make(&Change::CreateBackend(backend("a", "http://h:2"))).unwrap();
    let target = Target { model: "$1".to_owned(), backend: Some(Name::new("a").unwrap()), weight: None };
    desired
        .make(&Change::CreateRoute(Route {
            name: Name::new("r").unwrap(),
            matcher: Matcher::Pattern("^(.*)-latest$".to_owned()),
            precedence: 0,
            targets: vec![target],
            deadlines: Deadlines::default(),
            policy: None,
            class: None,
        }))
        .unwrap();
    desired
}

fn plan(desired: &Desired, seen: &Seen) -> Picture {
    Planner::default().plan(&Arc::new(desired.clone()), seen)
}

/// As if nothing had been checked before.
fn check(picture: &Picture) -> Vec<String> {
    super::check::check(picture, &Picture::default())
}

#[test]
fn joined_in_order_and_sound() {
    let all = BTreeMap::from([(Name::new("a").unwrap(), Arc::new(seen(Some(Kind::Vllm), 0)))]);
    let picture = plan(&desired(), &all);
    assert_eq!(picture.revision, 3);
    let told: Vec<_> = picture
        .backends
        .iter()
        .map(|b| (b.name.as_str(), b.kind, b.slots, b.slots_assumed, b.health))
        .collect();
    assert_eq!(
        told,
        [("a", Some(Kind::Vllm), 16, true, Health::Healthy), ("b", None, 1, true, Health::Unknown)]
    );
    assert_eq!(check(&picture), Vec::<String>::new());
    assert_eq!(plan(&desired(), &all), picture, "equal inputs give equal plans");
}

#[test]
fn slots_of_each_kind() {
    for (kind, url, told, wanted, want) in [
        (Some(Kind::Ollama), "http://h", 0, 0, (1, true)),
        (Some(Kind::LmStudio), "http://h", 0, 0, (1, true)),
        (Some(Kind::LmStudio), "http://h", 4, 0, (4, false)),
        (Some(Kind::Llamacpp), "http://h", 2, 0, (2, false)),
        (Some(Kind::Llamacpp), "http://h", 2, 1, (1, false)),
        (Some(Kind::Vllm), "http://h", 0, 0, (16, true)),
        (Some(Kind::Openai), "http://h", 0, 0, (1, true)),
        (Some(Kind::Openai), "https://api.example.com", 0, 0, (64, true)),
        (Some(Kind::Anthropic), "https://api.anthropic.com", 0, 0, (64, true)),
        (Some(Kind::Ollama), "https://ollama.example.com", 0, 0, (1, true)),
        (None, "http://h", 0, 0, (1, true)),
        (None, "https://h", 0, 0, (1, true)),
        (None, "http://h", 0, 7, (7, false)),
        (Some(Kind::Llamacpp), "http://h", 1_000_000, 0, (4096, false)),
    ] {
        let backend = Backend { max_concurrency: wanted, ..backend("a", url) };
        assert_eq!(slots(&backend, &seen(kind, told)), want, "{kind:?} {url} {told} {wanted}");
    }
}

#[test]
fn the_operators_word_wins() {
    let wanted = Backend {
        kind: Some(Kind::Openai),
        dialects: vec![Dialect::Anthropic],
        draining: true,
        ..backend("a", "http://h")
    };
    let joined = join(&wanted, &seen(Some(Kind::Vllm), 0));
    assert_eq!((joined.kind, joined.draining), (Some(Kind::Openai), true));
    assert_eq!(joined.dialects, [Dialect::Anthropic]);
}

#[test]
fn the_check_bites() {
    let good = plan(&desired(), &BTreeMap::new());
    let fault = |change: &dyn Fn(&mut Picture)| {
        let mut bad = good.clone();
        change(&mut bad);
        check(&bad).join("; ")
    };
    assert_eq!(fault(&|_| {}), "");
    assert!(fault(&|p| Arc::make_mut(&mut p.backends[0]).slots = 0).contains("backend a has 0 slots"));
    assert!(fault(&|p| Arc::make_mut(&mut p.backends[0]).slots = 5000).contains("5000 slots"));
    assert!(fault(&|p| p.backends[1] = p.backends[0].clone()).contains("backend a is there twice"));
    assert!(fault(&|p| p.routes.push(p.routes[0].clone())).contains("route r is there twice"));
    assert!(fault(&|p| p.backends.clear()).contains("route r: backend a does not exist"));
    assert!(fault(&|p| Arc::make_mut(&mut p.routes[0]).value.targets.clear()).contains("0 targets"));
    assert!(
        fault(&|p| Arc::make_mut(&mut p.routes[0]).value.matcher = Matcher::Pattern("(".to_owned()))
            .contains("route r: the pattern")
    );
    assert!(
        fault(&|p| Arc::make_mut(&mut p.routes[0]).value.targets[0].model = "$7".to_owned()).contains("${7}")
    );
    assert!(
        fault(&|p| Arc::make_mut(&mut p.routes[0]).value.matcher = Matcher::Exact(String::new()))
            .contains("empty name")
    );
    assert!(
        fault(&|p| Arc::make_mut(&mut p.routes[0]).value.targets[0].weight = Some(0))
            .contains("every weight is 0")
    );
    assert!(
        fault(&|p| Arc::make_mut(&mut p.routes[0]).value.targets[0].weight = Some(1001))
            .contains("a weight of 1001")
    );
    let twins = vec![Model::default(), Model::default()];
    assert!(fault(&|p| Arc::make_mut(&mut p.backends[0]).models = twins.clone()).contains("not in order"));
}

#[test]
fn what_did_not_change_is_shared_and_checked_once() {
    let mut desired = desired();
    let mut planner = Planner::default();
    let look = |kind| Arc::new(seen(Some(kind), 0));
    let mut all: Seen = ["a", "b"].map(|name| (Name::new(name).unwrap(), look(Kind::Vllm))).into();
    let first = planner.plan(&Arc::new(desired.clone()), &all);
    all.insert(Name::new("a").unwrap(), look(Kind::Vllm));
    all.insert(Name::new("b").unwrap(), look(Kind::Ollama));
    desired.make(&Change::Drain("a".to_owned(), false, 0)).unwrap();
    let second = planner.plan(&Arc::new(desired.clone()), &all);
    let shared = |at: usize| Arc::ptr_eq(&first.backends[at], &second.backends[at]);
    assert_eq!((shared(0), shared(1)), (true, false), "seen anew, the same; another kind");
    assert_eq!(second, plan(&desired, &all));
    let mut bad = first.clone();
    Arc::make_mut(&mut bad.backends[0]).slots = 0;
    assert_eq!(super::check::check(&bad, &first).len(), 1);
    assert_eq!(super::check::check(&bad, &bad).len(), 0, "it was looked at before");
    bad.backends.remove(0);
    assert_eq!(super::check::check(&bad, &first), ["route r: backend a does not exist"]);
}

#[test]
fn models_in_memory_are_the_operators_word_or_the_most_that_were_seen() {
    let model = |name: &str, resident: bool| Model { name: name.to_owned(), resident, ..Model::default() };
    let router = vec![model("a", true), model("b", false)];
    for (kind, models, loaded_most, wanted, expected) in [
        (Kind::Ollama, vec![], 0, 0, 1),
        (Kind::Ollama, vec![], 3, 0, 3),
        (Kind::Ollama, vec![], 3, 2, 2),
        (Kind::LmStudio, vec![], 0, 0, 1),
        (Kind::Llamacpp, router, 1, 0, 1),
        (Kind::Llamacpp, vec![model("a", true)], 1, 0, 0),
        (Kind::Vllm, vec![model("a", true)], 1, 0, 0),
        (Kind::Openai, vec![model("a", false)], 0, 0, 0),
        (Kind::Openai, vec![model("a", false)], 0, 4, 4),
    ] {
        let seen = Observed { models, loaded_most, ..seen(Some(kind), 0) };
        let backend = Backend { max_loaded_models: wanted, ..backend("b", "http://h:1") };
        assert_eq!(max_loaded_models(&backend, &seen), expected, "{kind:?} {loaded_most} {wanted}");
    }
}
