//! Memory for request bodies, bounded over all requests together.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::Fault;

/// What is counted at once.
const UNIT_BYTES: usize = 4096;
/// Bodies up to this size have a share of their own, so that large ones that come slowly do not keep them out.
const SMALL_BYTES: usize = 64 * 1024;
/// One part in so many is theirs.
const SMALL_SHARE: usize = 8;
/// A body waits so long for its place; meanwhile its client is not read, which holds it back.
const WAIT: Duration = Duration::from_secs(10);
/// What a client is told that got none.
const RETRY_AFTER_S: u32 = 5;

/// The memory that is set aside.
#[derive(Debug)]
pub struct Budget {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// A part of it, given back when dropped.
#[derive(Debug, Default)]
pub struct Held {
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
    /// It takes nothing of the share of small bodies.
    is_large: bool,
}

impl Held {
    /// Nothing yet, for a body of which so many bytes are announced.
    #[must_use]
    pub fn of(told: usize) -> Self {
        Self { is_large: told > SMALL_BYTES, ..Self::default() }
    }
}

impl Budget {
    /// For so many bytes, and an eighth more for small bodies.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let units = |bytes: usize| (bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            small: Arc::new(Semaphore::new(units(bytes / SMALL_SHARE))),
            large: Arc::new(Semaphore::new(units(bytes))),
        }
    }

    /// Grows `held` to `bytes`, at once or when others gave back.
    ///
    /// # Errors
    /// [`Fault::Memory`] when nothing comes free in time.
    pub async fn grow(&self, held: &mut Held, bytes: usize) -> Result<(), Fault> {
        let wants = bytes.div_ceil(UNIT_BYTES);
        if bytes <= SMALL_BYTES && !held.is_large {
            let has = units(&held.small);
            if wants <= has {
                return Ok(());
            }
            if let Ok(more) = self.small.clone().try_acquire_many_owned(narrow(wants - has)?) {
                return join(&mut held.small, more);
            }
        }
        let has = units(&held.large);
        if wants <= has {
            return Ok(());
        }
        let more = narrow(wants - has)?;
        let more = match self.large.clone().try_acquire_many_owned(more) {
            Ok(permit) => permit,
            Err(_) => tokio::time::timeout(WAIT, self.large.clone().acquire_many_owned(more))
                .await
                .map_err(|_| full())?
                .map_err(|_| full())?,
        };
        held.is_large = true;
        held.small = None;
        join(&mut held.large, more)
    }
}

fn units(permit: &Option<OwnedSemaphorePermit>) -> usize {
    permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
}

fn narrow(units: usize) -> Result<u32, Fault> {
    u32::try_from(units).map_err(|_| full())
}

fn full() -> Fault {
    Fault::Memory { retry_after_s: RETRY_AFTER_S }
}

fn join(held: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) -> Result<(), Fault> {
    match held {
        Some(permit) => permit.merge(more),
        None => *held = Some(more),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Budget, Held, SMALL_BYTES};

    const LARGE: usize = 2 * SMALL_BYTES;

    #[tokio::test(start_paused = true)]
    async fn what_is_full_waits_and_then_refuses() {
        let budget = Budget::new(10 * LARGE);
        let (mut one, mut two) = (Held::default(), Held::default());
        budget.grow(&mut one, 8 * LARGE).await.unwrap();
        budget.grow(&mut one, LARGE).await.unwrap();
        budget.grow(&mut two, 2 * LARGE).await.unwrap();
        assert!(budget.grow(&mut two, 2 * LARGE + 1).await.is_err());
        drop(one);
        budget.grow(&mut two, 10 * LARGE).await.unwrap();
        assert!(budget.grow(&mut two, 11 * LARGE).await.is_err(), "more than there is");
    }

    #[tokio::test(start_paused = true)]
    async fn small_bodies_have_a_share_that_large_ones_do_not_take() {
        let budget = Budget::new(8 * SMALL_BYTES);
        let (mut large, mut small, mut second) = (Held::default(), Held::default(), Held::default());
        budget.grow(&mut large, 100).await.unwrap();
        budget.grow(&mut large, 8 * SMALL_BYTES).await.unwrap();
        assert!(budget.grow(&mut second, SMALL_BYTES + 1).await.is_err());
        budget.grow(&mut small, SMALL_BYTES).await.unwrap();
        assert!(budget.grow(&mut second, 100).await.is_err(), "both are full");
        drop(small);
        assert!(budget.grow(&mut Held::of(LARGE), 100).await.is_err(), "announced as large");
        budget.grow(&mut second, 100).await.unwrap();
        drop(large);
        budget.grow(&mut second, 100).await.unwrap();
    }
}
