//! Runs fault schedules of the permit protocol and says what broke.

use std::process::ExitCode;

use permits::chaos::{FLAWS, core, first, replay, schedule, twice};

/// `COUNT`: so many schedules from seed 0 on. `core COUNT`: the same with the scheduling core of the product as the order.
/// `replay SEED`: one, with all that happens; `replay core SEED` likewise. `flaws COUNT`: which schedule
/// finds each rule that is left out, and which finds it by slots alone.
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let broken = match (words.first().map(String::as_str), number(0), number(1)) {
        (Some("replay"), _, Some(seed)) => replay(seed, None, false).err().map(|broken| (seed, broken)),
        (Some("replay"), ..) if words.len() == 3 => {
            number(2).and_then(|seed| Some((seed, replay(seed, None, true).err()?)))
        }
        (Some("core"), _, Some(count)) => first(0..count, |seed| core(seed).err()),
        (Some("flaws"), _, Some(count)) => {
            for flaw in FLAWS {
                let any = first(0..count, |seed| schedule(seed, Some(flaw)).err());
                let slots = first(0..count, |seed| twice(seed, Some(flaw)));
                println!("{flaw:?}: {any:?}; by slots alone: {slots:?}");
            }
            None
        }
        (_, Some(count), _) => first(0..count, |seed| schedule(seed, None).err()),
        _ => {
            eprintln!(
                "permits COUNT | permits core COUNT | permits replay [core] SEED | permits flaws COUNT"
            );
            return ExitCode::from(2);
        }
    };
    match broken {
        None => ExitCode::SUCCESS,
        Some((seed, broken)) => {
            println!("seed {seed}: {}: {}", broken.law, broken.why);
            ExitCode::FAILURE
        }
    }
}
