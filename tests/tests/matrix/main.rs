//! The fault matrix: what each way to fail comes to, for the client and for the backend's breaker, in each dialect.
//!
//! `table.md` is both what is promised and what is checked.

mod faults;
mod field;
mod seen;
mod table;
mod ways;

use std::{collections::BTreeSet, sync::Arc};

use faults::{Case, Named};
use field::Field;
use futures_util::future::{join, join_all};
use seen::Seen;
use table::Row;
use tokio::sync::Semaphore;
use ways::{Family, WAYS};

const TABLE: &str = include_str!("table.md");
/// Faults that are tried at the same time.
const AT_ONCE: usize = 4;

/// What is seen of one fault, as rows of the table; cells in which ways of one family differ name them.
async fn observe(named: Named) -> Vec<Row> {
    let field = Field::start(&named).await;
    let ways = (0..WAYS.len()).filter(|place| named.case != Case::Long || WAYS[*place].is_long());
    let cells = join_all(ways.map(|place| {
        let field = &field;
        async move {
            let (both, alone) = join(field.with_another(place), field.alone(place)).await;
            (place, both, alone)
        }
    }))
    .await;
    let mut rows = Vec::new();
    for stream in if named.case == Case::Long { &[false][..] } else { &[false, true] } {
        let stream = *stream;
        let mut row = Row {
            fault: named.name.to_owned(),
            stream,
            another: String::new(),
            alone: Default::default(),
            headers: String::new(),
            breaker: String::new(),
        };
        let of = |family: Option<Family>| {
            cells.iter().filter(move |(place, ..)| {
                WAYS[*place].stream == stream && family.is_none_or(|family| WAYS[*place].family == family)
            })
        };
        let same = |(place, (word, both), (seen, _)): &(usize, (String, Seen), (Seen, String))| {
            // What another backend could not hide is told as if there were none.
            if word == &seen.word {
                assert_eq!(both.headers, seen.headers, "{}: {}", named.name, WAYS[*place].name);
                "as alone".to_owned()
            } else {
                word.clone()
            }
        };
        row.another = merged(of(None).map(|cell| (cell.0, same(cell))));
        row.headers = merged(of(None).map(|(place, _, (seen, _))| (*place, seen.headers.clone())));
        let told = |breaker: &String| match breaker.as_str() {
            // Its reset comes before the request is written, or after it.
            "opens at once" | "opens after 5" if named.case == Case::Races => {
                "opens at once or after 5".to_owned()
            }
            _ => breaker.clone(),
        };
        row.breaker = merged(of(None).map(|(place, _, (_, breaker))| (*place, told(breaker))));
        for (place, family) in Family::ALL.into_iter().enumerate() {
            row.alone[place] =
                merged(of(Some(family)).map(|(place, _, (seen, _))| (*place, seen.word.clone())));
        }
        rows.push(row);
    }
    field.plane.stop().await;
    rows
}

/// One word for all ways, or each word with who says it.
fn merged(words: impl Iterator<Item = (usize, String)>) -> String {
    let all: Vec<(usize, String)> = words.collect();
    let mut kinds: Vec<&String> = Vec::new();
    for (_, word) in &all {
        if !kinds.contains(&word) {
            kinds.push(word);
        }
    }
    let who = |word: &String| {
        let ways = all.iter().filter(|(_, said)| said == word).map(|(place, _)| WAYS[*place]);
        ways.map(|way| way.name).collect::<Vec<_>>().join(", ")
    };
    match kinds.as_slice() {
        [] => String::new(),
        [one] => (*one).clone(),
        several => {
            several.iter().map(|word| format!("{word} ({})", who(word))).collect::<Vec<_>>().join("; ")
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_comes_to_what_the_table_says() {
    let promised = table::rows(TABLE);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let observed = faults::all().into_iter().map(|named| {
        let turns = turns.clone();
        tokio::spawn(async move {
            // Those that wait for deadlines leave the machine to the others.
            let _turn = match named.case {
                Case::Hasty => None,
                _ => Some(turns.acquire().await.expect("never closed")),
            };
            observe(named).await
        })
    });
    let observed: Vec<Row> =
        join_all(observed).await.into_iter().flat_map(|rows| rows.expect("no panic")).collect();
    let wrong: Vec<String> = observed.iter().filter(|row| !promised.contains(row)).map(Row::line).collect();
    assert!(wrong.is_empty(), "these rows are seen and not in the table:\n{}", wrong.join("\n"));
    let names: BTreeSet<_> = observed.iter().map(|row| (&row.fault, row.stream)).collect();
    let unknown: Vec<_> = promised.iter().filter(|row| !names.contains(&(&row.fault, row.stream))).collect();
    assert!(unknown.is_empty(), "rows of faults that are not tried: {unknown:?}");
    assert_eq!(promised.len(), observed.len(), "a row stands twice");
}
