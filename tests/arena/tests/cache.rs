//! Caches keep what engines keep.

use std::sync::Arc;

use arena::cache::{Cache, Segment, Sequence, Shape, shared, tokens};
use proptest::prelude::*;

fn sequence(ids: &[u64]) -> Sequence {
    ids.iter().map(|id| Segment { id: *id, tokens: 160 }).collect()
}

/// Runs a prompt to its end; the tokens that were there.
fn serve(cache: &mut Cache, ids: &[u64], now: f64) -> u64 {
    let prompt = sequence(ids);
    let hit = cache.start(&prompt, now).expect("a free seat");
    cache.finish(hit.seat, &prompt, now + 0.5);
    hit.cached
}

#[test]
fn a_slot_keeps_its_last_sequence() {
    let mut cache = Cache::new(Shape::Slots { ram: 0 }, 1);
    assert_eq!(serve(&mut cache, &[1, 2], 0.0), 0);
    assert_eq!(serve(&mut cache, &[1, 2, 3], 1.0), 320);
    assert_eq!(serve(&mut cache, &[7], 2.0), 0);
    assert_eq!(serve(&mut cache, &[1, 2, 3], 3.0), 0);
}

#[test]
fn the_most_similar_slot_is_taken_unless_it_has_next_to_nothing() {
    let mut cache = Cache::new(Shape::Slots { ram: 0 }, 2);
    let (a, b) = (sequence(&[1, 2]), sequence(&[7, 8]));
    let hits = [&a, &b].map(|prompt| cache.start(prompt, 0.0).expect("a free seat").seat);
    cache.finish(hits[0], &a, 5.0);
    cache.finish(hits[1], &b, 1.0);
    assert_eq!(cache.peek(&sequence(&[1, 9])).map(|hit| (hit.seat, hit.cached)), Some((hits[0], 160)));
    // A twentieth in common is too little: the least recently used goes.
    let long: Vec<u64> = [1].into_iter().chain(100..119).collect();
    assert_eq!(cache.peek(&sequence(&long)).map(|hit| (hit.seat, hit.cached)), Some((hits[1], 0)));
}

#[test]
fn host_memory_gives_back_what_a_slot_had_to_leave() {
    let mut cache = Cache::new(Shape::Slots { ram: 1000 }, 1);
    serve(&mut cache, &[1, 2], 0.0);
    serve(&mut cache, &[7], 1.0);
    let back = cache.start(&sequence(&[1, 2, 3]), 2.0).expect("a free seat");
    assert_eq!((back.cached, back.restored), (320, 320));
}

#[test]
fn a_full_list_forgets_the_oldest() {
    let mut cache = Cache::new(Shape::Slots { ram: 400 }, 1);
    for (now, id) in [1, 2, 3, 4].into_iter().enumerate() {
        serve(&mut cache, &[id], now as f64);
    }
    assert_eq!(cache.best_at_rest(&sequence(&[1])), 0);
    assert_eq!(cache.best_at_rest(&sequence(&[2])), 160);
}

#[test]
fn a_pool_forgets_leaves_first_and_never_what_runs() {
    let mut cache = Cache::new(Shape::Pool { capacity: 640 }, 2);
    serve(&mut cache, &[1, 2], 0.0);
    serve(&mut cache, &[1, 3], 1.0);
    let running = sequence(&[1, 3]);
    let seat = cache.start(&running, 2.0).expect("a free seat").seat;
    serve(&mut cache, &[8, 9], 3.0);
    assert_eq!(cache.pool_match(&sequence(&[1, 2])), 160, "2 was the oldest leaf");
    serve(&mut cache, &[10, 11, 12, 13], 4.0);
    assert_eq!(cache.pool_match(&running), 320, "it runs");
    cache.finish(seat, &running, 5.0);
}

#[test]
fn an_unloaded_model_leaves_nothing() {
    for shape in [Shape::Slots { ram: 1000 }, Shape::Pool { capacity: 10_000 }] {
        let mut cache = Cache::new(shape, 1);
        serve(&mut cache, &[1, 2], 0.0);
        serve(&mut cache, &[7, 8], 1.0);
        cache.clear();
        assert_eq!([serve(&mut cache, &[1, 2], 2.0), serve(&mut cache, &[7, 8], 3.0)], [0, 0], "{shape:?}");
    }
}

#[test]
fn a_loss_spares_what_runs() {
    for shape in [Shape::Slots { ram: 1000 }, Shape::Pool { capacity: 10_000 }] {
        let mut cache = Cache::new(shape, 2);
        serve(&mut cache, &[7, 8], 0.0);
        let running = sequence(&[1, 2]);
        let seat = cache.start(&running, 1.0).expect("a free seat").seat;
        cache.lose();
        cache.finish(seat, &running, 2.0);
        assert_eq!([serve(&mut cache, &[1, 2], 3.0), serve(&mut cache, &[7, 8], 4.0)], [320, 0], "{shape:?}");
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let sizes = prop_oneof![Just(0u64), 200..3000u64];
    prop_oneof![
        sizes.clone().prop_map(|ram| Shape::Slots { ram }),
        sizes.prop_map(|capacity| Shape::Pool { capacity })
    ]
}

proptest! {
    /// Whatever is asked in whatever order: a hit was read before, foreseen, and a prompt of which nothing was
    /// displaced is warm.
    #[test]
    fn hits_are_true_and_foreseen(shape in shape(), asks in prop::collection::vec((prop::collection::vec(0..4u64, 1..6), any::<bool>()), 1..60)) {
        let mut cache = Cache::new(shape, 3);
        let (mut seen, mut running): (Vec<Sequence>, Vec<(usize, Sequence)>) = (Vec::new(), Vec::new());
        for (step, (ids, end)) in asks.into_iter().enumerate() {
            let (prompt, now) = (sequence(&ids), step as f64);
            if (end || running.len() == 3) && !running.is_empty() {
                let (seat, prompt) = running.remove(0);
                cache.finish(seat, &prompt, now);
            }
            let foreseen = cache.peek(&prompt);
            let hit = cache.start(&prompt, now);
            prop_assert_eq!(foreseen, hit);
            let hit = hit.expect("one of three seats is free");
            let known = seen.iter().map(|old| shared(old, &prompt)).max().unwrap_or(0);
            prop_assert!(hit.cached <= known, "{} of {known}", hit.cached);
            prop_assert!(running.iter().all(|(seat, _)| *seat != hit.seat), "a seat is given twice");
            prop_assert!(hit.restored <= hit.cached);
            seen.push(Arc::clone(&prompt));
            running.push((hit.seat, prompt));
            for (seat, prompt) in &running {
                prop_assert_eq!(&cache.seats()[*seat].content, prompt);
                prop_assert!(!cache.pooled() || cache.pool_match(prompt) == tokens(prompt));
            }
        }
        prop_assert_eq!(cache.peek(&sequence(&[0])).is_none(), running.len() == 3);
    }
}
