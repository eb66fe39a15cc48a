//! Rivals are as good as published: the worlds are those of the reference simulator. The slow ring plays all rows.

use arena::published::rows;

/// Everyone in one world, and one of each kind in all others; rows of long queues take seconds.
fn quick(policy: &str, world: &str) -> bool {
    match policy {
        "round robin" | "least connections" | "seed" | "llm-d" => true,
        "ETTFT" => ["hetero6:agentic:0.5", "hetero6:agentic:1", "single4:agentic:0.25"].contains(&world),
        _ => world == "hetero6:agentic:1",
    }
}

#[test]
fn rivals_are_as_good_as_published() {
    let rows = rows();
    assert_eq!(rows.len(), 234);
    let quick: Vec<_> =
        rows.iter().filter(|row| !row.scene.replays() && quick(row.policy.name, row.scene.name())).collect();
    assert!(quick.len() > 55, "only {} rows are quick", quick.len());
    let check = |row: &&arena::published::Row| row.check().expect("no trace is needed");
    let faults: Vec<String> = quick.iter().flat_map(check).collect();
    assert!(faults.is_empty(), "{} figures differ:\n{}", faults.len(), faults.join("\n"));
}
