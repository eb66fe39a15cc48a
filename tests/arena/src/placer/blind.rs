//! A placer as a player: it is told what a router is told, and what it starts is held against its own slots.

use std::collections::BTreeMap;

use super::{Finish, Place, Placer, Report, Seen, blocks};
use crate::engine::{Player, Record, World};
use crate::fleet::Kind;

#[derive(Clone, Copy, Debug)]
enum Told {
    Arrive(usize),
    First(usize),
    Done(usize),
}

/// Tickets that follow each other have no like fate.
const SCATTER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Plays with what a placer decides.
pub struct Blind<P> {
    placer: P,
    /// Whether servers of every kind tell everything.
    candid: bool,
    /// Of a hundred answers, so many are not told of but for their end.
    lost_percent: u64,
    news: Vec<Told>,
    out: Vec<Place>,
    /// Who has which slot, by server and slot.
    taken: BTreeMap<(usize, u32), usize>,
}

impl<P: Placer> Blind<P> {
    /// Answers tell what those of their kind do.
    pub fn new(placer: P) -> Self {
        Blind {
            placer,
            candid: false,
            lost_percent: 0,
            news: Vec::new(),
            out: Vec::new(),
            taken: BTreeMap::new(),
        }
    }

    /// Answers of every kind tell everything.
    pub fn candid(placer: P) -> Self {
        Blind { candid: true, ..Blind::new(placer) }
    }

    /// Of a hundred answers, so many tell nothing but that they ended.
    pub fn losing(placer: P, percent: u64) -> Self {
        Blind { lost_percent: percent, ..Blind::new(placer) }
    }

    /// The placer, as it is now.
    pub fn placer(&self) -> &P {
        &self.placer
    }

    fn tell(&mut self, world: &World, told: Told) {
        let now = world.now;
        match told {
            Told::Arrive(ticket) => {
                let request = &world.tickets[ticket].request;
                let serves = |host: &usize| world.hosts[*host].machine.serves(request.model);
                let backends: Vec<usize> = (0..world.hosts.len()).filter(serves).collect();
                let seen = Seen {
                    ticket: ticket as u64,
                    key: request.key,
                    model: request.model,
                    prompt_tokens: world.tickets[ticket].record.input,
                    blocks: &blocks(request),
                    backends: &backends,
                };
                self.placer.arrive(now, &seen, &mut self.out);
            }
            Told::First(ticket) => self.placer.first_token(now, ticket as u64, &mut self.out),
            Told::Done(ticket) => {
                self.taken.retain(|_, holder| *holder != ticket);
                let report = self.report(world, ticket);
                self.placer.finish(now, ticket as u64, &report, &mut self.out);
            }
        }
    }

    fn report(&self, world: &World, ticket: usize) -> Report {
        if (ticket as u64).wrapping_mul(SCATTER) % 100 < self.lost_percent {
            return Report::default();
        }
        let ticket = &world.tickets[ticket];
        let record = &ticket.record;
        let kind = record.host.map(|host| world.hosts[host].machine.kind);
        let tells = |kinds: &[Kind]| self.candid || kind.is_some_and(|kind| kinds.contains(&kind));
        let between = |from: Option<f64>, to: Option<f64>| to.zip(from).map(|(to, from)| to - from);
        let Record { begun, read, first, done, .. } = *record;
        let times = tells(&[Kind::Llama, Kind::Ollama]);
        Report {
            cached: tells(&[Kind::Vllm, Kind::Llama]).then_some(record.cached as u32),
            prompt: Some(record.input),
            output: Some(record.output),
            load_s: between(begun, read).filter(|_| tells(&[Kind::Ollama])),
            prefill_s: between(read, first).filter(|_| times),
            decode_s: between(first, done).filter(|_| times),
            finish: Some(if ticket.request.tool { Finish::Tool } else { Finish::Stop }),
        }
    }

    fn carry_out(&mut self, world: &mut World) {
        for place in std::mem::take(&mut self.out) {
            match place {
                Place::Start { ticket, backend, slot } => {
                    let number = ticket as usize;
                    let slots = world.hosts[backend].machine.slots as u32;
                    assert!(slot < slots, "server {backend} has no slot {slot}");
                    let holder = self.taken.insert((backend, slot), number);
                    assert!(holder.is_none(), "slot {slot} of server {backend} is given away twice");
                    world.start(number, backend);
                }
                Place::Refuse { ticket } => world.refuse(ticket as usize),
            }
        }
    }
}

impl<P: Placer> Player for Blind<P> {
    fn arrive(&mut self, _: &mut World, ticket: usize) {
        self.news.push(Told::Arrive(ticket));
    }

    fn first(&mut self, _: &mut World, ticket: usize) {
        self.news.push(Told::First(ticket));
    }

    fn done(&mut self, _: &mut World, ticket: usize) {
        self.news.push(Told::Done(ticket));
    }

    fn settle(&mut self, world: &mut World) {
        for told in std::mem::take(&mut self.news) {
            self.tell(world, told);
            self.carry_out(world);
        }
        if self.placer.next_wake().is_some_and(|wake| wake <= world.now) {
            self.placer.wake(world.now, &mut self.out);
            self.carry_out(world);
        }
    }

    fn next_wake(&self) -> Option<f64> {
        self.placer.next_wake()
    }
}
