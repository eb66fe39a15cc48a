//! What a request would cost in every place, in seconds.

use super::{Choice, Ettft, Seat};
use crate::books::Ending;
use crate::cache::{Hit, Loss, Segment, shared};
use crate::engine::{Phase, World};

/// A prefill slows every stream of its server down by this.
const STREAM_SLOWED: f64 = 0.6;
/// What an otherwise equal server costs when all its slots are in use, in seconds.
const FULL_S: f64 = 0.05;
/// A loss of fewer tokens holds no slot.
const HELD_MIN: u64 = 512;

/// A request and where it would go.
#[derive(Clone, Copy)]
struct Case<'a> {
    world: &'a World,
    ticket: usize,
    prompt: &'a [Segment],
    input: f64,
    host: usize,
    load: f64,
    /// Older than requests should get: it looks at free slots alone, whatever they cost others.
    old: bool,
}

impl Ettft {
    /// The best free slot, the best busy one, and whether one is held for somebody else.
    pub(super) fn choices(
        &self,
        world: &World,
        ticket: usize,
        timeline: &[Vec<Seat>],
    ) -> (Option<Choice>, Option<Choice>, bool) {
        let (request, record) = (&world.tickets[ticket].request, &world.tickets[ticket].record);
        let old = world.now - record.arrived >= self.switches.age_max;
        let (mut free, mut busy, mut held): (Option<Choice>, Option<Choice>, bool) = (None, None, false);
        for (host, seats) in timeline.iter().enumerate() {
            if !world.feasible(ticket, host) {
                continue;
            }
            let load = world.load_s(ticket, host);
            let input = f64::from(record.input);
            let case = Case { world, ticket, prompt: &request.prompt, input, host, load, old };
            if world.open(ticket, host) && seats.iter().any(|seat| seat.at <= world.now) {
                match self.now(&case) {
                    None => held = true,
                    Some(choice) if free.is_none_or(|best| choice.cost < best.cost) => free = Some(choice),
                    Some(_) => {}
                }
            }
            if self.switches.waits && !old {
                self.later(&case, seats, |choice| {
                    if busy.is_none_or(|best| choice.cost < best.cost) {
                        busy = Some(choice);
                    }
                });
            }
        }
        (free, busy, held)
    }

    /// On the host's free slot; `None` when that is held for who was there.
    fn now(&self, case: &Case<'_>) -> Option<Choice> {
        let Case { world, host, load, .. } = *case;
        let hit = self.books.peek(world, case.ticket, host)?;
        let alone = self.prefill(case, hit.cached);
        let company: f64 = self.books.prefills_s(world, host).iter().map(|other| other.min(alone)).sum();
        let prefill = alone + company;
        let server = &world.hosts[host];
        let streams = server.count(Phase::Decode) as f64;
        let interference = self.switches.interference * (company + STREAM_SLOWED * streams * alone);
        let cache = self.books.cache(world, host);
        let losses = match case.old || load > 0.0 {
            true => Vec::new(),
            false => cache.displaced(case.prompt, self.output(case) as u64, &hit, world.now),
        };
        let (session, since) = self.books.tenant(host, hit.seat);
        let ending = match cache.pooled() || cache.ram() > 0 {
            true => Ending::Any,
            false => self.books.returns.ending(session),
        };
        let pulls = !cache.pooled() && !case.old && world.now - since < self.switches.tenure;
        if pulls && self.switches.hold > 0.0 && self.pull(case, &losses, ending) > 1.0 {
            return None;
        }
        let used = server.jobs.len() as f64 / server.machine.slots as f64;
        let eviction = self.eviction(case, &losses, ending);
        let cost = load + prefill + eviction + interference + FULL_S * used;
        Some(Choice { cost, host, seat: hit.seat, wait: 0.0, service: load + prefill })
    }

    /// On the host's busy slots, when each is free.
    fn later(&self, case: &Case<'_>, seats: &[Seat], mut each: impl FnMut(Choice)) {
        let Case { world, host, load, .. } = *case;
        let busy = seats.iter().enumerate().filter(|(_, seat)| seat.at > world.now);
        let cache = self.books.cache(world, host);
        let found = |cached: u64| cached.min(case.input as u64 - 1);
        let choice = |seat: usize, at: f64, cached: u64, losses: &[Loss]| {
            let service = load + self.prefill(case, cached);
            let wait = if self.switches.predicts { (at - world.now).max(0.0) } else { 0.0 };
            let cost = wait + service + self.eviction(case, losses, Ending::Any);
            Choice { cost, host, seat, wait, service }
        };
        let counts = self.switches.eviction > 0.0;
        if cache.pooled() {
            // The slots of a pool differ in when they are free alone.
            let first = busy.min_by(|(_, a), (_, b)| a.at.total_cmp(&b.at));
            let Some((seat, Seat { at, .. })) = first else { return };
            let cached = found(self.books.floor(cache.pool_match(case.prompt)));
            let hit = Hit { seat: 0, cached, restored: 0 };
            let losses =
                counts.then(|| cache.displaced(case.prompt, self.output(case) as u64, &hit, world.now));
            return each(choice(seat, *at, cached, &losses.unwrap_or_default()));
        }
        let rests = match cache.ram() > 0 && load == 0.0 {
            true => self.books.floor(cache.best_at_rest(case.prompt)),
            false => 0,
        };
        for (seat, Seat { at, content }) in busy {
            let cached = found(self.books.floor(shared(content, case.prompt)).max(rests));
            let losses = counts.then(|| cache.displaced_from(content, 0.0, case.prompt, 0, world.now));
            each(choice(seat, *at, cached, &losses.unwrap_or_default()));
        }
    }

    fn output(&self, case: &Case<'_>) -> f64 {
        self.books.output(case.world, case.ticket)
    }

    fn prefill(&self, case: &Case<'_>, cached: u64) -> f64 {
        let cached = cached as f64;
        self.books.prefill_s(case.world, case.host, case.input - cached, cached)
    }

    /// Seconds that somebody will have to spend again, by how likely that is.
    fn eviction(&self, case: &Case<'_>, losses: &[Loss], ending: Ending) -> f64 {
        let again = |loss: &Loss| {
            let back = self.books.returns.within(loss.idle.max(0.0), self.switches.horizon, ending);
            self.books.prefill_s(case.world, case.host, loss.tokens as f64, 0.0) * back
        };
        self.switches.eviction * losses.iter().map(again).sum::<f64>()
    }

    /// How strongly who was there holds the slot.
    fn pull(&self, case: &Case<'_>, losses: &[Loss], ending: Ending) -> f64 {
        let recent = |loss: &&Loss| loss.tokens > HELD_MIN && loss.idle < self.switches.hold_max;
        let pull = |loss: &Loss| {
            let back = self.books.returns.hazard(loss.idle.max(0.0), ending);
            back * self.books.prefill_s(case.world, case.host, loss.tokens as f64, 0.0)
        };
        self.switches.hold * losses.iter().filter(recent).map(pull).sum::<f64>()
    }
}
