//! The product's core plays: every request is answered, and the same seed gives the same run.

use arena::contest::Scene;

#[test]
fn the_core_serves_everyone() {
    for world in ["hetero6:agentic:0.5", "single4:agentic:0.25", "swap4:agentic2:0.25"] {
        let scene = Scene::parse(world).expect("a known world");
        let run = scene.play("product", 1).expect("a known policy");
        let left = run.records.iter().filter(|record| record.done.is_none()).count();
        assert!(run.records.len() > 500 && left <= 20, "{world}: {left} of {}", run.records.len());
        assert!(run.records.iter().all(|record| !record.refused), "{world}: somebody is refused");
    }
}

#[test]
fn a_run_repeats_from_its_seed() {
    let scene = Scene::parse("hetero6:agentic:1").expect("a known world");
    let starts = |seed| {
        let run = scene.play("product", seed).expect("a known policy");
        run.records.iter().map(|record| (record.started, record.host)).collect::<Vec<_>>()
    };
    assert_eq!(starts(1), starts(1));
    assert_ne!(starts(1), starts(2));
}
