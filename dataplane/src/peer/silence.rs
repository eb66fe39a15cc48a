//! When the control plane is to know that the lead does not answer.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// A lead that has not taken this data plane in for so long is silent.
pub const SILENT_AFTER: Duration = Duration::from_secs(1);

/// How it stands with the lead by a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeadSeen {
    /// Of the lead that is meant.
    pub term: u64,
    /// It has not answered for too long.
    pub silent: bool,
}

/// Where this data plane is with the lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// There is none to reach.
    Nobody,
    /// The lead by this term is looked for since then.
    Sought(u64, Instant),
    /// The lead by this term has taken this data plane in.
    Heard(u64),
}

impl Stance {
    /// The lead by `term` is looked for: since when it was lost, if it was.
    #[must_use]
    pub fn sought(self, term: u64, now: Instant) -> Self {
        match self {
            Self::Sought(before, _) if before == term => self,
            _ => Self::Sought(term, now),
        }
    }
}

/// Says it each time it changes, for as long as there is a stance.
pub async fn watch(mut stance: watch::Receiver<Stance>, seen: watch::Sender<Option<LeadSeen>>) {
    let say = |term, silent| {
        let now = Some(LeadSeen { term, silent });
        seen.send_if_modified(|said| {
            *said != now && {
                *said = now;
                true
            }
        });
    };
    loop {
        let now = *stance.borrow_and_update();
        match now {
            Stance::Nobody => {}
            Stance::Heard(term) => say(term, false),
            Stance::Sought(term, since) => tokio::select! {
                changed = stance.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                () = sleep_until(since + SILENT_AFTER) => say(term, true),
            },
        }
        if stance.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lead_is_silent_when_it_was_looked_for_long_enough() {
        let (stance, stance_seen) = watch::channel(Stance::Nobody);
        let (seen, mut told) = watch::channel(None);
        let _watching = tokio::spawn(watch(stance_seen, seen));
        let seek = |term| stance.send_modify(|stance| *stance = stance.sought(term, Instant::now()));
        let said = |term, silent| Some(LeadSeen { term, silent });
        let begun = Instant::now();
        seek(7);
        tokio::time::advance(SILENT_AFTER / 2).await;
        seek(7);
        told.changed().await.unwrap();
        assert_eq!((*told.borrow_and_update(), begun.elapsed()), (said(7, true), SILENT_AFTER));
        stance.send_replace(Stance::Heard(7));
        told.changed().await.unwrap();
        assert_eq!(*told.borrow_and_update(), said(7, false));
        let lost = Instant::now();
        seek(7);
        told.changed().await.unwrap();
        assert_eq!((*told.borrow_and_update(), lost.elapsed()), (said(7, true), SILENT_AFTER));
        let other = Instant::now();
        seek(8);
        told.changed().await.unwrap();
        assert_eq!((*told.borrow_and_update(), other.elapsed()), (said(8, true), SILENT_AFTER));
        stance.send_replace(Stance::Nobody);
        let more = tokio::time::timeout(SILENT_AFTER * 9, told.changed()).await;
        assert!(more.is_err(), "nothing is said of nobody");
    }
}
