//! Another data plane leads from some time on: what it was told of the others' requests is worth as much as its own.

use arena::engine::{Setting, run};
use arena::placer::Blind;
use arena::product::Heir;
use arena::scene::Scene;
use arena::score::Score;

/// When the other takes over, and for how long it is looked at afterwards, in seconds.
const OVER: f64 = 1800.0;
const LOOK: f64 = 600.0;

/// The share of prompts that was cached after `OVER`, where the other takes over then or never.
fn warm(world: &str, over: f64, digests: bool) -> f64 {
    let scene = Scene::parse(world).unwrap_or_else(|| panic!("no world {world}"));
    let setting = Setting { horizon: OVER + LOOK, warmup: OVER, ..scene.setting() };
    let share = |seed: u64| {
        let heir = Heir::new(scene.machines(), seed, over, digests);
        let mut source = scene.source(seed).expect("no trace is needed");
        Score::of(&run(&setting, &mut *source, &mut Blind::new(heir))).warm
    };
    (1..=3).map(share).sum::<f64>() / 3.0
}

#[test]
fn who_takes_over_finds_what_is_warm() {
    let mut without = 0.0;
    for world in ["hetero6:agentic:0.5", "vllm4:agentic:0.75", "single4:agentic:0.25"] {
        let (stays, told, untold) =
            (warm(world, 1e9, true), warm(world, OVER, true), warm(world, OVER, false));
        println!("{world}: {stays:.4} without a change, {told:.4} with one, {untold:.4} without digests");
        assert!(stays - told <= 0.02, "{world}: {told} for {stays}");
        without += stays - untold;
    }
    assert!(without > 0.06, "digests are what it is owed to: {without}");
}
