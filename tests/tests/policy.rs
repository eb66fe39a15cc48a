//! What an operator says of a route: by which rule, how urgent, and in which parts.

use std::time::Duration;

use futures_util::future::join_all;
use llmsim::{Kind, Settings, Sim};
use proto::v1::{self, Class, Dialect, Policy};
use serde_json::{Value, json};
use tests::rig::{self, DEADLINE, Plane};
use tokio::{task::JoinHandle, time::timeout};

const SPOKEN: [Dialect; 2] = [Dialect::OpenaiChat, Dialect::AnthropicMessages];

fn sim(models: &[&str]) -> Sim {
    sim_of(models, 0.0, 4)
}

fn sim_of(models: &[&str], decode_tps: f64, output_tokens: u32) -> Sim {
    let settings = Settings {
        kind: Kind::Vllm,
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        slots: 8,
        prefill_tps: 0.0,
        decode_tps,
        output_tokens,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server starts")
}

fn row(name: &str, sim: &Sim, slots: u32, models: &[&str]) -> v1::SnapshotBackend {
    rig::backend(name, &sim.url(), v1::Kind::Vllm, slots, models, &SPOKEN)
}

fn route(name: &str, targets: &[(&str, Option<u32>)]) -> v1::Route {
    let target = |(model, weight): &(&str, Option<u32>)| v1::Target {
        model: (*model).to_owned(),
        backend: String::new(),
        weight: *weight,
    };
    v1::Route {
        name: name.to_owned(),
        r#match: Some(v1::route::Match::Exact(name.to_owned())),
        targets: targets.iter().map(target).collect(),
        ..v1::Route::default()
    }
}

/// A data plane and its client.
struct Field {
    plane: Plane,
    client: reqwest::Client,
}

async fn field(rows: Vec<v1::SnapshotBackend>, routes: Vec<v1::Route>) -> Field {
    let plane = Plane::start(&v1::Snapshot { routes, ..rig::snapshot(rows) }, |_| {}).await;
    Field { plane, client: rig::client() }
}

fn ask(field: &Field, model: &str, messages: &Value) -> reqwest::RequestBuilder {
    let body = json!({"model": model, "max_tokens": 2, "messages": messages});
    field.client.post(format!("{}/v1/chat/completions", field.plane.url)).json(&body)
}

fn says(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

/// Who answered: the backend and the model there.
async fn answered(asked: reqwest::RequestBuilder) -> (String, String) {
    let answer = asked.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let told = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
    (told("x-llmb-backend"), told("x-llmb-model"))
}

/// Polls the plane's view until so many wait.
async fn waiting(field: &Field, count: u64) {
    let polled = async { while field.plane.view().await["waiting"] != count {} };
    timeout(DEADLINE, polled).await.unwrap_or_else(|_| panic!("{count} do not wait"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_in_turn_have_their_shares_exactly() {
    let (a, b) = (sim(&["a"]), sim(&["b"]));
    let weighted =
        v1::Route { policy: Policy::Weighted as i32, ..route("m", &[("a", Some(9)), ("b", Some(1))]) };
    let field = field(vec![row("a", &a, 8, &["a"]), row("b", &b, 8, &["b"])], vec![weighted]).await;
    for round in 1..=3 {
        for _ in 0..10 {
            answered(ask(&field, "m", &says("the same each time"))).await;
        }
        assert_eq!((a.stats().accepted, b.stats().accepted), (9 * round, round));
    }
    field.plane.stop().await;
}

/// The share of conversations is what the draw of their beginnings gives: 10 of 100, give or take 3 × 3; and each stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_has_its_share_of_conversations_and_each_stays_where_it_began() {
    let (a, b) = (sim(&["old"]), sim(&["new"]));
    for policy in [Policy::Unspecified, Policy::LeastBusy] {
        let canary =
            v1::Route { policy: policy as i32, ..route("m", &[("old", Some(90)), ("new", Some(10))]) };
        let rows = vec![row("a", &a, 8, &["old"]), row("b", &b, 8, &["new"])];
        let field = field(rows, vec![canary]).await;
        let mut new = 0;
        for number in 0..100 {
            let mut talk = vec![
                json!({"role": "system", "content": "You are the same for all."}),
                json!({"role": "user", "content": format!("conversation {number}")}),
            ];
            let first = answered(ask(&field, "m", &json!(talk))).await;
            new += u32::from(first.1 == "new");
            talk.push(json!({"role": "assistant", "content": "An answer."}));
            talk.push(json!({"role": "user", "content": "And then?"}));
            assert_eq!(answered(ask(&field, "m", &json!(talk))).await, first, "{number} has moved");
        }
        assert!((1..=19).contains(&new), "{new} of 100 for a tenth");
        field.plane.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_of_another_model_on_the_same_server_is_taken_and_one_that_dies_is_left() {
    let (a, b) = (sim(&["old", "new"]), sim(&["spare"]));
    let canary = route("m", &[("old", Some(1)), ("new", Some(1)), ("spare", Some(0))]);
    let rows = vec![row("a", &a, 8, &["old", "new"]), row("b", &b, 8, &["spare"])];
    let field = field(rows, vec![canary]).await;
    let mut models = std::collections::BTreeSet::new();
    for number in 0..32 {
        models.insert(answered(ask(&field, "m", &says(&format!("text {number}")))).await.1);
    }
    assert_eq!(models.into_iter().collect::<Vec<_>>(), ["new", "old"]);
    assert_eq!(b.stats().accepted, 0, "a weight of 0 is for when no other can");
    a.stop();
    for number in 0..4 {
        let served = answered(ask(&field, "m", &says(&format!("text {number}")))).await;
        assert_eq!(served, ("b".to_owned(), "spare".to_owned()));
    }
    field.plane.stop().await;
}

/// Starts one that holds the only slot until it is dropped, then one after the other, each in the queue before the next.
async fn order_of(field: &Field, sim: &Sim, asked: &[(&str, &str, Option<&str>)]) -> Vec<String> {
    let before = sim.stats().accepted;
    let holds = json!({"model": "held", "stream": true, "messages": says("holds")});
    let holder = field.client.post(format!("{}/v1/chat/completions", field.plane.url)).json(&holds).send();
    let holder = holder.await.expect("an answer");
    let mut running: Vec<JoinHandle<_>> = Vec::new();
    for (number, (model, text, class)) in (1..).zip(asked) {
        let mut request = ask(field, model, &says(text));
        if let Some(class) = class {
            request = request.header("x-llmb-class", *class);
        }
        running.push(tokio::spawn(answered(request)));
        waiting(field, number).await;
    }
    drop(holder);
    for one in join_all(running).await {
        one.expect("no panic");
    }
    let seen = sim.stats().requests.into_iter().skip(before as usize + 1);
    seen.map(|seen| {
        assert_eq!(seen.header("x-llmb-class"), None, "the server hears of it");
        let body: Value = serde_json::from_slice(&seen.body).expect("JSON");
        body["messages"][0]["content"].as_str().expect("text").to_owned()
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_yields_to_interactive_and_no_header_makes_more_urgent() {
    let sim = sim_of(&["held"], 50.0, 99_999);
    let class =
        |name: &str, class: Class| v1::Route { class: class as i32, ..route(name, &[("held", None)]) };
    let routes = vec![
        class("quick", Class::Interactive),
        class("plain", Class::Unspecified),
        class("bulk", Class::Batch),
    ];
    let row = row("one", &sim, 1, &["held"]);
    let field = field(vec![row], routes).await;
    for (asked, wanted) in [
        // by route
        (vec![("bulk", "1", None), ("plain", "2", None), ("quick", "3", None)], ["3", "2", "1"]),
        // less by header
        (
            vec![("quick", "1", Some("batch")), ("quick", "2", Some("normal")), ("quick", "3", None)],
            ["3", "2", "1"],
        ),
        // never more: without a route as well
        (
            vec![
                ("bulk", "1", Some("interactive")),
                ("held", "2", Some("interactive")),
                ("plain", "3", Some("interactive")),
            ],
            ["2", "3", "1"],
        ),
    ] {
        assert_eq!(order_of(&field, &sim, &asked).await, wanted, "{asked:?}");
    }
    field.plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_that_is_none_is_refused_by_name_in_each_dialect() {
    let sim = sim(&["m"]);
    let field = field(vec![row("one", &sim, 1, &["m"])], Vec::new()).await;
    let body = json!({"model": "m", "max_tokens": 5, "messages": says("hi")});
    for (path, kind) in
        [("/v1/chat/completions", "invalid_request_error"), ("/v1/messages", "\"type\":\"error\"")]
    {
        let asked = field.client.post(format!("{}{path}", field.plane.url)).json(&body);
        let answer = asked.header("x-llmb-class", "urgent").send().await.expect("an answer");
        assert_eq!(answer.status(), 400);
        let text = answer.text().await.expect("text");
        for part in [kind, "x-llmb-class", "urgent", "interactive, normal and batch"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert_eq!(sim.stats().accepted, 0, "it starts nothing");
    assert!(sim.wait(|stats| stats.running == 0, Duration::from_secs(5)).await);
    field.plane.stop().await;
}
