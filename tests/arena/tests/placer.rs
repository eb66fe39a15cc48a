//! A placer is told what a router is told, when it happens, and is held to its own slots.

use std::cell::RefCell;
use std::rc::Rc;

use arena::engine::{Run, Setting, run};
use arena::fleet::named;
use arena::placer::{Blind, Place, Placer, Report, Seen};
use arena::work::{Agentic, Role};

/// What a placer was told, with the time.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Arrive(u64),
    First(u64),
    Finish(u64, Report),
    Wake,
}

type Diary = Rc<RefCell<Vec<(f64, Told)>>>;

/// Keeps everyone waiting for a second, then sends one after the other to the next slot of one server.
struct Slow {
    diary: Diary,
    backend: usize,
    slots: u32,
    waiting: Vec<(f64, u64)>,
    busy: Vec<u64>,
}

impl Slow {
    fn note(&self, now: f64, told: Told) {
        self.diary.borrow_mut().push((now, told));
    }

    fn start(&mut self, now: f64, out: &mut Vec<Place>) {
        while self.busy.is_empty() && self.waiting.first().is_some_and(|(due, _)| *due <= now) {
            let (_, ticket) = self.waiting.remove(0);
            self.busy.push(ticket);
            out.push(Place::Start { ticket, backend: self.backend, slot: self.slots - 1 });
        }
    }
}

impl Placer for Slow {
    fn arrive(&mut self, now: f64, seen: &Seen<'_>, _: &mut Vec<Place>) {
        self.note(now, Told::Arrive(seen.ticket));
        self.waiting.push((now + 1.0, seen.ticket));
    }

    fn first_token(&mut self, now: f64, ticket: u64, _: &mut Vec<Place>) {
        self.note(now, Told::First(ticket));
    }

    fn finish(&mut self, now: f64, ticket: u64, report: &Report, out: &mut Vec<Place>) {
        self.note(now, Told::Finish(ticket, *report));
        self.busy.clear();
        self.start(now, out);
    }

    fn wake(&mut self, now: f64, out: &mut Vec<Place>) {
        self.note(now, Told::Wake);
        self.start(now, out);
    }

    fn next_wake(&self) -> Option<f64> {
        self.waiting.first().filter(|_| self.busy.is_empty()).map(|(due, _)| *due)
    }
}

/// A run on one server of `hetero6`.
fn play(backend: usize, candid: bool) -> (Run, Vec<(f64, Told)>) {
    let machines = named("hetero6").expect("a known fleet");
    let diary = Diary::default();
    let slots = machines[backend].slots as u32;
    let slow = Slow { diary: Rc::clone(&diary), backend, slots, waiting: Vec::new(), busy: Vec::new() };
    let setting = Setting { horizon: 2000.0, ..Setting::new(machines) };
    let mut player = if candid { Blind::candid(slow) } else { Blind::new(slow) };
    let run = run(&setting, &mut Agentic::new(1, &[(0, Role::Chat, 3)], 0.0), &mut player);
    (run, diary.take())
}

#[test]
fn everything_is_told_once_and_in_time() {
    let (run, diary) = play(0, false);
    let told = |of: fn(&Told) -> Option<u64>| -> Vec<(f64, u64)> {
        diary.iter().filter_map(|(now, told)| Some((*now, of(told)?))).collect()
    };
    let happened = |of: fn(&arena::engine::Record) -> Option<f64>| -> Vec<(f64, u64)> {
        let mut all: Vec<(f64, u64)> = run
            .records
            .iter()
            .zip(0u64..)
            .filter_map(|(record, ticket)| Some((of(record)?, ticket)))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    };
    assert!(run.records.len() > 50, "{} requests", run.records.len());
    let arrive = |told: &Told| if let Told::Arrive(ticket) = told { Some(*ticket) } else { None };
    assert_eq!(told(arrive), happened(|record| Some(record.arrived)));
    let first = |told: &Told| if let Told::First(ticket) = told { Some(*ticket) } else { None };
    assert_eq!(told(first), happened(|record| record.first));
    let finish = |told: &Told| if let Told::Finish(ticket, _) = told { Some(*ticket) } else { None };
    assert_eq!(told(finish), happened(|record| record.done));
    assert!(diary.windows(2).all(|pair| pair[0].0 <= pair[1].0), "time goes back");
    let woken = diary.iter().filter(|(_, told)| *told == Told::Wake).count();
    assert!(woken > 20, "woken {woken} times");
    let waits = run.records.iter().filter_map(|record| Some(record.started? - record.arrived));
    assert!(waits.clone().all(|wait| wait > 0.999), "somebody did not wait");
    assert!(waits.clone().any(|wait| wait < 1.001), "nobody was woken in time");
}

#[test]
fn answers_tell_what_their_servers_do() {
    let shape = |report: &Report| {
        let Report { cached, load_s, prefill_s, decode_s, .. } = report;
        [cached.is_some(), load_s.is_some(), prefill_s.is_some(), decode_s.is_some()]
    };
    let of = |backend, candid| {
        let (run, diary) = play(backend, candid);
        let reports: Vec<(u64, Report)> =
            diary
                .into_iter()
                .filter_map(|(_, told)| {
                    if let Told::Finish(ticket, report) = told { Some((ticket, report)) } else { None }
                })
                .collect();
        for (ticket, report) in &reports {
            let record = &run.records[*ticket as usize];
            assert_eq!((report.prompt, report.output), (Some(record.input), Some(record.output)));
            assert!(report.cached.is_none_or(|cached| u64::from(cached) == record.cached));
        }
        let shapes: Vec<[bool; 4]> = reports.iter().map(|(_, report)| shape(report)).collect();
        assert!(shapes.windows(2).all(|pair| pair[0] == pair[1]));
        shapes[0]
    };
    assert_eq!(of(0, false), [true, false, false, false], "vLLM");
    assert_eq!(of(1, false), [true, false, true, true], "llama.cpp");
    assert_eq!(of(2, false), [false, true, true, true], "Ollama");
    assert_eq!(of(3, false), [false, false, false, false], "LM Studio");
    assert_eq!(of(3, true), [true, true, true, true], "one that tells everything");
}

#[test]
#[should_panic(expected = "given away twice")]
fn a_slot_is_given_once() {
    struct Double;
    impl Placer for Double {
        fn arrive(&mut self, _: f64, seen: &Seen<'_>, out: &mut Vec<Place>) {
            out.push(Place::Start { ticket: seen.ticket, backend: 0, slot: 0 });
        }
        fn first_token(&mut self, _: f64, _: u64, _: &mut Vec<Place>) {}
        fn finish(&mut self, _: f64, _: u64, _: &Report, _: &mut Vec<Place>) {}
        fn wake(&mut self, _: f64, _: &mut Vec<Place>) {}
        fn next_wake(&self) -> Option<f64> {
            None
        }
    }
    let setting = Setting::new(named("vllm4").expect("a known fleet"));
    let _ = run(&setting, &mut Agentic::mixed(1, 1.0, 0.0), &mut Blind::new(Double));
}
