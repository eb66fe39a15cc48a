//! Work is what it says, and a router sees of it what it can.

use std::collections::{BTreeMap, BTreeSet};

use arena::placer::blocks;
use arena::policy::Policy;
use arena::scene::{FURTHER, PUBLISHED, Scene};
use arena::work::{Agentic, Families, Request, Source, TraceFault};

/// So many requests of a source, each answered a second after it came.
fn asked(source: &mut dyn Source, count: usize) -> Vec<Request> {
    let mut due = source.initial();
    let mut asked = Vec::new();
    while asked.len() < count {
        due.sort_by(|a, b| b.at.total_cmp(&a.at));
        let Some(request) = due.pop() else { break };
        due.extend(source.next(request.agent, request.at + 1.0));
        asked.push(request);
    }
    asked
}

#[test]
fn every_world_there_is_can_be_named() {
    for name in PUBLISHED.iter().chain(&FURTHER) {
        assert!(Scene::parse(name).is_some(), "{name}");
    }
    for name in [
        "",
        "hetero6",
        "hetero6:agentic",
        "hetero6:agentic:0",
        "hetero7:agentic:1",
        "hetero6:chess:1",
        "hetero6:agentic:1:ram",
    ] {
        assert!(Scene::parse(name).is_none(), "{name}");
    }
    assert!(Scene::parse("single4:agentic:0.25:ram=50000:loss=300").is_some());
}

#[test]
fn the_blocks_of_a_turn_go_on_where_the_last_one_ended() {
    let requests = asked(&mut Agentic::mixed(1, 1.0, 0.0), 2000);
    let mut last: BTreeMap<u64, &Request> = BTreeMap::new();
    let (mut turns, mut rewritten) = (0, 0);
    for request in &requests {
        let seen = blocks(request);
        assert_eq!(seen.iter().map(|block| block.tokens).sum::<u32>(), request.input());
        assert_eq!(seen.iter().filter(|block| block.own).count(), request.answers.len());
        if let Some(before) =
            last.insert(request.session, request).filter(|before| before.input() < request.input())
        {
            let old = blocks(before);
            assert!(seen.starts_with(&old), "a session goes on");
            let own = seen[old.len()..].iter().filter(|block| block.own).count();
            assert_eq!(own, 1, "one answer came in between");
            turns += 1;
            rewritten += usize::from(!request.prompt.starts_with(&before.whole));
        }
    }
    assert!(turns > 1000, "{turns} turns");
    let share = rewritten as f64 / turns as f64;
    assert!((0.07..0.13).contains(&share), "{share} of the answers come back in other words");
}

#[test]
fn equal_blocks_are_equal_prompts() {
    let requests = asked(&mut Agentic::mixed(1, 1.0, 0.3), 1000);
    let mut known: BTreeMap<u64, (u8, u32)> = BTreeMap::new();
    let mut systems = BTreeSet::new();
    for request in &requests {
        let mut end = 0;
        for block in blocks(request) {
            end += block.tokens;
            assert_eq!(*known.entry(block.hash).or_insert((request.model, end)), (request.model, end));
        }
        systems.insert(blocks(request)[0].hash);
    }
    // Four roles, two models.
    assert_eq!(systems.len(), 8);
}

#[test]
fn a_parent_goes_on_when_its_errands_are_back() {
    let mut families = Families::new(1, 1.0);
    let requests = asked(&mut families, 3000);
    let parent = |request: &&Request| request.agent < 6;
    let errands: Vec<&Request> = requests.iter().filter(|request| !parent(request)).collect();
    assert!(errands.len() > 500, "{} errands", errands.len());
    for family in 0..6 {
        let own = |agent: usize| if agent < 6 { agent == family } else { (agent - 6) / 3 == family };
        let mut out: BTreeMap<usize, f64> = BTreeMap::new();
        for request in requests.iter().filter(|request| own(request.agent)) {
            if parent(&request) {
                let busy = out.values().filter(|at| **at > request.at).count();
                assert_eq!(busy, 0, "family {family} goes on at {} before its errands end", request.at);
            } else {
                out.insert(request.agent, request.at + 1.0);
            }
        }
    }
}

#[test]
fn traces_are_found_by_their_variable_alone() {
    for world in ["hetero6:synth:0.03", "hetero6:azure:0.5"] {
        let scene = Scene::parse(world).expect("a known world");
        match scene.source(1) {
            Err(TraceFault::Unset) => println!("skipped: {world} wants LLMB_TRACES"),
            Err(fault) => panic!("{world}: {fault}"),
            Ok(mut source) => {
                let first = source.initial();
                assert!(first.len() > 50 && first.iter().all(|request| request.input() > 0), "{world}");
                let policy = Policy::named("least connections").expect("a known policy");
                let run = policy.play(&scene, 1).expect("the trace is there");
                let done = run.records.iter().filter(|record| record.done.is_some()).count();
                assert!(done * 10 > run.records.len() * 9, "{world}: {done} of {}", run.records.len());
            }
        }
    }
}
