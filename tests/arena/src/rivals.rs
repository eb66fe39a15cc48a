//! Rules that others place requests by, to be measured against.

mod bound;
mod cost;
mod ettft;
mod prefix;
mod queue;
mod ring;
mod seed;

pub use bound::{Bound, Rule};
pub use ettft::{Ettft, Switches};
pub use queue::{Pick, Queue};
pub use seed::Seed;

/// The entry of the least value, of equal ones the first.
fn least(hosts: &[usize], value: impl Fn(usize) -> f64) -> usize {
    let best = hosts.iter().min_by(|a, b| value(**a).total_cmp(&value(**b)));
    *best.expect("a request fits somewhere")
}
