//! A script of the core: each step is an event and the decisions it must bring, both in words.
//!
//! Fleet: `a:1 b:2,prio=1,max=100,grace=50,down,unknown,drain queue=3 spare`. Time is in milliseconds.
//! Steps: `10 arrive 1 on ab/c tokens 50 until 100` (c in reserve), `10 done 1`, `first|failed|aborted|unsent|cancel 1`,
//! `done 1 prompt=900 cached=100 prefill=900`, `fail 1 connect|refused|reset|timeout|slow|status|answer|limited|limited=5000 [sent]`, `idle|busy a`, `told a 3 [AGE]`, `waited 1 since 5 on ab tried b`, `began 1 a [ARRIVAL]`, `back 1`, `slots a 2|all`, `learn a abc`, `share|own`, `recall`, `adopt FLEET`, `reroute 1 ab FLEET`, `close`,
//! `wake`. Questions: `? next`, `? position 1`, `? outlook 1`, `? a`, `? breaker a`, `? retries`, `? prefill 1`, `? cached 1`, `? held`, `? front a`,
//! `? unasked ARRIVAL`, `? taste a ARRIVAL`.

mod ask;

use std::collections::BTreeMap;
use std::str::SplitWhitespace;
use std::sync::Arc;

use sched::{
    Arrival, Asked, Backend, BackendId, Block, Cache, Candidate, Chain, Class, Decision, Digest, End, Event,
    Fault, Fleet, Health, Key, Mark, ModelId, Moment, Outcome, Policy, Refusal, Scheduler, Span, TicketId,
    Tuning, Usage,
};

/// Runs the steps on a core with the given fleet and compares all decisions.
pub fn check(fleet: &str, steps: &[(&str, &str)]) {
    let said = run(1, fleet, steps.iter().map(|(step, _)| *step));
    for (index, ((step, expected), said)) in steps.iter().zip(said).enumerate() {
        assert_eq!(said, *expected, "step {index}: {step}");
    }
}

/// Runs the steps and tells what the core said to each.
pub fn run<'a>(seed: u64, fleet: &str, steps: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut core = Scheduler::new(seed, Arc::new(read_fleet(fleet)));
    let mut arrivals = BTreeMap::new();
    let answer = |step: &str| match step.strip_prefix("? ") {
        Some(question) => ask::ask(&mut core, question),
        None => tell(&mut core, &mut arrivals, step),
    };
    steps.into_iter().map(answer).collect()
}

fn read_fleet(text: &str) -> Fleet {
    let mut fleet =
        Fleet { owner: true, queue_max: 100, tuning: Tuning::default(), backends: BTreeMap::new() };
    for word in text.split_whitespace() {
        if word == "spare" {
            fleet.owner = false;
        } else if let Some(max) = word.strip_prefix("queue=") {
            fleet.queue_max = max.parse().unwrap();
        } else {
            let (name, rest) = word.split_once(':').unwrap();
            fleet.backends.insert(backend_id(name), read_backend(rest));
        }
    }
    fleet
}

fn read_backend(text: &str) -> Backend {
    let mut parts = text.split(',');
    let slots = parts.next().unwrap().parse().unwrap();
    let mut backend = Backend {
        slots,
        priority: 0,
        max_input_tokens: None,
        health: Health::Healthy,
        draining: false,
        release_grace: Span::ZERO,
        cache: Cache::default(),
        models_max: None,
        resident: Default::default(),
        lot: 0,
    };
    for part in parts {
        match part.split_once('=') {
            Some(("prio", value)) => backend.priority = value.parse().unwrap(),
            Some(("lot", value)) => backend.lot = value.parse().unwrap(),
            Some(("max", value)) => backend.max_input_tokens = Some(value.parse().unwrap()),
            Some(("pool", value)) => backend.cache = Cache::Pool { tokens: value.parse().unwrap() },
            Some(("ram", value)) => backend.cache = Cache::Slots { ram: value.parse().unwrap() },
            None if part == "one" => backend.models_max = Some(1),
            Some(("models", value)) => backend.models_max = Some(value.parse().unwrap()),
            Some(("has", value)) => {
                backend.resident = value.bytes().map(|digit| ModelId(u32::from(digit - b'0'))).collect();
            }
            Some(("grace", value)) => backend.release_grace = Span::from_millis(value.parse().unwrap()),
            None if part == "down" => backend.health = Health::Unhealthy,
            None if part == "unknown" => backend.health = Health::Unknown,
            None if part == "drain" => backend.draining = true,
            _ => panic!("backend {text}"),
        }
    }
    backend
}

fn tell(core: &mut Scheduler, arrivals: &mut BTreeMap<TicketId, Arrival>, step: &str) -> String {
    let mut words = step.split_whitespace();
    let now = Moment(number(&mut words) * 1000);
    let event = read_event(words.next().unwrap(), words);
    let came = match &event {
        Event::Arrive(arrival) => Some(arrival),
        Event::Waited { arrival, .. } | Event::Began { arrival: Some(arrival), .. } => Some(&**arrival),
        _ => None,
    };
    if let Some(arrival) = came {
        arrivals.entry(arrival.ticket).or_insert_with(|| arrival.clone());
    }
    if let Event::Reroute { offers, .. } = &event {
        for (ticket, candidates) in offers {
            arrivals.entry(*ticket).and_modify(|arrival| arrival.candidates.clone_from(candidates));
        }
    }
    let mut out = Vec::new();
    core.handle(now, event, &mut out);
    out.iter().map(|decision| say(decision, arrivals)).collect::<Vec<_>>().join(", ")
}

fn read_event(verb: &str, mut words: SplitWhitespace) -> Event {
    let finish = |words: &mut SplitWhitespace, outcome| {
        let ticket = TicketId(number(words));
        let mut usage = Usage::default();
        for (what, count) in words.filter_map(|word| word.split_once('=')) {
            let count = Some(count.parse::<u32>().unwrap());
            match what {
                "prefill" => usage.prefill = count.map(|millis| Span::from_millis(millis.into())),
                "prompt" => usage.prompt = count,
                "cached" => usage.cached = count,
                "output" => usage.output = count,
                "tool" => usage.end = End::Tool,
                _ => panic!("usage {what}"),
            }
        }
        Event::Finish { ticket, outcome, usage }
    };
    match verb {
        "arrive" => Event::Arrive(read_arrival(words)),
        "first" => Event::FirstToken { ticket: TicketId(number(&mut words)) },
        "done" => finish(&mut words, Outcome::Done),
        "failed" => finish(&mut words, Outcome::Failed),
        "aborted" => finish(&mut words, Outcome::Aborted),
        "unsent" => finish(&mut words, Outcome::Unsent),
        "fail" => Event::Fail {
            ticket: TicketId(number(&mut words)),
            fault: read_fault(words.next().unwrap()),
            sent: words.next() == Some("sent"),
        },
        "cancel" => Event::Cancel { ticket: TicketId(number(&mut words)) },
        "idle" => Event::Observe { backend: backend_id(words.next().unwrap()), idle: true },
        "busy" => Event::Observe { backend: backend_id(words.next().unwrap()), idle: false },
        "told" => Event::Told {
            backend: backend_id(words.next().unwrap()),
            requests: number(&mut words) as u32,
            age: words.next().map_or(Span::ZERO, |age| Span::from_millis(age.parse().unwrap())),
        },
        "waited" => read_waited(words),
        "began" => {
            let ticket = words.next().unwrap();
            let backend = backend_id(words.next().unwrap());
            let rest = words.collect::<Vec<_>>().join(" ");
            let arrival = (!rest.is_empty())
                .then(|| Box::new(read_arrival(format!("{ticket} {rest}").split_whitespace())));
            Event::Began { ticket: TicketId(ticket.parse().unwrap()), backend, arrival }
        }
        "back" => Event::Back { ticket: TicketId(number(&mut words)) },
        "slots" => Event::Slots {
            backend: backend_id(words.next().unwrap()),
            slots: words.next().unwrap().parse().ok(),
        },
        "learn" => {
            let backend = backend_id(words.next().unwrap());
            Event::Learn(Box::new(read_digest(backend, &chain(words.next().unwrap()))))
        }
        "share" => Event::Share(true),
        "own" => Event::Share(false),
        "recall" => Event::Recall,
        "adopt" => Event::Adopt(Arc::new(read_fleet(&words.collect::<Vec<_>>().join(" ")))),
        "reroute" => {
            let ticket = TicketId(number(&mut words));
            let offers = vec![(ticket, read_candidates(words.next().unwrap()))];
            Event::Reroute { fleet: Arc::new(read_fleet(&words.collect::<Vec<_>>().join(" "))), offers }
        }
        "close" => Event::Close,
        "wake" => Event::Wake,
        _ => panic!("event {verb}"),
    }
}

fn read_waited(mut words: SplitWhitespace) -> Event {
    let ticket = words.next().unwrap();
    assert_eq!(words.next(), Some("since"));
    let since = Moment(number(&mut words) * 1000);
    let rest = words.collect::<Vec<_>>().join(" ");
    let (arrival, tried) = rest.split_once(" tried ").unwrap_or((&rest, ""));
    let tried = tried.split("").filter(|name| !name.is_empty()).map(backend_id).collect();
    let arrival = Box::new(read_arrival(format!("{ticket} {arrival}").split_whitespace()));
    Event::Waited { arrival, since, tried }
}

/// What a request with this prompt left at a backend, without its answer.
fn read_digest(backend: BackendId, prompt: &Chain) -> Digest {
    let hash = prompt.blocks().last().unwrap().hash;
    Digest {
        backend,
        model: ModelId(0),
        key: Key(0),
        asked: Asked(0),
        marks: vec![Mark { hash, tokens: prompt.tokens() }],
        tokens: prompt.tokens(),
        thought: 0,
        disturbed: true,
        first: None,
        took: Span::from_millis(1),
        usage: Usage::default(),
    }
}

fn read_fault(word: &str) -> Fault {
    let limited = |retry_after| Fault::Limited { retry_after };
    match word {
        "connect" => Fault::Connect,
        "refused" => Fault::Refused,
        "reset" => Fault::Reset,
        "timeout" => Fault::Timeout,
        "slow" => Fault::Slow,
        "status" => Fault::Status,
        "answer" => Fault::Answer,
        "limited" => limited(None),
        _ => limited(Some(Span::from_millis(word.strip_prefix("limited=").unwrap().parse().unwrap()))),
    }
}

fn read_arrival(mut words: SplitWhitespace) -> Arrival {
    let ticket = TicketId(number(&mut words));
    let mut arrival = Arrival {
        ticket,
        key: Key(0),
        class: Class::Normal,
        asked: Asked(0),
        weight: 1,
        prompt: Chain::default(),
        policy: Policy::Priority,
        prompt_tokens: 10,
        candidates: Box::default(),
        deadline: Moment::NEVER,
    };
    while let Some(word) = words.next() {
        match word {
            "on" => arrival.candidates = read_candidates(words.next().unwrap()),
            "says" => {
                arrival.policy = Policy::CacheAffine;
                arrival.prompt = chain(words.next().unwrap());
            }
            "model" => {
                let models = words.next().unwrap().split('/').cycle();
                for (candidate, model) in arrival.candidates.iter_mut().zip(models) {
                    candidate.model = ModelId(model.parse().unwrap());
                }
            }
            "key" => arrival.key = Key(number(&mut words)),
            "class" => {
                arrival.class = match words.next().unwrap() {
                    "interactive" => Class::Interactive,
                    "batch" => Class::Batch,
                    class => panic!("class {class}"),
                };
            }
            "by" => arrival.policy = policy(words.next().unwrap()),
            "tokens" => arrival.prompt_tokens = number(&mut words) as u32,
            "until" => arrival.deadline = Moment(number(&mut words) * 1000),
            _ => panic!("arrival {word}"),
        }
    }
    arrival
}

/// A letter each; a slash stands before those in reserve.
fn read_candidates(word: &str) -> Box<[Candidate]> {
    let kinds = (0..).zip(word.split('/'));
    let all = kinds.flat_map(|(reserve, names)| names.split("").map(move |name| (reserve, name)));
    let one = |(reserve, name)| Candidate { backend: backend_id(name), model: ModelId(0), reserve };
    all.filter(|(_, name)| !name.is_empty()).map(one).collect()
}

/// A block of 1,000 tokens for each letter; large ones are the assistant's.
fn chain(text: &str) -> Chain {
    let mut hash = 0u64;
    Chain::new(text.bytes().map(|byte| {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3).rotate_left(29);
        Block { hash, tokens: 1000, own: byte.is_ascii_uppercase() }
    }))
}

fn policy(word: &str) -> Policy {
    match word {
        "affinity" => Policy::CacheAffine,
        "priority" => Policy::Priority,
        "turns" => Policy::RoundRobin,
        "weights" => Policy::Weighted,
        "busy" => Policy::LeastBusy,
        "latency" => Policy::LowestLatency,
        "tokens" => Policy::TokenAware,
        "long" => Policy::LongWaits,
        _ => panic!("policy {word}"),
    }
}

fn say(decision: &Decision, arrivals: &BTreeMap<TicketId, Arrival>) -> String {
    match decision {
        Decision::Start { ticket, candidate, backend, slot } => {
            let named = arrivals[ticket].candidates[usize::from(*candidate)].backend;
            assert_eq!(named, *backend, "the candidate is the backend");
            format!("start {} {}{}", ticket.0, name(*backend), slot.0)
        }
        Decision::Refuse { ticket, why } => {
            let why = match why {
                Refusal::QueueFull { waiting, retry_after } => {
                    format!("full {waiting}{}", back(*retry_after))
                }
                Refusal::Deadline { waited, retry_after } => {
                    format!("deadline {}{}", waited.0 / 1000, back(*retry_after))
                }
                Refusal::TooLong { estimate, limit } => format!("long {estimate} {limit}"),
                Refusal::NoCandidate => "none".into(),
                Refusal::Unhealthy => "unhealthy".into(),
                Refusal::Draining => "draining".into(),
                Refusal::Resting { retry_after } => format!("resting{}", back(*retry_after)),
                Refusal::Exhausted { tried, budget: false } => format!("exhausted {tried}"),
                Refusal::Exhausted { tried, budget: true } => format!("exhausted {tried} by the budget"),
                Refusal::Spare => "spare".into(),
                Refusal::Closing { retry_after } => format!("closing{}", back(*retry_after)),
            };
            format!("refuse {} {why}", ticket.0)
        }
    }
}

fn back(retry_after: Span) -> String {
    format!(" back {}", retry_after.0 / 1000)
}

fn number(words: &mut SplitWhitespace) -> u64 {
    words.next().unwrap().parse().unwrap()
}

fn backend_id(name: &str) -> BackendId {
    BackendId(u32::from(name.as_bytes()[0] - b'a'))
}

fn name(backend: BackendId) -> char {
    char::from(b'a' + backend.0 as u8)
}
