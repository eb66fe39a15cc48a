//! What a record of the index needs, from what the process holds before and after ten million blocks went by.

use std::fs;

use sched::{Block, Cache, RECORDS_MAX};

use crate::servers::{Servers, Speed};
use crate::talk::{SHARED, prompt};

/// Blocks that go by, and how many of them are new in each prompt.
const BLOCKS: u64 = 10_000_000;
const NEW: u64 = 34;
/// Tokens of a block: so few that the pools' bounds are not what bounds the index.
const TOKENS: u32 = 20;
/// A record needs fewer bytes.
const BYTES_MAX: f64 = 40.0;
/// The size of a page of memory.
const PAGE: u64 = 4096;

/// Sends them through pools that are told to be as large as they can be.
pub fn print() {
    let speed = Speed { prefill: 1e6, decode: 1e6 };
    let mut servers = Servers::new([speed; 8], |_| (4, Cache::Pool { tokens: 4_000_000 }));
    let before = resident();
    for talk in 0..BLOCKS / NEW {
        let home = (talk % 8) as u32;
        let short = |block: &Block| Block { tokens: TOKENS, ..*block };
        let prompt = prompt(talk, SHARED + NEW, 0).iter().map(short).collect();
        servers.serve(talk % 50, prompt, home..home + 1);
    }
    let records = servers.core.records();
    let bytes = (resident() - before) as f64 / records as f64;
    println!("index: {BLOCKS} blocks, {records} records of {RECORDS_MAX} kept, {bytes:.1} bytes each");
    assert!(records <= RECORDS_MAX, "the index grows beyond its bound");
    assert!(records > RECORDS_MAX / 2, "the index does not reach its bound");
    assert!(bytes < BYTES_MAX, "a record needs {bytes:.1} bytes and may need {BYTES_MAX}");
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").expect("Linux tells");
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("the second is resident")
        * PAGE
}
