//! The route table, case by case, from data.

use std::time::{Duration, Instant};

use dataplane::{
    config::{Parser, Snapshot},
    deadline::Deadlines,
    route::{NoRoute, Terms},
};
use proto::v1;
use sched::{Class, Policy, Span, Tuning};
use wire::Dialect;

const CASES_MIN: usize = 40;

fn snapshot() -> Snapshot {
    let raw: v1::Snapshot = proto::from_yaml("Snapshot", include_str!("routes.yaml")).expect("given");
    Parser::new(10, false).parse(&raw).expect("given")
}

fn show(snapshot: &Snapshot, name: &str, dialect: Dialect) -> String {
    match snapshot.table.candidates(name, dialect) {
        Ok(found) => {
            let shown: Vec<String> = found
                .candidates
                .iter()
                .map(|found| format!("{}@{}", found.model, found.backend.name))
                .collect();
            shown.join(" ")
        }
        Err(NoRoute::Unknown { .. }) => "unknown".to_owned(),
        Err(NoRoute::OtherDialect { spoken }) => {
            let names: Vec<&str> = spoken.iter().map(|dialect| dialect.name()).collect();
            format!("speaks {}", names.join(" "))
        }
    }
}

#[test]
fn cases() {
    let snapshot = snapshot();
    let mut wrong = Vec::new();
    let rows: Vec<&str> = include_str!("routes.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    assert!(rows.len() >= CASES_MIN);
    for row in rows {
        let [name, dialect, expected] = row.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("three columns in {row:?}")
        };
        let found = show(&snapshot, name, Dialect::parse(dialect).expect("a dialect"));
        if found != expected {
            wrong.push(format!("{row}\n    found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_unknown_name_says_what_there_is() {
    let snapshot = snapshot();
    let Err(NoRoute::Unknown { hint }) = snapshot.table.candidates("xyz", Dialect::OpenaiChat) else {
        panic!("xyz is served")
    };
    assert!(hint.contains("a+b(c)") && hint.contains("more"), "{hint}");
    let Err(NoRoute::Unknown { hint }) = snapshot.table.candidates("dead-end", Dialect::OpenaiChat) else {
        panic!("dead-end is served")
    };
    assert!(hint.contains("dead-end"), "{hint}");
}

#[test]
fn deadlines_are_those_of_the_route_that_is_taken() {
    let snapshot: v1::Snapshot = proto::from_yaml(
        "Snapshot",
        r#"
backends: [{name: box, url: "http://127.0.0.1:9", slots: 1, dialects: [OPENAI_CHAT], models: [{name: m}]}]
routes:
- {name: fast, exact: fast, targets: [{model: m}], deadlines: {connect: 0.5s, total: 90s}}
- {name: all, pattern: ".*", targets: [{model: m}]}
"#,
    )
    .expect("given");
    let snapshot = Parser::new(10, true).parse(&snapshot).expect("given");
    let of =
        |name: &str| snapshot.table.candidates(name, Dialect::OpenaiChat).expect("found").terms.deadlines;
    let fast = Deadlines {
        connect: Duration::from_millis(500),
        total: Duration::from_secs(90),
        ..Deadlines::default()
    };
    assert_eq!((of("fast"), of("m"), of("x")), (fast, Deadlines::default(), Deadlines::default()));
}

#[test]
fn a_deadline_of_no_time_is_refused() {
    let deadlines = v1::Deadlines { connect: Some(proto::span(0)), ..v1::Deadlines::default() };
    let route = v1::Route {
        name: "r".to_owned(),
        r#match: Some(v1::route::Match::Exact("x".to_owned())),
        targets: vec![v1::Target::default()],
        deadlines: Some(deadlines),
        ..Default::default()
    };
    let raw = v1::Snapshot { routes: vec![route], ..Default::default() };
    let said = Parser::new(10, true).parse(&raw).expect_err("no time");
    assert_eq!(said, ["routes[r]: deadlines.connect: 0 is not allowed: more than zero"]);
}

fn refused(pattern: &str, template: &str) -> String {
    let route = v1::Route {
        name: "r".to_owned(),
        r#match: Some(v1::route::Match::Pattern(pattern.to_owned())),
        targets: vec![v1::Target { model: template.to_owned(), backend: String::new(), weight: None }],
        ..Default::default()
    };
    let raw = v1::Snapshot { routes: vec![route], ..Default::default() };
    Parser::new(10, false).parse(&raw).expect_err(pattern).join("\n")
}

#[test]
fn hostile_patterns_are_refused_in_words() {
    for (pattern, template) in [
        ("(", ""),
        ("[a-", ""),
        ("a{100000}{100000}", ""),
        ("(?:a{1000}){1000}", ""),
        (r"(a)\1", ""),
        ("(?=a)", ""),
        ("", ""),
        ("^a$", "$1"),
        ("^(?P<n>a)$", "${m}"),
    ] {
        let refused = refused(pattern, template);
        assert!(refused.starts_with("routes[r]: ") && refused.len() > 30, "{pattern}: {refused}");
    }
}

#[test]
fn a_pattern_that_explodes_elsewhere_is_linear_here() {
    let raw = v1::Snapshot {
        routes: vec![v1::Route {
            name: "evil".to_owned(),
            r#match: Some(v1::route::Match::Pattern("^(a+)+$".to_owned())),
            targets: vec![v1::Target::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let snapshot = Parser::new(10, false).parse(&raw).expect("given");
    let name = format!("{}!", "a".repeat(250));
    let began = Instant::now();
    assert_eq!(show(&snapshot, &name, Dialect::OpenaiChat), "unknown");
    assert!(began.elapsed() < Duration::from_secs(1), "a backtracking engine needs longer than the universe");
}

#[test]
fn every_fault_of_a_snapshot_is_reported_and_nothing_is_used() {
    let raw: v1::Snapshot = proto::from_yaml(
        "Snapshot",
        "backends: [{name: a, url: 'ftp://x', slots: 1}, {name: b, url: 'http://x', slots: 0}, \
         {name: b, url: 'http://x', slots: 1}]\nroutes: [{name: r}, {name: s, pattern: '(', targets: [{}]}]",
    )
    .expect("given");
    let faults = Parser::new(10, false).parse(&raw).unwrap_err();
    assert_eq!(faults.len(), 5, "{faults:#?}");
}

fn shared(routes: &str) -> Snapshot {
    let backend = |name: &str, models: &str| {
        format!(
            "{{name: {name}, url: \"http://127.0.0.1:9\", slots: 1, dialects: [OPENAI_CHAT], models: [{models}]}}"
        )
    };
    let (x, y) = (backend("x", "{name: a}, {name: b}"), backend("y", "{name: b}"));
    let text = format!("backends: [{x}, {y}]\nroutes:\n{routes}");
    Parser::new(10, true).parse(&proto::from_yaml("Snapshot", &text).expect("given")).expect("given")
}

/// Model, backend and reserve of each candidate for a draw.
fn drawn(snapshot: &Snapshot, name: &str, draw: u64) -> String {
    let mut found = snapshot.table.candidates(name, Dialect::OpenaiChat).expect("found");
    found.prefer(draw);
    let shown =
        found.candidates.iter().map(|one| format!("{}@{}/{}", one.model, one.backend.name, one.reserve));
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn weights_put_the_target_that_is_drawn_before_the_others() {
    let snapshot = shared(
        "- {name: r, exact: r, targets: [{model: a, weight: 9}, {model: b}, {model: b, backend: y, weight: 0}]}\n\
         - {name: s, exact: s, targets: [{model: a}, {model: b}]}\n",
    );
    for (draw, wanted) in [(0, "a@x/0 b@y/1"), (u64::MAX, "b@x/0 b@y/0")] {
        assert_eq!(drawn(&snapshot, "r", draw), wanted);
        assert_eq!(drawn(&snapshot, "s", draw), "a@x/0 b@y/0", "without weights all are alike");
        assert_eq!(drawn(&snapshot, "b", draw), "b@x/0 b@y/0", "and without a route");
    }
}

#[test]
fn what_a_newer_control_plane_says_is_as_if_it_said_nothing() {
    let mut raw: v1::Snapshot = proto::from_yaml("Snapshot", include_str!("routes.yaml")).expect("given");
    let terms = |raw: &v1::Snapshot| {
        let snapshot = Parser::new(10, false).parse(raw).expect("it is served by");
        snapshot.table.candidates("gpt-4o", Dialect::OpenaiChat).expect("found").terms
    };
    let tuning = |raw: &v1::Snapshot| Parser::new(10, false).parse(raw).expect("given").fleet.tuning;
    assert_eq!(terms(&raw), Terms::default(), "an older one says nothing");
    (raw.routes[0].policy, raw.routes[0].class) = (v1::Policy::TokenAware as i32, v1::Class::Batch as i32);
    let said = terms(&raw);
    assert_eq!((said.policy, said.class), (Policy::TokenAware, Class::Batch));
    (raw.routes[0].policy, raw.routes[0].class) = (77, 78);
    assert_eq!(terms(&raw), Terms::default());
    assert_eq!(tuning(&raw), Tuning::default(), "an older one says nothing of this either");
    raw.scheduling = Some(v1::Scheduling { age_max: Some(proto::span(9000)), ..v1::Scheduling::default() });
    assert_eq!(tuning(&raw), Tuning { age_max: Span::from_secs(9), ..Tuning::default() });
    raw.routes[0].targets.iter_mut().for_each(|target| target.weight = Some(0));
    let said = Parser::new(10, false).parse(&raw).expect_err("no target is ever taken");
    assert_eq!(said, ["routes[exact-alias]: targets: every weight is 0"]);
}
