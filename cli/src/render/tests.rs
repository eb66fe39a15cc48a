//! Golden tables.

use proto::v1::{
    AppliedResource, BackendLoad, Class, DataPlane, Deadlines, Dialect, Health, Kind, Load, Policy,
    StatusResponse, Version, applied_resource::Outcome, load::Sharing,
};

use super::{change, plane, status::status, *};

fn ollama() -> Backend {
    let model = |name: &str, resident: bool, context_length: u32, capability: &str| Model {
        name: name.to_owned(),
        resident,
        context_length,
        capabilities: vec![capability.to_owned()],
    };
    Backend {
        name: "ollama".to_owned(),
        url: "http://127.0.0.1:11434".to_owned(),
        revision: 3,
        status: Some(BackendStatus {
            health: Health::Healthy as i32,
            kind: Kind::Ollama as i32,
            dialects: vec![Dialect::OpenaiChat as i32, Dialect::OllamaNative as i32],
            models: vec![
                model("llama3.2:3b", true, 131_072, "completion"),
                model("nomic-embed-text", false, 0, "embedding"),
            ],
            slots: 1,
            slots_assumed: true,
            version: "0.12.3".to_owned(),
            probe_rtt_us: 1_234,
            ..BackendStatus::default()
        }),
        ..Backend::default()
    }
}

fn lab() -> Backend {
    Backend {
        name: "lab".to_owned(),
        url: "http://lab:8000".to_owned(),
        kind: Kind::Vllm as i32,
        max_concurrency: 4,
        priority: -1,
        revision: 5,
        status: Some(BackendStatus {
            health: Health::Unhealthy as i32,
            reason: "connection refused".to_owned(),
            models: vec![Model { name: "llama3.2:3b".to_owned(), ..Model::default() }],
            ..BackendStatus::default()
        }),
        ..Backend::default()
    }
}

fn fast() -> Route {
    Route {
        name: "fast".to_owned(),
        r#match: Some(route::Match::Exact("gpt-4o".to_owned())),
        targets: vec![
            Target { model: "qwen3:8b".to_owned(), backend: String::new(), weight: None },
            Target { model: "llama3.2:3b".to_owned(), backend: "lab".to_owned(), weight: None },
        ],
        revision: 4,
        ..Route::default()
    }
}

#[test]
fn backends_in_lines() {
    let expect = "\
NAME    KIND    STATE      SLOTS        MODELS                         URL                     REVISION  REASON
lab     vllm    unhealthy  4            llama3.2:3b                    http://lab:8000         5         connection refused
ollama  ollama  healthy    1 (assumed)  llama3.2:3b, nomic-embed-text  http://127.0.0.1:11434  3
";
    assert_eq!(backends(&[lab(), ollama()]), expect);
    assert!(backends(&[]).starts_with("no backends; add one"));
}

#[test]
fn one_backend() {
    let expect = "\
name        ollama
url         http://127.0.0.1:11434
state       healthy
kind        ollama
version     0.12.3
dialects    openai-chat, ollama
slots       1 (assumed)
priority    0
round trip  1.2 ms
revision    3

MODEL             LOADED    CONTEXT  CAPABILITIES
llama3.2:3b       resident  131072   completion
nomic-embed-text            -        embedding
";
    assert_eq!(backend(&ollama()), expect);
}

#[test]
fn what_a_probe_found() {
    let expect = "\
reason  connection refused
kind    vllm
slots   4

MODEL        LOADED  CONTEXT  CAPABILITIES
llama3.2:3b          -
";
    assert_eq!(found(&lab()), expect);
    let unprobed = Backend { name: "new".to_owned(), ..Backend::default() };
    assert_eq!(found(&unprobed), "kind   -\nslots  -\n");
}

#[test]
fn models_over_backends() {
    let expect = "\
MODEL             BACKENDS                 LOADED AT  CONTEXT
llama3.2:3b       lab (unhealthy), ollama  ollama     131072
nomic-embed-text  ollama                              -
";
    assert_eq!(models(&[lab(), ollama()], &[]), expect);
    assert!(models(&[], &[]).starts_with("no models"));
    let exact = |name: &str, model: &str| Route {
        name: name.to_owned(),
        r#match: Some(route::Match::Exact("gpt-4o".to_owned())),
        targets: vec![Target { model: model.to_owned(), backend: String::new(), weight: None }],
        ..Route::default()
    };
    let with = models(&[ollama()], &[exact("fast", "llama3.2:3b"), exact("none", "gone")]);
    assert!(with.contains("gpt-4o            route fast → llama3.2:3b"), "{with}");
    assert!(!with.contains("none"), "{with}");
}

#[test]
fn routes_in_order() {
    let pattern = Route {
        name: "latest".to_owned(),
        r#match: Some(route::Match::Pattern("^(.*)-latest$".to_owned())),
        precedence: 7,
        targets: vec![Target { model: "$1".to_owned(), backend: String::new(), weight: None }],
        deadlines: Some(Deadlines { total: Some(proto::span(90_000)), ..Deadlines::default() }),
        policy: Policy::RoundRobin as i32,
        class: Class::Batch as i32,
        revision: 6,
    };
    let mut canary = fast();
    (canary.targets[0].weight, canary.targets[1].weight) = (Some(95), Some(5));
    let expect = "\
NAME    MATCHES          TO                                  POLICY       CLASS    PRECEDENCE  DEADLINES  REVISION
fast    gpt-4o           qwen3:8b, llama3.2:3b@lab           default      default  0           default    4
fast    gpt-4o           qwen3:8b (95), llama3.2:3b@lab (5)  default      default  0           default    4
latest  /^(.*)-latest$/  $1                                  round-robin  batch    7           total 90s  6
";
    assert_eq!(routes(&[fast(), canary, pattern]), expect);
}

fn serving() -> DataPlane {
    let version = Version { lineage: "0123456789abcdef".to_owned(), epoch: 2, seq: 14 };
    let resting = "rests 4 s after failed connections".to_owned();
    let busy =
        BackendLoad { name: "ollama".to_owned(), in_flight: 1, slots: 1, resting, permits: 4, parked: 1 };
    let load =
        Load { queued: 3, backends: vec![busy], sharing: Sharing::Leads as i32, term: 5, forwarded: 2 };
    DataPlane {
        id: "plane-1".to_owned(),
        lead: true,
        registered: true,
        seen_at_ms: 60_000,
        connected: true,
        acked: Some(version),
        load: Some(load),
        serves: "127.0.0.1:8800".to_owned(),
        serving: true,
        term: 5,
        nacks: 2,
        ..DataPlane::default()
    }
}

#[test]
fn all_of_one_data_plane() {
    let details = "\
data plane plane-1
  state: serving, lead
  incarnation: 0
  software: -
  serves: 127.0.0.1:8800
  admin: -
  peer: -
  snapshot: 01234567/2.14, 0 behind the newest
  shares: leads, by term 5
  queued: 3
  forwarded: 2
  last contact: 1 s ago
  registered: 61 s ago
  permits: ollama: 3 busy, 1 parked
  refused: 2 snapshots and deltas since it follows
";
    assert_eq!(plane::details(&serving(), 61_000), details);
}

#[test]
fn the_state_of_all() {
    let (serving, version) = (serving(), serving().acked);
    let led = DataPlane {
        id: "plane-2".to_owned(),
        load: Some(Load { sharing: Sharing::Leaderless as i32, ..Load::default() }),
        lead: false,
        ..serving.clone()
    };
    let gone = DataPlane {
        id: "plane-0".to_owned(),
        seen_at_ms: 1_000,
        dead: true,
        lag: 14,
        ..DataPlane::default()
    };
    let sole = DataPlane { id: "plane-3".to_owned(), dead: false, alone: true, ..gone.clone() };
    let response = StatusResponse {
        software_version: "0.1.0".to_owned(),
        version,
        revision: 7,
        backends: vec![lab(), ollama()],
        data_planes: vec![gone, serving, led, sole],
        plan_faults: vec!["route fast: no target".to_owned()],
        term: 5,
    };
    let expect = "\
control plane 0.1.0, revision 7, snapshot 01234567/2.14
fault: route fast: no target; the last good snapshot stays

BACKEND  KIND    STATE      IN FLIGHT  SLOTS        MODELS  REASON
lab      vllm    unhealthy  0          4            1       probes: connection refused
ollama   ollama  healthy    1          1 (assumed)  2       data plane: rests 4 s after failed connections

DATA PLANE  STATE                                                         SERVES          QUEUED  PERMITS           SNAPSHOT       LAG  SEEN  FAULTS
plane-0     gone for 60 s, dead                                                           0                         none           14   60 s
plane-1     serving, lead                                                 127.0.0.1:8800  3       3 busy, 1 parked  01234567/2.14  0    1 s
plane-2     serving, hears no lead                                        127.0.0.1:8800  0       0 busy, 0 parked  01234567/2.14  0    1 s
plane-3     gone for 60 s, was the only one: start it again, or fence it                  0                         none           14   60 s
";
    assert_eq!(status(&response, 61_000), expect);
}

#[test]
fn changes_before_and_after() {
    let before = ollama();
    let mut after = Backend { priority: 5, draining: true, revision: 9, ..before.clone() };
    after.set_kind(Kind::Ollama);
    let expect = "\
backend ollama changed (revision 3 → 9)
  kind: auto → ollama
  priority: 0 → 5
  draining: no → yes
";
    assert_eq!(change::backend_echo(&before, &after), expect);
    assert_eq!(change::backend_echo(&before, &before), "backend ollama unchanged (revision 3)\n");
    let other = Route { precedence: 2, ..fast() };
    assert_eq!(change::route(&fast(), &other), ["precedence: 0 → 2"]);
    assert_eq!(change::deleted("route", "fast", 4, 8), "route fast deleted (revision 4 → 8)\n");
}

#[test]
fn what_applying_did() {
    let resource = |resource: &str, name: &str, outcome: Outcome| AppliedResource {
        resource: resource.to_owned(),
        name: name.to_owned(),
        outcome: outcome as i32,
    };
    let resources =
        [resource("backend", "box", Outcome::Updated), resource("route", "fast", Outcome::Unchanged)];
    let expect = "\
RESOURCE  NAME  OUTCOME    CHANGES
backend   box   updated    priority: 0 → 5; draining: no → yes
route     fast  unchanged
";
    let changes = |resource: &AppliedResource| match resource.name.as_str() {
        "box" => vec!["priority: 0 → 5".to_owned(), "draining: no → yes".to_owned()],
        _ => Vec::new(),
    };
    assert_eq!(change::applied(&resources, changes), expect);
}

#[test]
fn a_hostile_name_cannot_drive_the_terminal() {
    let mut backend = ollama();
    backend.name = "a\u{1b}[31mb\nc\rd\u{9b}e".to_owned();
    let text = backends(&[backend]);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("a\\u{1b}[31mb\\nc\\rd\\u{9b}e"), "{text}");
}
