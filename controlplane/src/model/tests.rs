//! Changes and parsing: compare-and-set, references, all faults at once.

use proto::v1;

use super::{change::Outcome, parse, *};

fn given(name: &str) -> v1::Backend {
    v1::Backend { name: name.to_owned(), url: format!("http://{name}:8080/v1"), ..v1::Backend::default() }
}

fn route_to(name: &str, exact: &str, backend: &str) -> v1::Route {
    let target = v1::Target { model: "m".to_owned(), backend: backend.to_owned(), weight: None };
    v1::Route {
        name: name.to_owned(),
        r#match: Some(v1::route::Match::Exact(exact.to_owned())),
        targets: vec![target],
        ..v1::Route::default()
    }
}

fn weighing(weight: u32) -> v1::Target {
    v1::Target { model: "m".to_owned(), backend: String::new(), weight: Some(weight) }
}

fn backend(name: &str) -> Backend {
    parse::backend(Some(given(name))).unwrap()
}

fn route(name: &str, exact: &str, to: &str) -> Route {
    parse::route(Some(route_to(name, exact, to))).unwrap()
}

fn with(changes: &[Change]) -> Desired {
    let mut desired = Desired::default();
    for change in changes {
        desired.make(change).unwrap();
    }
    desired
}

fn refused(desired: &Desired, change: &Change) -> String {
    let mut tried = desired.clone();
    let refusal = tried.make(change).expect_err("refused").to_string();
    assert_eq!(tried, *desired, "a refused change changes nothing");
    refusal
}

#[test]
fn revisions_and_compare_and_set() {
    let mut desired = with(&[Change::CreateBackend(backend("a")), Change::CreateBackend(backend("b"))]);
    assert_eq!((desired.revision, desired.backends["a"].revision), (2, 1));
    let changed = Backend { priority: 5, ..backend("a") };
    let stale = refused(&desired, &Change::UpdateBackend(changed.clone(), 2));
    assert_eq!(stale, "backend \"a\" is at revision 1, not at the demanded 2: read it again");
    desired.make(&Change::UpdateBackend(changed.clone(), 1)).unwrap();
    assert_eq!((desired.revision, desired.backends["a"].revision), (3, 3));
    let same = desired.make(&Change::UpdateBackend(changed, 3)).unwrap();
    assert_eq!((same.revision, same.changed(), desired.revision), (3, false, 3), "no change has no revision");
    desired.make(&Change::Drain("b".to_owned(), true, 0)).unwrap();
    assert!(desired.backends["b"].value.draining);
    assert_eq!(desired.revision, 4);
    assert!(refused(&desired, &Change::Drain("b".to_owned(), false, 2)).contains("revision 4"));
    let there = refused(&desired, &Change::CreateBackend(backend("a")));
    assert_eq!(there, "backend \"a\" exists already (revision 3)");
    assert_eq!(refused(&desired, &Change::DeleteBackend("z".to_owned(), 0)), "backend \"z\" does not exist");
    desired.make(&Change::DeleteBackend("a".to_owned(), 3)).unwrap();
    assert_eq!((desired.revision, desired.backends.len()), (5, 1));
}

#[test]
fn references_hold() {
    let mut desired = with(&[
        Change::CreateBackend(backend("a")),
        Change::CreateRoute(route("r", "x", "a")),
        Change::CreateRoute(route("s", "y", "a")),
    ]);
    let used = refused(&desired, &Change::DeleteBackend("a".to_owned(), 0));
    assert_eq!(used, "backend \"a\" is named by route \"r\", route \"s\": change or delete them first");
    let missing = refused(&desired, &Change::CreateRoute(route("t", "z", "nope")));
    assert_eq!(missing, "routes[t].targets[0].backend: backend \"nope\" does not exist");
    let twice = refused(&desired, &Change::CreateRoute(route("t", "x", "a")));
    assert_eq!(twice, "routes[t].exact: \"x\" is matched by route \"r\" already");
    for name in ["r", "s"] {
        desired.make(&Change::DeleteRoute(name.to_owned(), 0)).unwrap();
    }
    desired.make(&Change::DeleteBackend("a".to_owned(), 0)).unwrap();
}

#[test]
fn apply_is_all_or_nothing_and_sees_its_own_backends() {
    let mut desired = with(&[Change::CreateBackend(backend("a"))]);
    let config = Config {
        backends: vec![(backend("a"), 0), (backend("b"), 0)],
        routes: vec![(route("r", "x", "b"), 0)],
        ..Config::default()
    };
    let written = desired.make(&Change::Apply(config.clone())).unwrap();
    assert_eq!(written.revision, 2);
    let outcomes: Vec<_> =
        written.backends.iter().chain(&written.routes).map(|(_, outcome)| *outcome).collect();
    assert_eq!(outcomes, [Outcome::Unchanged, Outcome::Created, Outcome::Created]);
    assert_eq!(desired.backends["a"].revision, 1, "what is unchanged keeps its revision");
    assert!(!desired.make(&Change::Apply(config)).unwrap().changed());
    let half = Config {
        backends: vec![(backend("c"), 0)],
        routes: vec![(route("q", "z", "nope"), 0)],
        scheduling: None,
    };
    refused(&desired, &Change::Apply(half));
    let stale = Config {
        backends: vec![(Backend { priority: 1, ..backend("a") }, 9)],
        routes: vec![],
        scheduling: None,
    };
    assert!(refused(&desired, &Change::Apply(stale)).contains("not at the demanded 9"));
    let gone = Config { backends: vec![(backend("new"), 3)], routes: vec![], scheduling: None };
    assert!(refused(&desired, &Change::Apply(gone)).contains("is at revision 0"));
}

#[test]
fn exact_before_patterns_then_precedence_then_name() {
    let pattern = |name: &str, precedence| Route {
        matcher: Matcher::Pattern("^x".to_owned()),
        precedence,
        ..route(name, "x", "")
    };
    let desired = with(&[
        Change::CreateRoute(pattern("a", 0)),
        Change::CreateRoute(pattern("b", 5)),
        Change::CreateRoute(pattern("c", 5)),
        Change::CreateRoute(route("z", "x", "")),
    ]);
    let order: Vec<_> = desired.routes_in_order().iter().map(|record| record.value.name.as_str()).collect();
    assert_eq!(order, ["z", "b", "c", "a"]);
}

#[test]
fn all_faults_at_once_with_their_places() {
    let config = v1::Config {
        backends: vec![
            v1::Backend { url: "ftp://x".to_owned(), priority: 1001, max_concurrency: 5000, ..given("web") },
            v1::Backend {
                name: "Bad Name".to_owned(),
                credential: "sk-secret".to_owned(),
                kind: 99,
                ..given("x")
            },
            given("web"),
            v1::Backend { url: String::new(), dialects: vec![77], ..given("y") },
        ],
        routes: vec![
            v1::Route { name: "r".to_owned(), precedence: -1001, ..v1::Route::default() },
            v1::Route {
                r#match: Some(v1::route::Match::Pattern("(".to_owned())),
                ..route_to("p", "", "No Name")
            },
            v1::Route {
                r#match: Some(v1::route::Match::Pattern("^(.*)$".to_owned())),
                targets: vec![v1::Target { model: "$2".to_owned(), backend: String::new(), weight: None }],
                deadlines: Some(v1::Deadlines {
                    connect: Some(proto::span(60_001)),
                    first_token: Some(proto::span(0)),
                    between_tokens: Some(proto::Duration { seconds: 1, nanos: 1 }),
                    total: Some(proto::Duration { seconds: -1, nanos: 0 }),
                }),
                ..route_to("q", "", "")
            },
        ],
        scheduling: None,
    };
    let faults = parse::config(Some(config)).unwrap_err();
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let text = lines.join("\n");
    for want in [
        "backends[web].url: \"ftp://x\" is not allowed: http or https",
        "backends[web].priority: 1001 is not allowed: -1000 to 1000",
        "backends[web].max_concurrency: 5000 is not allowed: 0 to 4096",
        "backends[1].name: \"Bad Name\" is not allowed: 1 to 63",
        "backends[1].credential: not allowed: \"env:NAME\" or \"file:/absolute/path\"",
        "backends[1].kind: 99 is no kind",
        "backends[web].name: \"web\" is given twice",
        "backends[y].url: missing",
        "backends[y].dialects: 77 is no dialect",
        "routes[r].exact: exactly one of exact and pattern is needed",
        "routes[r].precedence: -1001",
        "routes[r].targets: at least one is needed",
        "routes[p].pattern: the pattern is not a regular expression",
        "routes[p].targets[0].backend: \"No Name\" is not allowed",
        "routes[q].targets[0].model: the template uses ${2}",
        "routes[q].deadlines.connect: 60.001 s is not allowed: whole milliseconds from 0.01 s to 60 s",
        "routes[q].deadlines.first_token: 0 s is not allowed: whole milliseconds from 0.1 s to 3600 s",
        "routes[q].deadlines.between_tokens: finer than a millisecond: whole milliseconds from 0.1 s",
        "routes[q].deadlines.total: not a time from zero on: whole milliseconds from 0.1 s to 86400 s",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(want)), "{want}\n-- is not in\n{text}");
    }
    assert_eq!(lines.len(), 19, "{text}");
    assert!(!text.contains("sk-secret"), "{text}");
}

#[test]
fn what_routes_say_of_their_requests_is_checked() {
    let told = |route: v1::Route| {
        let faults = parse::route(Some(route)).expect_err("faulty");
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let targets = [1001, 1].map(weighing).to_vec();
    assert_eq!(
        told(v1::Route { policy: 99, class: -1, targets, ..route_to("r", "x", "") }),
        [
            "routes[r].targets[0].weight: 1001 is not allowed: 0 to 1000",
            "routes[r].policy: 99 is no policy",
            "routes[r].class: -1 is no class",
        ]
    );
    assert_eq!(
        told(v1::Route { targets: [0, 0].map(weighing).to_vec(), ..route_to("r", "x", "") }),
        ["routes[r].targets: every weight is 0: one at least must be more"]
    );
}

#[test]
fn credentials() {
    for (text, good) in [
        ("env:KEY_1", true),
        ("file:/run/secrets/key", true),
        ("file:key", false),
        ("env:", false),
        ("env:A B", false),
        ("Bearer x", false),
        ("sk-123", false),
    ] {
        let read = parse::backend(Some(v1::Backend { credential: text.to_owned(), ..given("a") }));
        assert_eq!(read.is_ok(), good, "{text}");
        if let Ok(backend) = read {
            assert_eq!(backend.credential.unwrap().to_string(), text, "it is rendered as given");
        }
    }
}

#[test]
fn what_is_rendered_is_parsed_back() {
    let full = v1::Backend {
        kind: v1::Kind::Vllm as i32,
        max_concurrency: 8,
        priority: -7,
        max_input_tokens: 9000,
        credential: "env:KEY".to_owned(),
        ca_file: "/etc/ca.pem".to_owned(),
        draining: true,
        dialects: (1..=7).collect(),
        ..given("full")
    };
    let backend = parse::backend(Some(full)).unwrap();
    let record = Record { revision: 3, value: backend.clone() };
    let rendered = render::backend(&record, &Observed::default(), (8, false));
    assert_eq!(parse::backend(Some(rendered)).unwrap(), backend);
    let deadlines = v1::Deadlines { connect: Some(proto::span(20)), ..v1::Deadlines::default() };
    let targets = vec![weighing(1000), weighing(0), v1::Target::default()];
    let full = v1::Route { deadlines: Some(deadlines), targets, ..route_to("r", "x", "full") };
    for (policy, class) in (0..9).zip([0, 1, 2, 3].into_iter().cycle()) {
        let full = v1::Route { policy, class, ..full.clone() };
        let route = parse::route(Some(full.clone())).unwrap();
        let rendered = render::route(&Record { revision: 4, value: route.clone() });
        assert_eq!(rendered, v1::Route { revision: 4, ..full });
        assert_eq!(parse::route(Some(rendered)).unwrap(), route);
    }
}

#[test]
fn bounded() {
    let backends = (0..=BACKENDS_MAX).map(|n| (backend(&format!("b{n}")), 0)).collect();
    let many = Change::Apply(Config { backends, routes: Vec::new(), scheduling: None });
    assert_eq!(refused(&Desired::default(), &many), "backends: 4097, at most 4096");
}

#[test]
fn one_server_has_one_name() {
    let at = |name: &str, url: &str| {
        parse::backend(Some(v1::Backend { url: url.to_owned(), ..given(name) })).unwrap()
    };
    let mut desired = with(&[Change::CreateBackend(at("a", "http://localhost:1"))]);
    let said = refused(&desired, &Change::CreateBackend(at("b", "HTTP://127.0.0.1:1/v1/")));
    assert_eq!(
        said,
        "backend \"a\" has the URL http://127.0.0.1:1 already: \"b\" would count its slots twice"
    );
    let two = |first: &str, second: &str| Config {
        backends: vec![(at("x", first), 0), (at("y", second), 0)],
        ..Config::default()
    };
    assert!(refused(&desired, &Change::Apply(two("http://h:1", "http://h:1"))).contains("\"x\""));
    assert!(refused(&desired, &Change::Apply(two("http://h:1", "http://localhost:1"))).contains("\"a\""));
    desired.make(&Change::Apply(two("http://h:1", "http://h:2"))).unwrap();
    assert!(refused(&desired, &Change::UpdateBackend(at("y", "http://h:1"), 0)).contains("\"x\""));
    desired.make(&Change::Apply(two("http://h:2", "http://h:1"))).expect("they change places");
    desired.make(&Change::UpdateBackend(Backend { priority: 1, ..at("x", "http://h:2") }, 0)).unwrap();
}
