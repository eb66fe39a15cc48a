//! The figures of the published simulator on the same seeds: the worlds are the same.

use arena::contest::Scene;

/// World, policy, mean over seeds 1 to 3 of: warm share in %, TTFT mean, p50, p90 and p99 in seconds, answers a
/// minute.
type Row = (&'static str, &'static str, [f64; 6]);

const ROWS: &[Row] = &[
    ("hetero6:agentic:1", "round robin", [42.3, 21.58, 11.27, 55.19, 138.7, 23.7]),
    ("hetero6:agentic:1", "least connections", [42.1, 21.68, 11.06, 55.33, 144.7, 23.7]),
    ("hetero6:agentic:1", "priority FIFO", [43.2, 21.31, 11.09, 55.46, 143.1, 23.9]),
];

/// The published figures are rounded.
const ROUNDED: [f64; 6] = [0.051, 0.0051, 0.0051, 0.0051, 0.051, 0.051];

#[test]
fn rivals_are_as_good_as_published() {
    for (world, policy, published) in ROWS {
        let scene = Scene::parse(world).unwrap_or_else(|| panic!("there is no world {world}"));
        let score = scene.score(policy, 3).unwrap_or_else(|| panic!("there is no policy {policy}"));
        let ours = [score.warm * 100.0, score.ttft, score.p50, score.p90, score.p99, score.turns];
        for ((ours, published), rounded) in ours.iter().zip(published).zip(ROUNDED) {
            assert!((ours - published).abs() <= rounded, "{world}, {policy}: {ours} for {published}");
        }
    }
}
