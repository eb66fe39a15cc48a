//! Questions to the core, and its answers in words.

use sched::lead::Order;
use sched::permit::Wants;
use sched::{Arrival, Breaker, Health, Moment, Scheduler, Span, TicketId};

use super::{SplitWhitespace, backend_id, name, number, read_arrival};

pub(super) fn ask(core: &mut Scheduler, question: &str) -> String {
    let mut words = question.split_whitespace();
    match words.next().unwrap() {
        "next" => core.next_wake().map_or("never".into(), |moment| (moment.0 / 1000).to_string()),
        "position" => {
            let position = core.position(TicketId(number(&mut words)));
            position.map_or("none".into(), |ahead| ahead.to_string())
        }
        "outlook" => {
            let outlook = core.outlook(TicketId(number(&mut words)));
            outlook.map_or("none".into(), |it| format!("{} in {}", it.position, it.expected.0 / 1000))
        }
        "prefill" => {
            let tps = core.prefill_tps(TicketId(number(&mut words)));
            tps.map_or("none".into(), |tps| tps.to_string())
        }
        "cached" => {
            let expected = core.expected(TicketId(number(&mut words)));
            expected.map_or("none".into(), |expected| expected.cached.to_string())
        }
        "held" => {
            let held = core.held();
            let runs =
                held.runs.iter().map(|(ticket, of, slot)| format!("{} {}{}", ticket.0, name(*of), slot.0));
            let cools = held.cooling.iter();
            let cools =
                cools.map(|(until, of, slot)| format!("{}{} until {}", name(*of), slot.0, until.0 / 1000));
            runs.chain(cools).collect::<Vec<_>>().join(", ")
        }
        "unasked" => {
            let wants = read_wants(words);
            core.unasked(Moment::default(), &wants, true).into_iter().map(name).collect()
        }
        "taste" => {
            let backend = backend_id(words.next().unwrap());
            let (tps, prefix) = core.taste(&read_wants(words), backend);
            format!("{tps:?} {:?}", prefix.map(|prefix| (prefix.cached, prefix.prompt)))
        }
        "front" => {
            let front = core.front(backend_id(words.next().unwrap()), 9);
            front.iter().map(|ticket| ticket.0.to_string()).collect::<Vec<_>>().join(" ")
        }
        "weighed" => core.evaluations().to_string(),
        "retries" => core.view().retries.to_string(),
        "breaker" => {
            let view = core.view().backends[&backend_id(words.next().unwrap())];
            let health = match view.health {
                Health::Healthy => "",
                Health::Unhealthy => "down, ",
                Health::Unknown => "unknown, ",
            };
            format!("{health}{}", say_breaker(&view.breaker))
        }
        backend => match core.view().backends.get(&backend_id(backend)) {
            None => "gone".into(),
            Some(view) => format!(
                "{}/{} busy, {} cooling, {} streaming, {} waiting{}{}",
                view.busy,
                view.slots,
                view.cooling,
                view.streaming,
                view.waiting,
                if view.present { "" } else { ", left" },
                if view.drained { ", drained" } else { "" },
            ),
        },
    }
}

fn say_breaker(breaker: &Breaker) -> String {
    let Breaker { state, rest, limited, cause } = breaker;
    let mut said = format!("{state:?}").to_lowercase();
    for (name, span) in [("", rest), ("limited ", limited)] {
        if *span > Span::ZERO {
            said += &format!(" {name}{}", span.0 / 1000);
        }
    }
    match cause {
        Some(cause) => format!("{said} {cause:?}"),
        None => said,
    }
}

fn read_wants(words: SplitWhitespace) -> Wants {
    let words = format!("0 {}", words.collect::<Vec<_>>().join(" "));
    let Arrival { key, weight, class, prompt_tokens, asked, prompt, policy, candidates, .. } =
        read_arrival(words.split_whitespace());
    Wants { key, weight, class, prompt_tokens, asked, prompt, policy, candidates }
}
