//! Several data planes as processes share servers of one slot and of four: whatever dies, hangs or is cut off, no server
//! has more than its slots, and all are served again.

use std::time::{Duration, Instant};

use llmsim::{Kind, Settings, Sim};
use serde_json::json;
use tests::{
    cluster::{Cluster, Member, PATIENCE},
    crowd::Crowd,
    process::Process,
    rig,
};

const PLANES: usize = 3;
const CLIENTS: usize = 60;
/// Slots of each server.
const ONE: u32 = 1;
const FOUR: u32 = 4;
/// How long it goes on between two troubles.
const CALM: Duration = Duration::from_secs(3);

fn server(slots: u32) -> Sim {
    let settings = Settings {
        kind: Kind::Vllm,
        models: ["both", if slots == ONE { "one" } else { "four" }].map(str::to_owned).to_vec(),
        slots,
        prefill_tps: 0.0,
        decode_tps: 100.0,
        output_tokens: 200,
        requests_kept: 16,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server starts")
}

/// A third wants the small server; answers take from 10 to 250 ms.
fn wish(client: u64, request: u64) -> (&'static str, u64) {
    let model = if client.is_multiple_of(3) { "one" } else { "both" };
    (model, 1 + (client * 7 + request * 5) % 25)
}

async fn cluster(cut: bool) -> Cluster {
    Cluster::start(PLANES, vec![("one", ONE, server(ONE)), ("four", FOUR, server(FOUR))], cut).await
}

fn crowd(cluster: &Cluster) -> Crowd {
    let urls: Vec<String> = cluster.members.iter().map(tests::cluster::Member::url).collect();
    Crowd::start(CLIENTS, &urls, wish)
}

/// No server ever had more than its slots.
fn within_slots(cluster: &Cluster) {
    for ((name, peak), slots) in cluster.peaks().into_iter().zip([ONE, FOUR]) {
        assert!(
            peak <= slots,
            "{name} had {peak} at the same time:\n{}\n{}",
            cluster.latest(name),
            cluster.said()
        );
    }
}

/// It goes on for a while, and all clients are served in it.
async fn calm(cluster: &Cluster, crowd: &Crowd, after: &str) {
    crowd.during(CALM, || within_slots(cluster)).await;
    let took = crowd.all_served(PATIENCE).await;
    let took = match took {
        Ok(took) => took,
        Err(left) => {
            let (failures, views) = (crowd.failures(), cluster.views().await);
            panic!("after {after} not served: {left:#?}\n{failures:#?}\n{views}\n{}", cluster.said())
        }
    };
    println!(
        "{:.1} s, {after}: all served within {took:?}, {} so far, {} not",
        crowd.age().as_secs_f64(),
        crowd.served(),
        crowd.failed()
    );
    within_slots(cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_or_hangs_no_server_has_more_than_its_slots_and_all_are_served_again() {
    let mut cluster = cluster(false).await;
    let crowd = crowd(&cluster);
    calm(&cluster, &crowd, "the start").await;
    let lead = cluster.lead().await;
    for (number, who) in [((lead + 1) % PLANES, "a follower"), (lead, "the lead")] {
        cluster.members[number].end(Process::kill);
        calm(&cluster, &crowd, &format!("the death of {who}")).await;
        cluster.start_plane(number);
        println!("whole after {:?}", cluster.whole().await);
        calm(&cluster, &crowd, &format!("the return of {who}")).await;
    }
    let lead = cluster.lead().await;
    for (number, who) in [((lead + 1) % PLANES, "a follower"), (lead, "the lead")] {
        const PAUSE: Duration = Duration::from_secs(30);
        cluster.members[number].process().pause();
        crowd.during(PAUSE, || within_slots(&cluster)).await;
        cluster.members[number].process().resume();
        calm(&cluster, &crowd, &format!("a pause of {who}")).await;
        println!("whole after {:?}", cluster.whole().await);
    }
    cluster.take_control().kill();
    calm(&cluster, &crowd, "the death of the control plane").await;
    cluster.start_control();
    println!("whole after {:?}", cluster.whole().await);
    calm(&cluster, &crowd, "the return of the control plane").await;
    end(&cluster, crowd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_uses_no_slot_of_others_and_all_are_served_again() {
    const APART: Duration = Duration::from_secs(15);
    let cluster = cluster(true).await;
    let crowd = crowd(&cluster);
    calm(&cluster, &crowd, "the start").await;
    for round in 0..2 {
        let lead = cluster.lead().await;
        let (number, who) = [((lead + 1) % PLANES, "a follower"), (lead, "the lead")][round];
        cluster.cut(number, true);
        // What it holds nobody else gets: who waits for that elsewhere is served when it is back.
        crowd.during(APART, || within_slots(&cluster)).await;
        cluster.cut(number, false);
        println!("whole after {:?}", cluster.whole().await);
        calm(&cluster, &crowd, &format!("{who} is reached again")).await;
    }
    end(&cluster, crowd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_without_the_control_plane_fails_no_request() {
    const AWAY: Duration = Duration::from_secs(60);
    let mut cluster = cluster(false).await;
    let crowd = crowd(&cluster);
    calm(&cluster, &crowd, "the start").await;
    cluster.take_control().kill();
    crowd.during(AWAY, || within_slots(&cluster)).await;
    cluster.start_control();
    let took = cluster.whole().await;
    calm(&cluster, &crowd, "the return of the control plane").await;
    let (served, failed) = end(&cluster, crowd).await;
    println!("{served} served and {failed} not in {AWAY:?} without a control plane; whole after {took:?}");
    assert_eq!(failed, 0);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_everything_fails_no_request() {
    let mut cluster = cluster(false).await;
    let crowd = crowd(&cluster);
    calm(&cluster, &crowd, "the start").await;
    for number in 0..PLANES {
        cluster.members[number].end(|process| assert!(process.terminate().success()));
        cluster.start_plane(number);
        println!("whole after {:?}", cluster.whole().await);
        calm(&cluster, &crowd, &format!("the restart of data plane {number}")).await;
    }
    assert!(cluster.take_control().terminate().success());
    cluster.start_control();
    println!("whole after {:?}", cluster.whole().await);
    calm(&cluster, &crowd, "the restart of the control plane").await;
    let failures = crowd.failures();
    let (served, failed) = end(&cluster, crowd).await;
    println!("{served} served and {failed} not");
    assert_eq!(failed, 0, "{failures:#?}\n{}", cluster.said());
}

/// Where else a request to this data plane was answered; empty: there.
async fn answered(member: &Member) -> String {
    let messages = json!([{"role": "user", "content": "count"}]);
    let asked = rig::patient(PATIENCE).post(format!("{}/v1/chat/completions", member.url()));
    let body = json!({"model": "both", "max_tokens": 2, "messages": messages});
    let answer = asked.json(&body).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let elsewhere = answer.headers().get("x-llmb-forwarded-to");
    elsewhere.map_or_else(String::new, |id| id.to_str().expect("text").to_owned())
}

/// Nobody knows of the new process yet, so that no slot may be given to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_starts_without_the_control_plane_passes_on_until_it_is_registered() {
    let mut cluster = cluster(false).await;
    let lead = cluster.lead().await;
    let follower = (lead + 1) % PLANES;
    assert_eq!(answered(&cluster.members[follower]).await, "", "the lead gives it a slot");
    cluster.take_control().kill();
    cluster.members[follower].end(Process::kill);
    cluster.start_plane(follower);
    assert_ne!(answered(&cluster.members[follower]).await, "");
    assert_eq!(answered(&cluster.members[lead]).await, "", "the lead works on");
    cluster.start_control();
    cluster.whole().await;
    let began = Instant::now();
    while !answered(&cluster.members[follower]).await.is_empty() {
        assert!(began.elapsed() < PATIENCE, "it is registered and led:\n{}", cluster.said());
    }
}

/// The crowd ends, and with it all work.
async fn end(cluster: &Cluster, crowd: Crowd) -> (u64, u64) {
    let told = crowd.end().await;
    within_slots(cluster);
    for (name, sim) in &cluster.sims {
        assert!(sim.wait(|stats| stats.running == 0, PATIENCE).await, "{name} has work left");
    }
    println!("{} served and {} not; at most at once: {:?}", told.0, told.1, cluster.peaks());
    told
}
