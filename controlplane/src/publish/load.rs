//! What servers say of their load, on its way to data planes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proto::v1;

use super::Publisher;
use crate::{
    model::{Name, Observed},
    probe::watch::{Sights, unix_ms},
};

/// Between two looks at what probes found.
const EVERY: Duration = Duration::from_millis(500);

/// Tells data planes what probes find, until it is dropped.
pub async fn run(sights: Arc<Sights>, publisher: Arc<Publisher>) {
    let mut told = BTreeMap::new();
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        let backends = news(&sights.borrow(), &mut told, unix_ms());
        if !backends.is_empty() {
            publisher.tell(v1::EngineLoads { backends });
        }
    }
}

/// Of each backend that was looked at since it was `told`: when, and how many requests it had.
fn news(
    seen: &BTreeMap<Name, Arc<Observed>>,
    told: &mut BTreeMap<Name, (u64, u32)>,
    now_ms: u64,
) -> Vec<v1::EngineLoad> {
    told.retain(|name, _| seen.contains_key(name));
    let mut news = Vec::new();
    for (name, seen) in seen {
        let (at, before) = told.get(name).copied().unwrap_or_default();
        let Some(requests) = seen.requests.filter(|_| seen.probed_at_ms > at) else { continue };
        told.insert(name.clone(), (seen.probed_at_ms, requests));
        if requests > 0 || before > 0 {
            let age_ms = u32::try_from(now_ms.saturating_sub(seen.probed_at_ms)).unwrap_or(u32::MAX);
            news.push(v1::EngineLoad { name: name.to_string(), requests, age_ms });
        }
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_is_told_once_and_the_end_of_it_too() {
        let mut told = BTreeMap::new();
        let mut look = |at: u64, requests: Option<u32>, now: u64| {
            let seen = Observed { probed_at_ms: at, requests, ..Observed::default() };
            let seen = BTreeMap::from([(Name::new("b").unwrap(), Arc::new(seen))]);
            let news = news(&seen, &mut told, now);
            news.first().map(|news| (news.requests, news.age_ms))
        };
        assert_eq!(look(10, None, 11), None);
        assert_eq!(look(20, Some(0), 21), None);
        assert_eq!(look(30, Some(3), 34), Some((3, 4)));
        assert_eq!(look(30, Some(3), 35), None);
        assert_eq!(look(40, Some(3), 40), Some((3, 0)));
        assert_eq!(look(50, Some(0), 50), Some((0, 0)));
        assert_eq!(look(60, Some(0), 60), None);
    }
}
