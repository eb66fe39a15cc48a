//! The arena at length: every row of the published simulator is reproduced.

use arena::policy::Policy;
use arena::published::rows;

#[test]
fn all_rivals_are_as_good_as_published() {
    let (mut played, mut skipped, mut faults) = (0, 0, Vec::new());
    for row in rows() {
        match row.check() {
            Ok(apart) => {
                played += 1;
                faults.extend(apart);
            }
            Err(fault) if std::env::var_os("CI").is_none() => {
                skipped += 1;
                println!("skipped: {}, {}: {fault}", row.scene.name(), row.policy.name);
            }
            Err(fault) => panic!("{}: {fault}", row.scene.name()),
        }
    }
    println!("{played} rows played, {skipped} skipped");
    assert!(played >= 198, "only {played} rows were played");
    assert!(faults.is_empty(), "{} figures differ:\n{}", faults.len(), faults.join("\n"));
}

/// The policy `long-waits` is the rule that the product began with.
#[test]
fn the_forerunners_rule_gives_its_rows() {
    let ours = Policy::named("product long waits").expect("it is one of those that take part");
    let mut played = 0;
    for row in rows().into_iter().filter(|row| row.policy.name == "seed" && !row.scene.replays()) {
        let score = ours.score(&row.scene, 3).expect("no trace is needed");
        let (apart, place) = ((score.ttft / row.figures[1] - 1.0).abs(), row.scene.name());
        println!("{place}: {:.2} s for {} s", score.ttft, row.figures[1]);
        assert!(apart <= 0.05, "{place}: {score:?} for {row:?}");
        played += 1;
    }
    assert_eq!(played, 11);
}
