//! Requests that cannot run at one data plane, for want of a lead and of a permit, are answered by another.

use std::time::{Duration, Instant};

use llmsim::{Kind, Settings, Sim};
use proto::v1;
use serde_json::{Value, json};
use tests::{
    feed::{Feed, row},
    rig::{self, DEADLINE, Plane},
};

/// Between two looks at something that comes by itself.
const PACE: Duration = Duration::from_millis(10);

/// Two data planes and the server behind them. The first was the only one and has all slots; then another comes, and one
/// leads that is not there.
struct Pair {
    sim: Sim,
    first: Plane,
    second: Plane,
    first_feed: Feed,
    second_feed: Feed,
    first_said: v1::Hello,
    second_said: v1::Hello,
}

fn sim(decode_tps: f64) -> Sim {
    llmsim::start(Settings {
        kind: Kind::Vllm,
        models: vec!["m".to_owned()],
        slots: 4,
        decode_tps,
        prefill_tps: 0.0,
        output_tokens: 100_000,
        ..Settings::default()
    })
    .expect("a simulated server starts")
}

fn lead(row: &v1::Registered, term: u64) -> Option<v1::Lead> {
    let (plane_id, incarnation, peer) = (row.plane_id.clone(), row.incarnation, row.peer.clone());
    Some(v1::Lead { plane_id, incarnation, peer, term })
}

impl Pair {
    async fn start(sim: Sim) -> Self {
        let (mut first_feed, mut second_feed) = (Feed::start().await, Feed::start().await);
        let first = Plane::follow(&first_feed.url, |_| {}).await;
        let second = Plane::follow(&second_feed.url, |_| {}).await;
        let (first_said, second_said) = (first_feed.hello(DEADLINE).await, second_feed.hello(DEADLINE).await);
        // Nobody listens there any more: a port of this very machine.
        let free = std::net::TcpListener::bind(rig::any_port()).expect("a port").local_addr().expect("bound");
        let here = first_said.peer.split_once('@').map_or(String::new(), |(_, here)| format!("@{here}"));
        let gone = v1::Registered {
            plane_id: "0-gone".to_owned(),
            incarnation: 3,
            permits: true,
            peer: format!("{free}{here}"),
            ..v1::Registered::default()
        };
        let alone = row(&first_said);
        let mut rows = vec![row(&second_said), alone.clone(), gone.clone()];
        rows.sort_by(|a, b| a.plane_id.cmp(&b.plane_id));
        let dialects = [v1::Dialect::OpenaiChat];
        let backend = rig::backend("box", &sim.url(), v1::Kind::Vllm, 4, &["m"], &dialects);
        let given = v1::Snapshot { backends: vec![backend], salt: vec![7; 32], ..v1::Snapshot::default() };
        let own = v1::Snapshot { owner: true, lead: lead(&alone, 5), planes: vec![alone], ..given.clone() };
        let seq = first_feed.publish(own).await;
        first_feed.acked(seq, DEADLINE).await;
        for feed in [&mut first_feed, &mut second_feed] {
            let planes = rows.clone();
            let seq = feed.publish(v1::Snapshot { lead: lead(&gone, 7), planes, ..given.clone() }).await;
            feed.acked(seq, DEADLINE).await;
        }
        Self { sim, first, second, first_feed, second_feed, first_said, second_said }
    }
}

/// One that waits at a lead elsewhere, for a slot that another data plane has, is passed on to that one when the lead dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_when_the_lead_dies_is_passed_on() {
    let sim = sim(20.0);
    let mut feeds = [Feed::start().await, Feed::start().await, Feed::start().await];
    let (mut planes, mut rows) = (Vec::new(), Vec::new());
    for feed in &feeds {
        planes.push(Plane::follow(&feed.url, |_| {}).await);
        rows.push(row(&feed.hello(DEADLINE).await));
    }
    let backend = rig::backend("box", &sim.url(), v1::Kind::Vllm, 1, &["m"], &[v1::Dialect::OpenaiChat]);
    let given = v1::Snapshot { backends: vec![backend], salt: vec![7; 32], ..v1::Snapshot::default() };
    let (holder, third) = (rows[0].clone(), rows[2].clone());
    let alone =
        v1::Snapshot { owner: true, lead: lead(&holder, 5), planes: vec![holder.clone()], ..given.clone() };
    let seq = feeds[0].publish(alone).await;
    feeds[0].acked(seq, DEADLINE).await;
    // It runs here, and the slot stays here.
    let long = ask(&planes[0].url, true, 100_000).send().await.expect("an answer");
    assert_eq!(long.status(), 200);
    rows.sort_by(|a, b| a.plane_id.cmp(&b.plane_id));
    for feed in &mut feeds {
        let picture = v1::Snapshot { lead: lead(&third, 7), planes: rows.clone(), ..given.clone() };
        let seq = feed.publish(picture).await;
        feed.acked(seq, DEADLINE).await;
    }
    for feed in &feeds[..2] {
        assert_eq!(feed.led(DEADLINE).await, 7);
    }
    let url = planes[1].url.clone();
    let waiting = tokio::spawn(async move { chat(&url, false).send().await.expect("an answer") });
    waits(&planes[1]).await;
    planes.pop().expect("the third").stop().await;
    waits(&planes[0]).await;
    drop(long);
    let answer = tokio::time::timeout(DEADLINE, waiting).await.expect("in time").expect("no panic");
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "x-llmb-forwarded-to"), holder.plane_id);
    assert_eq!(sim.stats().accepted, 2);
}

/// One that nobody can take waits on, is offered again and again, and runs once there is a lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_nobody_to_ask_waits_for_the_next_lead() {
    let sim = sim(1000.0);
    let mut feed = Feed::start().await;
    let plane = Plane::follow(&feed.url, |_| {}).await;
    let own = row(&feed.hello(DEADLINE).await);
    let free = std::net::TcpListener::bind(rig::any_port()).expect("a port").local_addr().expect("bound");
    let mut gone = v1::Registered { plane_id: "0-gone".to_owned(), peer: free.to_string(), ..own.clone() };
    gone.dead_through = 0;
    let backend = rig::backend("box", &sim.url(), v1::Kind::Vllm, 1, &["m"], &[v1::Dialect::OpenaiChat]);
    let given = v1::Snapshot { backends: vec![backend], ..v1::Snapshot::default() };
    let planes = vec![gone.clone(), own.clone()];
    let seq = feed.publish(v1::Snapshot { lead: lead(&gone, 7), planes, ..given.clone() }).await;
    feed.acked(seq, DEADLINE).await;
    let url = plane.url.clone();
    let waiting = tokio::spawn(async move { chat(&url, false).send().await.expect("an answer") });
    // When it came, when the lead was found silent, and once more: longer than any single wait.
    let (began, mut pace) = (Instant::now(), tokio::time::interval(PACE));
    while offers(&plane).await < 3 {
        assert!(began.elapsed() < DEADLINE && !waiting.is_finished(), "it does not wait");
        pace.tick().await;
    }
    gone.dead_through = gone.incarnation;
    let planes = vec![gone, own.clone()];
    feed.publish(v1::Snapshot { owner: true, lead: lead(&own, 8), planes, ..given }).await;
    let answer = tokio::time::timeout(DEADLINE, waiting).await.expect("in time").expect("no panic");
    assert_eq!(answer.status(), 200);
}

/// Requests that were offered to others in vain.
async fn offers(plane: &Plane) -> u32 {
    let counted = rig::client().get(format!("{}/metrics", plane.admin)).send().await.expect("an answer");
    let counted = counted.text().await.expect("text");
    let unreached =
        counted.lines().find_map(|line| line.strip_prefix("llmb_forwarded_total{outcome=\"unreached\"} "));
    unreached.map_or(0, |count| count.parse().expect("a number"))
}

/// Returns when one request waits there.
async fn waits(plane: &Plane) {
    let (began, mut pace) = (Instant::now(), tokio::time::interval(PACE));
    loop {
        let view = plane.view().await;
        if view["waiting"] == json!(1) {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "none waits: {view}");
        pace.tick().await;
    }
}

fn ask(url: &str, stream: bool, tokens: u32) -> reqwest::RequestBuilder {
    let messages = json!([{"role": "user", "content": "count"}]);
    let body = json!({"model": "m", "max_tokens": tokens, "stream": stream, "messages": messages});
    rig::client().post(format!("{url}/v1/chat/completions")).json(&body)
}

fn chat(url: &str, stream: bool) -> reqwest::RequestBuilder {
    ask(url, stream, 20)
}

fn header(response: &reqwest::Response, name: &str) -> String {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// The text of a streamed answer.
fn text(stream: &str) -> String {
    let events =
        stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let said = events.map(|data| serde_json::from_str::<Value>(data).expect("JSON"));
    said.filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_run_here_is_answered_by_another_unchanged() {
    let pair = Pair::start(sim(1000.0)).await;
    for stream in [false, true] {
        let passed = chat(&pair.second.url, stream).send().await.expect("an answer");
        assert_eq!(passed.status(), 200);
        assert_eq!(header(&passed, "x-llmb-forwarded-to"), pair.first_said.plane_id);
        assert_eq!(header(&passed, "x-llmb-backend"), "box");
        let direct = chat(&pair.first.url, stream).send().await.expect("an answer");
        assert_eq!(header(&direct, "x-llmb-forwarded-to"), "");
        assert_eq!(header(&passed, "content-type"), header(&direct, "content-type"));
        // Its id leads to where it ran.
        let id = header(&passed, "x-llmb-request-id");
        let told = rig::client().get(format!("{}/explain/{id}", pair.first.admin)).send().await;
        assert_eq!(told.expect("an answer").status(), 200, "{id}");
        let (passed, direct) = (passed.text().await.expect("text"), direct.text().await.expect("text"));
        if stream {
            assert!(passed.ends_with("data: [DONE]\n\n"), "{passed}");
            assert!(!text(&passed).is_empty() && text(&passed) == text(&direct));
        } else {
            let choices = |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["choices"].clone();
            assert_eq!(choices(&passed), choices(&direct));
        }
    }
    for feed in [&pair.first_feed, &pair.second_feed] {
        assert_eq!(feed.silent(DEADLINE).await, 7, "its lead is not there");
        assert_eq!(feed.dead(DEADLINE).await, ("0-gone".to_owned(), 3));
    }
    let view = pair.second.view().await;
    assert_eq!((&view["lead"]["term"], &view["lead"]["silent"]), (&json!(7), &json!(true)));
    let counted =
        rig::client().get(format!("{}/metrics", pair.second.admin)).send().await.expect("an answer");
    let counted = counted.text().await.expect("text");
    assert!(counted.contains("llmb_forwarded_total{outcome=\"answered\"} 2"), "{counted}");
    assert_eq!(pair.sim.stats().finished, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_stops_the_engine_behind_two_data_planes() {
    let pair = Pair::start(sim(5.0)).await;
    let mut answer = chat(&pair.second.url, true).send().await.expect("an answer");
    assert!(answer.chunk().await.expect("a chunk").is_some());
    drop(answer);
    let (began, mut pace) = (Instant::now(), tokio::time::interval(PACE));
    while pair.sim.stats().running > 0 || pair.sim.stats().aborted == 0 {
        assert!(began.elapsed() < DEADLINE, "the engine works on: {:?}", pair.sim.stats());
        pace.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_passed_on_once_and_a_client_cannot_ask_for_it() {
    let pair = Pair::start(sim(1000.0)).await;
    let knock = |said: &v1::Hello| format!("http://{}", said.peer.split('@').next().expect("an address"));
    // The second has nothing for a request that was passed on already, and does not pass it on again.
    let passed = chat(&knock(&pair.second_said), false).header("x-llmb-forwarded-by", "x").send().await;
    let passed = passed.expect("an answer");
    assert_eq!((passed.status().as_u16(), header(&passed, "x-llmb-declined")), (421, "true".to_owned()));
    let passed = chat(&knock(&pair.first_said), false).header("x-llmb-forwarded-by", "x").send().await;
    assert_eq!(passed.expect("an answer").status(), 200);
    // A client that says so itself is served as any other, and one that knocks where data planes do is not.
    let forged = chat(&pair.second.url, false).header("x-llmb-forwarded-by", "x").send().await;
    assert_eq!(forged.expect("an answer").status(), 200);
    let lost = chat(&knock(&pair.first_said), false).send().await.expect("an answer");
    assert_eq!(lost.status(), 421);
    let listed = format!("{}/v1/models", knock(&pair.first_said));
    let listed = rig::client().get(listed).header("x-llmb-forwarded-by", "x").send().await;
    assert_eq!(listed.expect("an answer").status(), 421);
    assert_eq!(pair.sim.stats().finished, 2);
}
