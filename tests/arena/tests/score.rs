//! What a run was worth: nobody gains by leaving requests unanswered.

use arena::engine::{Record, Run};
use arena::score::{Score, percentile};

fn record(key: usize, arrived: f64, started: Option<f64>, first: Option<f64>, done: Option<f64>) -> Record {
    Record {
        key,
        arrived,
        started,
        begun: started,
        read: started,
        first,
        done,
        host: Some(0),
        input: 1000,
        output: 10,
        cached: 400,
        refused: false,
    }
}

fn run(records: Vec<Record>) -> Run {
    Run { records, busy_s: vec![600.0, 0.0], end: 700.0, warmup: 100.0, keys: 2, slots: 2 }
}

#[test]
fn who_waits_at_the_end_counts_with_the_time_waited() {
    let score = Score::of(&run(vec![
        record(0, 50.0, Some(50.0), Some(51.0), Some(52.0)),
        record(0, 200.0, Some(201.0), Some(204.0), Some(210.0)),
        record(1, 300.0, Some(650.0), None, None),
        record(1, 600.0, None, None, None),
        record(1, 699.5, None, None, None),
    ]));
    assert!((score.ttft - (4.0 + 400.0 + 100.0) / 3.0).abs() < 1e-9, "{score:?}");
    assert!((score.wait - (1.0 + 350.0 + 100.0) / 3.0).abs() < 1e-9, "{score:?}");
    assert_eq!((score.p50, score.p99, score.turns), (100.0, 400.0, 0.1));
    assert_eq!((score.warm, score.used), (0.4, 0.5));
    // 4 s for the one key and 250 s for the other.
    assert!((score.worst_key - 250.0 / 127.0).abs() < 1e-9, "{score:?}");
}

#[test]
fn percentiles_are_values_that_were_seen() {
    let mut values = [3.0, 1.0, 2.0];
    assert_eq!([0.0, 0.5, 0.99].map(|share| percentile(&mut values, share)), [1.0, 2.0, 3.0]);
    assert!(percentile(&mut [], 0.5).is_nan());
}
