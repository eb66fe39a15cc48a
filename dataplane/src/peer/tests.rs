//! Every message comes back from the wire as it was, and what no sender sends is refused.

mod streams;

use std::sync::Arc;

use prost::Message as _;
use proto::v1::{self, peer_down, peer_up};
use sched::permit::{
    DIGEST_BYTES, Down, Holding, Incarnation, LINE_MAX, Member, Permit, PlaneId, TICKET_BLOCKS_MAX, Term,
    Then, Ticket, Up, Wants,
};
use sched::{
    Asked, BackendId, Block, Candidate, Chain, Class, Digest, End, Key, MARKS_MAX, Mark, ModelId, Outcome,
    Policy, Refusal, SlotId, Span, TicketId, Usage,
};

use super::{Fault, Names, parse, render};

fn named() -> Names {
    let names = Names::default();
    for (number, name) in (0..).zip(["box", "small"]) {
        assert_eq!(names.backend(name), Some(BackendId(number)));
        assert_eq!(names.plane(name), Some(PlaneId(number)));
    }
    names
}

const PERMIT: Permit = Permit { backend: BackendId(1), slot: SlotId(3) };
const TICKET: TicketId = TicketId(u64::MAX >> 1);

fn wants(policy: Policy, class: Class) -> Arc<Wants> {
    let block = |at: u64| Block { hash: at << 40, tokens: 7 * at as u32, own: at % 2 == 1 };
    let candidate = |backend: u32| Candidate {
        backend: BackendId(backend),
        model: ModelId(u32::MAX - backend),
        reserve: 3,
    };
    Arc::new(Wants {
        key: Key(u64::MAX),
        asked: Asked(5),
        weight: 9,
        class,
        prompt_tokens: 12,
        prompt: Chain::new((1..40).map(block)),
        policy,
        candidates: (0..2).map(candidate).collect(),
    })
}

fn ups() -> Vec<Up> {
    let plain = wants(Policy::CacheAffine, Class::Normal);
    let member = Member { plane: PlaneId(1), incarnation: Incarnation(4) };
    let ticket = |wants: &Arc<Wants>| Ticket {
        id: TICKET,
        age: Span(5),
        patience: Span(u64::MAX),
        wants: wants.clone(),
        tried: vec![BackendId(0)],
    };
    let mut ups = vec![
        Up::Hello { member, heard: Term(8), attempt: 2 },
        Up::Report { held: Vec::new() },
        Up::Report {
            held: vec![
                Holding { permit: PERMIT, running: None },
                Holding { permit: PERMIT, running: Some((TICKET, plain.clone())) },
            ],
        },
        Up::Ticket(ticket(&plain)),
        Up::Started { permit: PERMIT, ticket: TICKET, wants: None },
        Up::Started { permit: PERMIT, ticket: TICKET, wants: Some(plain) },
        Up::FirstToken { ticket: TICKET },
        Up::Release { permit: PERMIT },
        Up::Cancel { ticket: TICKET },
    ];
    for policy in [Policy::Priority, Policy::RoundRobin, Policy::Weighted, Policy::LeastBusy] {
        ups.push(Up::Ticket(ticket(&wants(policy, Class::Interactive))));
    }
    for policy in [Policy::LowestLatency, Policy::TokenAware, Policy::LongWaits] {
        ups.push(Up::Ticket(ticket(&wants(policy, Class::Batch))));
    }
    let usage =
        Usage { cached: Some(0), prompt: Some(9), output: None, prefill: Some(Span(7)), end: End::Tool };
    let ends = [
        (Outcome::Done, usage, Then::Park),
        (Outcome::Failed, Usage::default(), Then::Release),
        (Outcome::Aborted, Usage { end: End::Turn, ..usage }, Then::Next(TicketId(0))),
        (Outcome::Unsent, usage, Then::Park),
    ];
    for (outcome, usage, then) in ends {
        ups.push(Up::Done { permit: PERMIT, ticket: TICKET, outcome, usage, then });
    }
    let after = Some(Span(3));
    for fault in [
        sched::Fault::Connect,
        sched::Fault::Refused,
        sched::Fault::Reset,
        sched::Fault::Timeout,
        sched::Fault::Slow,
        sched::Fault::Status,
        sched::Fault::Answer,
        sched::Fault::Limited { retry_after: None },
        sched::Fault::Limited { retry_after: after },
    ] {
        ups.push(Up::Failed { permit: PERMIT, ticket: TICKET, fault, sent: true, then: Then::Release });
    }
    ups
}

fn downs() -> Vec<Down> {
    let mut downs = vec![
        Down::Welcome { term: Term(u64::MAX) },
        Down::Grant { term: Term(1), permit: PERMIT, ticket: TICKET },
        Down::Park { term: Term(1), permit: PERMIT },
        Down::Next { permit: PERMIT, ticket: TicketId(0) },
        Down::Line { backend: BackendId(0), next: Vec::new(), contended: false },
        Down::Line {
            backend: BackendId(0),
            next: vec![None, Some(TICKET), Some(TicketId(0))],
            contended: true,
        },
        Down::Revoke { permit: PERMIT },
    ];
    downs.push(Down::Digest(Box::new(digest())));
    let retry_after = Span(11);
    for why in [
        Refusal::QueueFull { waiting: 3, retry_after },
        Refusal::Deadline { waited: Span(2), retry_after },
        Refusal::TooLong { estimate: 5, limit: 4 },
        Refusal::NoCandidate,
        Refusal::Unhealthy,
        Refusal::Draining,
        Refusal::Resting { retry_after },
        Refusal::Exhausted { tried: 2, budget: true },
        Refusal::Spare,
        Refusal::Closing { retry_after },
    ] {
        downs.push(Down::Refuse { ticket: TICKET, why });
    }
    downs
}

/// As large as one of a prompt becomes.
fn digest() -> Digest {
    let mark = |at: u64| Mark { hash: u64::MAX - at, tokens: 100_000 + at as u32 };
    Digest {
        backend: PERMIT.backend,
        model: ModelId(u32::MAX),
        key: Key(7),
        asked: Asked(8),
        marks: (0..MARKS_MAX as u64).map(mark).collect(),
        tokens: 120_000,
        thought: 119_000,
        disturbed: true,
        first: Some(Span(900_000)),
        took: Span(9_000_000),
        usage: Usage { cached: Some(118_000), prompt: Some(121_000), output: Some(900), ..Usage::default() },
    }
}

#[test]
fn a_digest_is_as_small_as_it_is_taken_to_be() {
    let bytes = render::down(&Down::Digest(Box::new(digest())), &named()).unwrap().encode_to_vec();
    assert!(bytes.len() as u64 <= DIGEST_BYTES, "{} bytes", bytes.len());
}

#[test]
fn every_message_comes_back_as_it_was() {
    let names = named();
    for message in ups() {
        let bytes = render::up(&message, &names).unwrap().encode_to_vec();
        let read = v1::PeerUp::decode(bytes.as_slice()).unwrap();
        assert_eq!(parse::up(read, &names), Ok(Some(message)));
    }
    for message in downs() {
        let bytes = render::down(&message, &names).unwrap().encode_to_vec();
        let read = v1::PeerDown::decode(bytes.as_slice()).unwrap();
        assert_eq!(parse::down(read, &names), Ok(Some(message)));
    }
}

#[test]
fn a_long_prompt_is_cut_to_what_a_ticket_carries() {
    let names = named();
    let block = |at: u64| Block { hash: at, tokens: 1, own: false };
    let long = Wants {
        prompt: Chain::new((0..1_000).map(block)),
        ..Wants::clone(&wants(Policy::CacheAffine, Class::Normal))
    };
    let started = Up::Started { permit: PERMIT, ticket: TICKET, wants: Some(Arc::new(long)) };
    let message = render::up(&started, &names).unwrap();
    assert!(message.encoded_len() < 4_000, "{} bytes", message.encoded_len());
    let Ok(Some(Up::Started { wants: Some(read), .. })) = parse::up(message, &names) else {
        panic!("it is taken in");
    };
    assert_eq!(read.prompt.blocks().count(), TICKET_BLOCKS_MAX);
}

#[test]
fn what_no_sender_sends_is_refused() {
    let names = named();
    let up = |message| v1::PeerUp { message: Some(message) };
    let nowhere = v1::Permit { backend: String::new(), slot: 0 };
    let crowd = v1::PeerWants { prompt: vec![v1::PeerBlock::default(); 257], ..Default::default() };
    let ticket = |wants| peer_up::Message::Ticket(v1::PeerTicket { wants, ..Default::default() });
    for (message, fault) in [
        (peer_up::Message::Release(nowhere), Fault::Unknown("the backend")),
        (peer_up::Message::Done(v1::PeerDone::default()), Fault::Missing("the permit")),
        (ticket(None), Fault::Missing("what the ticket wants")),
        (ticket(Some(crowd)), Fault::TooMany("blocks")),
    ] {
        assert_eq!(parse::up(up(message), &names), Err(fault));
    }
    let next = vec![0; LINE_MAX + 1];
    let line = v1::PeerLine { backend: "box".to_owned(), next, contended: false };
    let line = v1::PeerDown { message: Some(peer_down::Message::Line(line)) };
    assert_eq!(parse::down(line, &names), Err(Fault::TooMany("tickets in a line")));
    let crowd = v1::PeerDigest { marks: vec![1; MARKS_MAX + 1], ..Default::default() };
    let crowd = v1::PeerDown { message: Some(peer_down::Message::Digest(crowd)) };
    assert_eq!(parse::down(crowd, &names), Err(Fault::TooMany("points of a prompt")));
    assert_eq!(parse::up(v1::PeerUp::default(), &names), Ok(None));
}
