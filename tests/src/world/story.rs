//! A random story from a seed: a fleet, requests of several kinds, and changes of the fleet.

use std::collections::BTreeMap;
use std::sync::Arc;

use sched::{
    Arrival, Asked, Backend, BackendId, Block, Cache, Candidate, Chain, Class, Event, Fleet, Health, Key,
    ModelId, Moment, Outcome, Policy, Span, TicketId, Tuning, Usage,
};

use super::{Chance, Core, Fate, Happening, Mood, Request, World};

/// A backend that no fleet has.
const STRANGER: BackendId = BackendId(999);
/// Enough for more sets of backends than the core keeps lines for.
const BACKENDS_MAX: u64 = 8;

const CACHES: [Cache; 3] =
    [Cache::Slots { ram: 0 }, Cache::Slots { ram: 20_000 }, Cache::Pool { tokens: 20_000 }];

/// What a seed stands for.
pub struct Story {
    chance: Chance,
    fleet: Fleet,
    /// Backends that left and may come back.
    shelf: BTreeMap<BackendId, Backend>,
    /// Where each model is.
    models: Vec<Vec<BackendId>>,
    /// The shortest grace of the fleet, in microseconds: no engine lags longer.
    grace_us: u64,
    service_us: u64,
    /// Every request names backends of its own choice, not those of a model.
    wild: bool,
    /// How often in a hundred requests a server changes its mood.
    moody_percent: u64,
    /// All servers are shaky from the beginning.
    shaky: bool,
    /// By which rule requests are placed.
    policy: Policy,
    /// One key asks for much more than the others.
    floods: bool,
    /// Some of the candidates are kept in reserve.
    reserves: bool,
    tickets: u64,
}

impl Story {
    /// The beginning of the story of a seed.
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let grace_us = chance.pick(&[0, 50_000, 250_000]);
        let queue_max = chance.pick(&[0, 3, 20, 60]);
        let mut fleet = Fleet {
            owner: true,
            queue_max,
            tuning: Tuning { fair_quantum: None, ..Tuning::default() },
            backends: BTreeMap::new(),
        };
        let wild = chance.percent(20);
        let backends = if wild { BACKENDS_MAX } else { chance.within(1, BACKENDS_MAX) };
        for id in 0..backends as u32 {
            fleet.backends.insert(BackendId(id), draw_backend(&mut chance, grace_us));
        }
        let models = (0..chance.within(1, 4)).map(|_| {
            let mut homes: Vec<_> = fleet.backends.keys().copied().collect();
            homes.retain(|_| chance.percent(60));
            match homes.is_empty() {
                true => vec![BackendId(0)],
                false => homes,
            }
        });
        let models = models.collect();
        let service_us = chance.pick(&[2_000, 100_000, 400_000]);
        let shelf = BTreeMap::new();
        let moody_percent = chance.pick(&[0, 0, 2, 10, 30]);
        let shaky = moody_percent == 0 && chance.percent(80);
        let policy = if seed.is_multiple_of(2) { Policy::CacheAffine } else { Policy::Priority };
        if policy == Policy::CacheAffine {
            fleet.tuning.fair_quantum = Some(Span(10 * service_us));
            fleet.tuning.age_max = Span(5 * service_us);
            for backend in fleet.backends.values_mut() {
                backend.cache = chance.pick(&CACHES);
                backend.models_max = chance.percent(30).then(|| chance.pick(&[1, 1, 2]));
            }
        }
        Story {
            chance,
            fleet,
            shelf,
            models,
            grace_us,
            service_us,
            wild,
            moody_percent,
            shaky,
            policy,
            floods: false,
            reserves: seed.is_multiple_of(3),
            tickets: 0,
        }
    }

    /// The beginning of the story of a few servers that work for seconds on each request: who may decline a free slot
    /// waits for as long as that pays, and who may not shares with a key that floods.
    pub fn busy(seed: u64) -> Self {
        let mut story = Story::new(seed);
        let chance = &mut story.chance;
        let chooses = story.policy == Policy::CacheAffine;
        let swaps = chooses && chance.percent(30);
        let backend = Backend {
            slots: 1,
            priority: 0,
            max_input_tokens: None,
            health: Health::Healthy,
            draining: false,
            release_grace: Span::ZERO,
            cache: chance.pick(&CACHES),
            models_max: swaps.then_some(1),
            resident: Arc::default(),
            lot: 0,
        };
        let ids = (0..if chooses { 3 } else { 1 }).map(BackendId);
        story.fleet.backends = ids.map(|id| (id, backend.clone())).collect();
        story.models = vec![story.fleet.backends.keys().copied().collect(); if swaps { 3 } else { 1 }];
        story.fleet.queue_max = 60;
        let fair_quantum = (!chooses).then_some(Span::from_secs(5));
        let wait_max = Span::from_secs(chance.pick(&[2, 20]));
        let (hold, eviction_weight, age_max) = (0.0, 0.0, Span::from_secs(1000));
        let tuning = Tuning { fair_quantum, wait_max, hold, eviction_weight, age_max, ..Tuning::default() };
        story.fleet.tuning = tuning;
        (story.wild, story.shaky, story.reserves, story.moody_percent) = (false, false, false, 0);
        (story.grace_us, story.floods) = (0, true);
        story.service_us = if chooses { 12_000_000 } else { 4_000_000 };
        story
    }

    /// The fleet at the beginning.
    pub fn fleet(&self) -> Arc<Fleet> {
        Arc::new(self.fleet.clone())
    }

    /// Plans the story into the world: so many requests, and at the end a whole fleet that serves who waits.
    pub fn plan<C: Core>(&mut self, world: &mut World<C>, requests: u64) {
        let slots: u32 = self.fleet.backends.values().map(|backend| backend.slots).sum();
        if self.chance.percent(30) {
            world.doze();
        }
        let load_percent = self.chance.pick(&[30, 90, 150, 400]);
        let gap_us = self.service_us * 100 / load_percent / u64::from(slots.max(1));
        let requests_per_change = self.chance.pick(&[5, 20, 200]);
        // long enough to spend what retries were saved up
        let requests = if self.shaky { 8 * requests } else { requests };
        let closes = self.chance.percent(10).then(|| self.chance.within(requests / 2, requests));
        let mut now = Moment(self.chance.below(1000));
        for backend in (0..BACKENDS_MAX as u32).filter(|_| self.shaky) {
            world.plan(now, Happening::Turn(BackendId(backend), Mood::Shaky));
        }
        for turn in 0..requests {
            // bursts and pauses
            let gap_us = if self.chance.percent(2) { 20 * gap_us } else { gap_us };
            now = now + Span(self.chance.below(2 * gap_us + 1));
            let request = self.draw_request(now);
            world.plan(now, Happening::Arrive(Box::new(request)));
            if self.chance.percent(10) {
                let noise = self.draw_noise();
                world.plan(now + Span(self.chance.below(gap_us + 1)), noise);
            }
            if self.chance.percent(self.moody_percent) {
                let turn = self.draw_mood();
                world.plan(now, turn);
            }
            if closes == Some(turn) {
                world.plan(now, Happening::Tell(Event::Close));
            }
            if self.chance.below(requests_per_change) == 0 && !self.floods {
                self.change();
                let event = if self.chance.percent(30) { self.reroute() } else { Event::Adopt(self.fleet()) };
                world.plan(now, Happening::Tell(event));
            }
        }
        for backend in 0..BACKENDS_MAX as u32 {
            world.plan(now, Happening::Turn(BackendId(backend), Mood::Well));
        }
        self.mend();
        world.plan(now + Span(1), Happening::Tell(Event::Adopt(self.fleet())));
    }

    /// Plans one request more for each backend than it has slots, all at once: every slot must be there.
    pub fn fill<C: Core>(&mut self, world: &mut World<C>) {
        let now = world.report().end + Span::from_secs(60);
        for (id, backend) in self.fleet.backends.clone() {
            for _ in 0..=backend.slots {
                let mut request = self.draw_request(now);
                request.arrival.candidates =
                    Box::new([Candidate { backend: id, model: ModelId(0), reserve: 0 }]);
                request.arrival.prompt_tokens = 1;
                request.fate = Fate::Served;
                world.plan(now, Happening::Arrive(Box::new(request)));
            }
        }
    }

    fn draw_request(&mut self, now: Moment) -> Request {
        let chance = &mut self.chance;
        self.tickets += 1;
        let service = match chance.percent(if self.floods { 0 } else { 5 }) {
            true => Span(self.service_us * 10),
            false => Span(chance.within(1, 2 * self.service_us)),
        };
        let deadline = match chance.below(10) {
            0 => now,
            1 | 2 => now + Span(chance.below(self.service_us)),
            3..8 => now + Span(chance.within(1_000, 20 * self.service_us)),
            _ => Moment::NEVER,
        };
        let fate = match chance.below(100) {
            0..70 => Fate::Served,
            70..78 => Fate::Fails(Span(chance.below(self.service_us) + 1)),
            78..84 => Fate::Unsent,
            _ => Fate::Leaves(now + Span(chance.below(4 * self.service_us))),
        };
        let prompt_tokens = match (self.floods, self.policy) {
            (true, Policy::Priority) => 10,
            (true, _) => chance.pick(&[10, 5_000, 20_000, 20_000]),
            (false, _) => chance.pick(&[10, 90, 91, 500, 5000]),
        };
        let lag = Span(chance.within(0, self.grace_us));
        let (class, prompt) = match self.policy {
            Policy::CacheAffine => {
                let class = chance.pick(&[Class::Interactive, Class::Normal, Class::Batch]);
                (class, draw_prompt(chance, prompt_tokens))
            }
            _ => (Class::Normal, Chain::default()),
        };
        let key = if self.floods && chance.percent(70) { 0 } else { self.tickets % 3 };
        let arrival = Arrival {
            ticket: TicketId(self.tickets),
            key: Key(key),
            class,
            asked: Asked(self.tickets % 2),
            weight: [1, 2, 5][key as usize],
            prompt,
            policy: self.policy,
            prompt_tokens,
            candidates: self.draw_candidates(),
            deadline,
        };
        Request { arrival, service, lag, fate }
    }

    fn draw_candidates(&mut self) -> Box<[Candidate]> {
        let chance = &mut self.chance;
        let model = chance.below(self.models.len() as u64) as u32;
        let mut homes = self.models[model as usize].clone();
        if self.wild {
            homes = self.fleet.backends.keys().copied().filter(|_| chance.percent(50)).collect();
        }
        let turn = chance.below(homes.len() as u64) as usize;
        homes.rotate_left(turn);
        match chance.below(50) {
            0 => homes = vec![STRANGER],
            1 => homes.push(STRANGER),
            2 => homes.extend(homes.clone()),
            _ => {}
        }
        // one of two backends in reserve, or of three two
        let kept = if self.reserves { self.chance.pick(&[1, 1, 2, 3]) } else { 1 };
        let candidate = |backend: BackendId| {
            let reserve = ((backend.0 + model) % kept) as u8;
            Candidate { backend, model: ModelId(model), reserve }
        };
        homes.into_iter().map(candidate).collect()
    }

    /// Things that must not matter.
    fn draw_noise(&mut self) -> Happening {
        let ticket = TicketId(1 << 40);
        match self.chance.below(8) {
            0 => Happening::Tell(Event::FirstToken { ticket }),
            1 => Happening::Tell(Event::Finish { ticket, outcome: Outcome::Failed, usage: Usage::default() }),
            2 => Happening::Tell(Event::Cancel { ticket }),
            3 => Happening::Tell(Event::Observe { backend: STRANGER, idle: true }),
            4 | 5 => Happening::Look(BackendId(self.chance.below(BACKENDS_MAX) as u32)),
            6 => Happening::Tell(Event::Wake),
            _ => Happening::Again(TicketId(self.tickets)),
        }
    }

    fn draw_mood(&mut self) -> Happening {
        let backend = BackendId(self.chance.below(BACKENDS_MAX) as u32);
        let limits = Mood::Limits(self.chance.pick(&[None, Some(Span::ZERO), Some(Span::from_secs(90))]));
        let bad = [
            Mood::Slow,
            Mood::Deaf,
            Mood::Drops,
            Mood::Hangs,
            Mood::Crawls,
            Mood::Gone,
            Mood::Errs,
            Mood::Babbles,
            limits,
        ];
        let mood = if self.chance.percent(50) { Mood::Well } else { self.chance.pick(&bad) };
        Happening::Turn(backend, mood)
    }

    fn change(&mut self) {
        let chance = &mut self.chance;
        if !self.fleet.owner || chance.percent(2) {
            self.fleet.owner = !self.fleet.owner;
            return;
        }
        let ids: Vec<_> = self.fleet.backends.keys().copied().collect();
        let back = self.shelf.keys().next().copied();
        if let Some(id) = back.filter(|_| ids.is_empty() || chance.percent(60)) {
            let backend = self.shelf.remove(&id).expect("the id is from the shelf");
            self.fleet.backends.insert(id, backend);
            return;
        }
        let id = chance.pick(&ids);
        let backend = self.fleet.backends.get_mut(&id).expect("the id is from the fleet");
        match chance.below(8) {
            _ if backend.health != Health::Healthy => {
                backend.health = chance.pick(&[Health::Healthy, Health::Healthy, Health::Unknown]);
            }
            _ if backend.draining => backend.draining = false,
            0 | 1 => backend.health = Health::Unhealthy,
            2 => backend.draining = true,
            3 => backend.slots = chance.below(5) as u32,
            4 => *backend = draw_backend(chance, self.grace_us),
            5 => self.fleet.queue_max = chance.pick(&[0, 3, 20, 60]),
            6 => drop(self.fleet.backends.remove(&id).map(|backend| self.shelf.insert(id, backend))),
            // as it is: an equal fleet changes nothing
            _ => {}
        }
    }

    /// The newest requests may go elsewhere, those of them that wait.
    fn reroute(&mut self) -> Event {
        let mut offers = Vec::new();
        for ticket in self.tickets.saturating_sub(8)..self.tickets {
            let homes = self.fleet.backends.keys().filter(|_| self.chance.percent(50));
            let candidates =
                homes.map(|id| Candidate { backend: *id, model: ModelId(0), reserve: 0 }).collect();
            offers.push((TicketId(ticket), candidates));
        }
        Event::Reroute { fleet: self.fleet(), offers }
    }

    fn mend(&mut self) {
        self.fleet.owner = true;
        self.fleet.queue_max = 100;
        self.fleet.backends.append(&mut self.shelf);
        for backend in self.fleet.backends.values_mut() {
            (backend.health, backend.draining) = (Health::Healthy, false);
            (backend.slots, backend.max_input_tokens) = (backend.slots.max(1), None);
        }
    }
}

/// A prompt that begins as others do.
fn draw_prompt(chance: &mut Chance, tokens: u32) -> Chain {
    let blocks = chance.within(1, 5);
    let mut hash = 0u64;
    let block = |turn: u64| {
        hash = hash.wrapping_mul(31).wrapping_add(chance.below(3) + 1);
        Block { hash, tokens: tokens / blocks as u32, own: turn % 2 == 1 }
    };
    Chain::new((0..blocks).map(block).collect::<Vec<_>>())
}

fn draw_backend(chance: &mut Chance, grace_us: u64) -> Backend {
    Backend {
        slots: chance.pick(&[0, 1, 1, 1, 2, 4]),
        priority: chance.pick(&[-1, 0, 0, 0, 7]),
        max_input_tokens: chance.pick(&[None, None, Some(100), Some(1000)]),
        health: match chance.below(20) {
            0 | 1 => Health::Unhealthy,
            2 => Health::Unknown,
            _ => Health::Healthy,
        },
        draining: chance.percent(5),
        release_grace: Span(grace_us * chance.within(1, 2)),
        cache: Cache::default(),
        models_max: None,
        resident: Default::default(),
        lot: 0,
    }
}
