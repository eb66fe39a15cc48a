//! Memory for request bodies, bounded over all requests together.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::Fault;

/// What is counted at once.
const UNIT_BYTES: usize = 4096;
/// A body waits so long for its place; meanwhile its client is not read, which holds it back.
const WAIT: Duration = Duration::from_secs(10);
/// What a client is told that got none.
const RETRY_AFTER_S: u32 = 5;

/// The memory that is set aside.
#[derive(Debug)]
pub struct Budget {
    free: Arc<Semaphore>,
}

/// A part of it, given back when dropped.
#[derive(Debug, Default)]
pub struct Held {
    permit: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// For so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { free: Arc::new(Semaphore::new((bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS))) }
    }

    /// Grows `held` to `bytes`, at once or when others gave back.
    ///
    /// # Errors
    /// [`Fault::Memory`] when nothing comes free in time.
    pub async fn grow(&self, held: &mut Held, bytes: usize) -> Result<(), Fault> {
        let has = held.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wants = bytes.div_ceil(UNIT_BYTES);
        if wants <= has {
            return Ok(());
        }
        let full = || Fault::Memory { retry_after_s: RETRY_AFTER_S };
        let more = u32::try_from(wants - has).map_err(|_| full())?;
        let more = match self.free.clone().try_acquire_many_owned(more) {
            Ok(permit) => permit,
            Err(_) => tokio::time::timeout(WAIT, self.free.clone().acquire_many_owned(more))
                .await
                .map_err(|_| full())?
                .map_err(|_| full())?,
        };
        match &mut held.permit {
            Some(permit) => permit.merge(more),
            None => held.permit = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Held};

    #[tokio::test(start_paused = true)]
    async fn what_is_full_waits_and_then_refuses() {
        let budget = Budget::new(10 * 4096);
        let (mut one, mut two) = (Held::default(), Held::default());
        budget.grow(&mut one, 8 * 4096).await.unwrap();
        budget.grow(&mut one, 4096).await.unwrap();
        budget.grow(&mut two, 2 * 4096).await.unwrap();
        assert!(budget.grow(&mut two, 2 * 4096 + 1).await.is_err());
        drop(one);
        budget.grow(&mut two, 10 * 4096).await.unwrap();
        assert!(budget.grow(&mut two, 11 * 4096).await.is_err(), "more than there is");
    }
}
