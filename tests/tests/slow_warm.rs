//! Conversations whose turns come through another data plane each time are as warm as through one, also when a data plane or
//! the control plane is lost on the way.

mod placement;
mod slow_parts;

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use llmsim::{Kind, Settings, Sim};
use placement::{
    Asked,
    fleet::{Told, ask},
    talk::Talk,
};
use serde_json::Value;
use tests::{cluster::Cluster, process::Process, rig};

const TALKS: u64 = 12;
/// So many that one conversation that moves once is less than a point.
const TURNS: usize = 12;
/// The turn before which something is lost.
const LOST_AT: usize = 6;
/// Who is answered first is a matter of timing on a shared machine: the best of so many counts.
const TRIES: usize = 3;
/// What is warm of what could be may be less by this.
const LESS_MAX: f64 = 0.02;

/// What is lost on the way.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Loss {
    Nothing,
    Follower,
    Lead,
    Control,
}

/// Data planes that are asked in turn, each by its own connection; each turn of a conversation by the next.
struct Front {
    cluster: Cluster,
    client: reqwest::Client,
    turn: AtomicUsize,
}

impl Asked for Front {
    fn pooled(&self) -> bool {
        true
    }

    async fn chat(&self, model: &str, messages: &[Value]) -> Told {
        let members = &self.cluster.members;
        // All conversations have as many turns, so that each would come back to where it was if there were no shift.
        let first = self.turn.fetch_add(1, Ordering::Relaxed) + messages.len() / 2;
        for next in 0..members.len() {
            let url = format!("{}/v1/chat/completions", members[(first + next) % members.len()].url());
            match ask(&self.client, &url, model, messages).await {
                Ok(answer) => return Told::of(answer).await,
                Err(error) => assert!(error.is_connect(), "{error:?}"),
            }
        }
        panic!("all refuse connections");
    }
}

fn server() -> Sim {
    let settings = Settings {
        kind: Kind::Vllm,
        models: vec!["m".to_owned()],
        slots: 4,
        prefill_tps: 16_000.0,
        decode_tps: 2000.0,
        output_tokens: 80,
        cache: true,
        prompt_details: true,
        ..Settings::default()
    };
    llmsim::start(settings).expect("a simulated server starts")
}

/// The part of the tokens that could be warm and are, through so many data planes.
async fn warmth(planes: usize, loss: Loss) -> f64 {
    let cluster = Cluster::start(planes, vec![("a", 4, server()), ("b", 4, server())], false).await;
    let mut front = Front { cluster, client: rig::patient(rig::DEADLINE), turn: AtomicUsize::new(0) };
    let mut talks: Vec<Talk> = (0..TALKS).map(|number| Talk::new(number, "m")).collect();
    let mut could = 0;
    for turn in 0..TURNS {
        if turn == LOST_AT {
            let lead = front.cluster.lead().await;
            match loss {
                Loss::Nothing => {}
                Loss::Follower => front.cluster.members[(lead + 1) % planes].end(Process::kill),
                Loss::Lead => front.cluster.members[lead].end(Process::kill),
                Loss::Control => front.cluster.take_control().kill(),
            }
        }
        could += join_all(talks.iter_mut().map(|talk| talk.turn(&front))).await.into_iter().sum::<u64>();
    }
    let warm: u64 = front.cluster.sims.iter().map(|(_, sim)| sim.stats().cached_tokens).sum();
    let peaks = front.cluster.peaks();
    assert!(peaks.iter().all(|(_, peak)| *peak <= 4), "{peaks:?}");
    let part = warm as f64 / could as f64;
    println!("{planes} data planes, lost {loss:?}: {:.1} % of what could be warm is", part * 100.0);
    part
}

/// Through three data planes, the first of some tries that is no less than `least`.
async fn best(loss: Loss, least: f64) -> f64 {
    for _ in 0..TRIES {
        let part = warmth(3, loss).await;
        if part >= least {
            return part;
        }
    }
    panic!("{loss:?}: less than {least}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_are_as_warm_through_three_data_planes_as_through_one() {
    let one = warmth(1, Loss::Nothing).await;
    let three = best(Loss::Nothing, one - LESS_MAX).await;
    for loss in [Loss::Follower, Loss::Lead, Loss::Control] {
        best(loss, three - LESS_MAX).await;
    }
}
