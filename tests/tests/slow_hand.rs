//! A slot goes from a request at one data plane to a request at another about as fast as one client uses it again.

use std::time::{Duration, Instant};

use llmsim::{Kind, Settings, Sim};
use serde_json::{Value, json};
use tests::{cluster::Cluster, rig};
use tokio::task::JoinSet;

const PLANES: usize = 3;
/// So many that somebody always waits at each data plane.
const CLIENTS: usize = 9;
/// Requests of each client.
const REQUESTS: usize = 40;
/// Who runs next is decided elsewhere: what that may cost.
const COST_MAX: Duration = Duration::from_millis(5);
/// Live timings on a shared machine: the best of so many runs counts.
const TRIES: usize = 3;

fn server() -> Sim {
    let settings = Settings {
        kind: Kind::Vllm,
        models: vec!["m".to_owned()],
        slots: 1,
        prefill_tps: 0.0,
        decode_tps: 500.0,
        output_tokens: 10,
        requests_kept: 1 << 16,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server starts")
}

/// Requests one after the other, which say by whom they go.
async fn client(url: String, by: usize, requests: usize) {
    let client = rig::patient(rig::DEADLINE);
    let messages = json!([{"role": "user", "content": "count"}]);
    let body = json!({"model": "m", "max_tokens": 10, "user": by.to_string(), "messages": messages});
    for _ in 0..requests {
        let answer = client.post(format!("{url}/v1/chat/completions")).json(&body).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("all of it");
    }
}

/// How long the server had nothing to do between two requests that `count` by whom they came, in order of length.
fn gaps(sim: &Sim, count: impl Fn(&str, &str) -> bool) -> Vec<Duration> {
    // The control plane asks things as well.
    let asked = |seen: &llmsim::Seen| {
        let body: Value = serde_json::from_slice(&seen.body).expect("JSON");
        Some((body["user"].as_str()?.to_owned(), seen.start_us, seen.end_us.expect("all have ended")))
    };
    let seen: Vec<(String, u64, u64)> = sim.stats().requests.iter().filter_map(asked).collect();
    let pairs = seen.windows(2).filter(|pair| count(&pair[0].0, &pair[1].0));
    let gap = |pair: &[(String, u64, u64)]| Duration::from_micros(pair[1].1.saturating_sub(pair[0].2));
    let mut gaps: Vec<Duration> = pairs.map(gap).collect();
    gaps.sort_unstable();
    gaps
}

fn at(gaps: &[Duration], part: f64) -> Duration {
    gaps[((gaps.len() - 1) as f64 * part) as usize]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_goes_to_another_data_plane_within_milliseconds() {
    let mut costs = Vec::new();
    for _ in 0..TRIES {
        let cluster = Cluster::start(PLANES, vec![("one", 1, server())], false).await;
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let by = number % PLANES;
            clients.spawn(client(cluster.members[by].url(), by, REQUESTS));
        }
        clients.join_all().await;
        let took = began.elapsed();
        let direct = server();
        client(direct.url(), 0, CLIENTS * REQUESTS).await;
        let (over, straight) = (gaps(&cluster.sims[0].1, |a, b| a != b), gaps(&direct, |_, _| true));
        println!(
            "{} hand-overs in {took:?}: p50 {:?}, p99 {:?}; one client by itself: p50 {:?}, p99 {:?}",
            over.len(),
            at(&over, 0.5),
            at(&over, 0.99),
            at(&straight, 0.5),
            at(&straight, 0.99)
        );
        assert!(over.len() >= CLIENTS * REQUESTS / 4, "many go from one data plane to another");
        assert_eq!(cluster.peaks(), [("one", 1)]);
        let cost = at(&over, 0.99).saturating_sub(at(&straight, 0.99));
        if cost < COST_MAX {
            return;
        }
        costs.push(cost);
    }
    panic!("each time more than {COST_MAX:?}: {costs:?}");
}
