//! The product's core plays: every request is answered, and the same seed gives the same run.

use arena::engine::Run;
use arena::policy::Policy;
use arena::scene::Scene;
use arena::score::Score;

fn play(policy: &str, world: &str, seed: u64) -> Run {
    let scene = Scene::parse(world).unwrap_or_else(|| panic!("no world {world}"));
    let policy = Policy::named(policy).unwrap_or_else(|| panic!("no policy {policy}"));
    policy.play(&scene, seed).expect("no trace is needed")
}

#[test]
fn the_core_serves_everyone() {
    for world in ["hetero6:agentic:0.5", "single4:agentic:0.25", "swap4:agentic2:0.25", "hetero6:families:1"]
    {
        let run = play("product", world, 1);
        let left = run.records.iter().filter(|record| record.done.is_none()).count();
        assert!(run.records.len() > 500 && left <= 20, "{world}: {left} of {}", run.records.len());
        assert!(run.records.iter().all(|record| !record.refused), "{world}: somebody is refused");
    }
}

#[test]
fn a_run_repeats_from_its_seed() {
    let starts = |seed| {
        let run = play("product", "hetero6:agentic:1", seed);
        run.records.iter().map(|record| (record.started, record.host)).collect::<Vec<_>>()
    };
    assert_eq!(starts(1), starts(1));
    assert_ne!(starts(1), starts(2));
}

/// The whole way around the core, its clock in microseconds and its slots included, costs nothing.
#[test]
fn ranked_the_core_is_the_queue_with_priorities() {
    for world in ["hetero6:agentic:1", "single8:agentic:0.6"] {
        let (core, queue) =
            (Score::of(&play("product ranked", world, 1)), Score::of(&play("priority FIFO", world, 1)));
        assert!((core.ttft / queue.ttft - 1.0).abs() < 0.01, "{world}: {core:?} for {queue:?}");
    }
}
