//! What sharing costs where nothing fails, beside one ideal queue.

use permits::rush::{Outcome, Rush};

fn told(rush: Rush) -> Outcome {
    let outcome = rush.run().unwrap_or_else(|broken| panic!("{}: {}", broken.law, broken.why));
    println!("{rush:?}\n    {outcome:?}");
    outcome
}

const NEAR: Rush = Rush {
    planes: 2,
    slots: 6,
    round_trip: 1_000,
    service: 8.0,
    load: 0.9,
    length: 3000.0,
    core: false,
    seed: 1,
};
const FAR: Rush = Rush {
    planes: 8,
    slots: 6,
    round_trip: 20_000,
    service: 0.5,
    load: 0.9,
    length: 500.0,
    core: false,
    seed: 1,
};

/// All that is passed on within a round trip and a millisecond is prompt. What is not crossed another start on its way,
/// and takes one more.
fn fair(outcome: &Outcome, round_trip: f64) {
    assert!(outcome.overtakes <= 2, "{outcome:?}");
    assert!(outcome.prompt >= 0.99 && outcome.hand_over.1 <= 2.0 * round_trip + 0.001, "{outcome:?}");
}

#[test]
fn near_each_other_nothing_is_lost() {
    for planes in [2, 8] {
        let outcome = told(Rush { planes, ..NEAR });
        assert!(outcome.utilisation >= 0.998 && outcome.messages < 4.0, "{outcome:?}");
        fair(&outcome, 0.001);
    }
}

#[test]
fn far_apart_and_with_short_requests_little_is_lost() {
    for planes in [2, 8] {
        let outcome = told(Rush { planes, ..FAR });
        assert!(outcome.utilisation >= 0.985 && outcome.messages < 4.0, "{outcome:?}");
        fair(&outcome, 0.02);
    }
}

#[test]
fn the_only_data_plane_says_nothing_to_anyone() {
    let outcome = told(Rush { planes: 1, length: 100.0, ..FAR });
    assert_eq!((outcome.messages, outcome.utilisation), (0.0, 1.0), "{outcome:?}");
}

#[test]
fn the_scheduling_core_is_as_good_an_order() {
    let near = told(Rush { planes: 8, core: true, length: 1000.0, ..NEAR });
    assert!(near.utilisation >= 0.998, "{near:?}");
    fair(&near, 0.001);
    let far = told(Rush { planes: 8, core: true, ..FAR });
    assert!(far.utilisation >= 0.985, "{far:?}");
    fair(&far, 0.02);
}
