//! Words of the core and of the wire, one for one.

use proto::v1;
use sched::{Class, End, Outcome, Policy};

/// A word of the core that the wire has a number for.
pub(super) trait Word: Sized {
    /// Its number.
    fn number(&self) -> i32;
    /// The word of a number; one that this version does not know is as if nothing was said.
    fn of(number: i32) -> Self;
}

macro_rules! words {
    ($($word:ident as $wire:ident: $($name:ident)+;)+) => {$(
        impl Word for $word {
            fn number(&self) -> i32 {
                match self {
                    $($word::$name => v1::$wire::$name as i32,)+
                }
            }

            fn of(number: i32) -> Self {
                match v1::$wire::try_from(number).unwrap_or_default() {
                    $(v1::$wire::$name => $word::$name,)+
                }
            }
        }
    )+};
}

words! {
    Class as PeerClass: Normal Interactive Batch;
    Policy as PeerPolicy: CacheAffine Priority RoundRobin Weighted LeastBusy LowestLatency TokenAware LongWaits;
    Outcome as PeerOutcome: Done Failed Aborted Unsent;
    End as PeerEnd: Unknown Tool Turn;
}
