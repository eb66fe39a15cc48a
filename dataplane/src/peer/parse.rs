//! Messages of the wire as the core has them: bounded, whole and named, or refused.

use std::sync::Arc;

use proto::v1::{self, peer_down, peer_then, peer_up};
use sched::permit::{
    Down, HELD_MAX, Holding, Incarnation, LINE_MAX, Member, Permit, TICKET_BLOCKS_MAX, TICKET_CANDIDATES_MAX,
    Term, Then, Ticket, Up, Wants,
};
use sched::{
    Asked, BackendId, Block, Candidate, Chain, Class, Digest, End, Key, MARKS_MAX, Mark, ModelId, Outcome,
    Policy, Refusal, SlotId, Span, TRIES_MAX, TicketId, Usage,
};

use super::words::Word as _;
use super::{Fault, Names};

/// What a data plane tells the lead; `None`: a message of a later version, of which nothing is known here.
pub fn up(message: v1::PeerUp, names: &Names) -> Result<Option<Up>, Fault> {
    let Some(message) = message.message else { return Ok(None) };
    Ok(Some(match message {
        peer_up::Message::Hello(hello) => Up::Hello {
            member: Member {
                plane: names.known(&hello.plane_id).ok_or(Fault::Unknown("the data plane"))?,
                incarnation: Incarnation(hello.incarnation),
            },
            heard: Term(hello.heard),
            attempt: hello.attempt,
        },
        peer_up::Message::Report(report) => {
            within(report.held.len(), HELD_MAX, "permits")?;
            let held = report.held.into_iter().map(|holding| self::holding(holding, names));
            Up::Report { held: held.collect::<Result<_, Fault>>()? }
        }
        peer_up::Message::Ticket(ticket) => Up::Ticket(self::ticket(ticket, names)?),
        peer_up::Message::Started(started) => Up::Started {
            permit: permit(started.permit, names)?,
            ticket: TicketId(started.ticket),
            wants: started.wants.map(|wants| self::wants(wants, names).map(Arc::new)).transpose()?,
        },
        peer_up::Message::FirstToken(first) => Up::FirstToken { ticket: TicketId(first.ticket) },
        peer_up::Message::Done(done) => Up::Done {
            permit: permit(done.permit, names)?,
            ticket: TicketId(done.ticket),
            outcome: Outcome::of(done.outcome),
            usage: usage(done.usage.unwrap_or_default()),
            then: then(done.then)?,
        },
        peer_up::Message::Failed(failed) => Up::Failed {
            permit: permit(failed.permit, names)?,
            ticket: TicketId(failed.ticket),
            fault: fault(failed.fault, failed.retry_after_us),
            sent: failed.sent,
            then: then(failed.then)?,
        },
        peer_up::Message::Release(of) => Up::Release { permit: permit(Some(of), names)? },
        peer_up::Message::Cancel(cancel) => Up::Cancel { ticket: TicketId(cancel.ticket) },
    }))
}

/// What the lead tells a data plane; `None` as of `up`.
pub fn down(message: v1::PeerDown, names: &Names) -> Result<Option<Down>, Fault> {
    let Some(message) = message.message else { return Ok(None) };
    Ok(Some(match message {
        peer_down::Message::Welcome(welcome) => Down::Welcome { term: Term(welcome.term) },
        peer_down::Message::Grant(grant) => Down::Grant {
            term: Term(grant.term),
            permit: permit(grant.permit, names)?,
            ticket: TicketId(grant.ticket),
        },
        peer_down::Message::Park(park) => {
            Down::Park { term: Term(park.term), permit: permit(park.permit, names)? }
        }
        peer_down::Message::Next(next) => {
            Down::Next { permit: permit(next.permit, names)?, ticket: TicketId(next.ticket) }
        }
        peer_down::Message::Line(line) => {
            within(line.next.len(), LINE_MAX, "tickets in a line")?;
            Down::Line {
                backend: number(&line.backend, names)?,
                next: line.next.into_iter().map(|next| next.checked_sub(1).map(TicketId)).collect(),
                contended: line.contended,
            }
        }
        peer_down::Message::Revoke(of) => Down::Revoke { permit: permit(Some(of), names)? },
        peer_down::Message::Digest(digest) => Down::Digest(Box::new(self::digest(digest, names)?)),
        peer_down::Message::Refuse(refuse) => {
            Down::Refuse { ticket: TicketId(refuse.ticket), why: refusal(refuse) }
        }
    }))
}

fn within(count: usize, most: usize, what: &'static str) -> Result<(), Fault> {
    if count <= most { Ok(()) } else { Err(Fault::TooMany(what)) }
}

fn number(backend: &str, names: &Names) -> Result<BackendId, Fault> {
    names.backend(backend).ok_or(Fault::Unknown("the backend"))
}

fn permit(permit: Option<v1::Permit>, names: &Names) -> Result<Permit, Fault> {
    let permit = permit.ok_or(Fault::Missing("the permit"))?;
    Ok(Permit { backend: number(&permit.backend, names)?, slot: SlotId(permit.slot) })
}

fn holding(holding: v1::PeerHolding, names: &Names) -> Result<Holding, Fault> {
    let permit = permit(holding.permit, names)?;
    let running = match holding.ticket {
        None => None,
        Some(ticket) => {
            let wants = self::wants(holding.wants.ok_or(Fault::Missing("what runs"))?, names)?;
            Some((TicketId(ticket), Arc::new(wants)))
        }
    };
    Ok(Holding { permit, running })
}

fn ticket(ticket: v1::PeerTicket, names: &Names) -> Result<Ticket, Fault> {
    within(ticket.tried.len(), TRIES_MAX, "backends tried")?;
    let wants = ticket.wants.ok_or(Fault::Missing("what the ticket wants"))?;
    Ok(Ticket {
        id: TicketId(ticket.ticket),
        age: Span(ticket.age_us),
        patience: Span(ticket.patience_us),
        wants: Arc::new(self::wants(wants, names)?),
        tried: ticket.tried.iter().map(|name| number(name, names)).collect::<Result<_, Fault>>()?,
    })
}

fn wants(wants: v1::PeerWants, names: &Names) -> Result<Wants, Fault> {
    within(wants.prompt.len(), TICKET_BLOCKS_MAX, "blocks")?;
    within(wants.candidates.len(), TICKET_CANDIDATES_MAX, "candidates")?;
    let block = |block: v1::PeerBlock| Block { hash: block.hash, tokens: block.tokens, own: block.own };
    let candidate = |candidate: v1::PeerCandidate| {
        Ok(Candidate {
            backend: number(&candidate.backend, names)?,
            model: ModelId(candidate.model),
            reserve: u8::try_from(candidate.reserve).unwrap_or(u8::MAX),
        })
    };
    Ok(Wants {
        key: Key(wants.key),
        asked: Asked(wants.asked),
        weight: u16::try_from(wants.weight).unwrap_or(u16::MAX),
        class: Class::of(wants.class),
        prompt_tokens: wants.prompt_tokens,
        prompt: Chain::new(wants.prompt.into_iter().map(block)),
        policy: Policy::of(wants.policy),
        candidates: wants.candidates.into_iter().map(candidate).collect::<Result<_, Fault>>()?,
    })
}

fn digest(digest: v1::PeerDigest, names: &Names) -> Result<Digest, Fault> {
    within(digest.marks.len(), MARKS_MAX, "points of a prompt")?;
    let marks = digest.marks.iter().zip(&digest.ends);
    Ok(Digest {
        backend: number(&digest.backend, names)?,
        model: ModelId(digest.model),
        key: Key(digest.key),
        asked: Asked(digest.asked),
        marks: marks.map(|(hash, tokens)| Mark { hash: *hash, tokens: *tokens }).collect(),
        tokens: digest.tokens,
        thought: digest.thought,
        disturbed: digest.disturbed,
        first: digest.first_us.map(Span),
        took: Span(digest.took_us),
        usage: usage(digest.usage.unwrap_or_default()),
    })
}

fn then(then: Option<v1::PeerThen>) -> Result<Then, Fault> {
    match then.and_then(|then| then.then).ok_or(Fault::Missing("what becomes of the permit"))? {
        peer_then::Then::Park(_) => Ok(Then::Park),
        peer_then::Then::Release(_) => Ok(Then::Release),
        peer_then::Then::Next(ticket) => Ok(Then::Next(TicketId(ticket))),
    }
}

fn usage(usage: v1::PeerUsage) -> Usage {
    Usage {
        cached: usage.cached,
        prompt: usage.prompt,
        output: usage.output,
        prefill: usage.prefill_us.map(Span),
        end: End::of(usage.end),
    }
}

fn fault(fault: i32, retry_after_us: Option<u64>) -> sched::Fault {
    match v1::PeerFault::try_from(fault).unwrap_or_default() {
        v1::PeerFault::Connect => sched::Fault::Connect,
        v1::PeerFault::Refused => sched::Fault::Refused,
        v1::PeerFault::Reset => sched::Fault::Reset,
        v1::PeerFault::Timeout => sched::Fault::Timeout,
        v1::PeerFault::Slow => sched::Fault::Slow,
        v1::PeerFault::Status => sched::Fault::Status,
        v1::PeerFault::Answer => sched::Fault::Answer,
        v1::PeerFault::Limited => sched::Fault::Limited { retry_after: retry_after_us.map(Span) },
    }
}

fn refusal(refuse: v1::PeerRefuse) -> Refusal {
    let retry_after = Span(refuse.retry_after_us);
    let count = usize::try_from(refuse.count).unwrap_or(usize::MAX);
    match v1::PeerWhy::try_from(refuse.why).unwrap_or_default() {
        v1::PeerWhy::QueueFull => Refusal::QueueFull { waiting: count, retry_after },
        v1::PeerWhy::Deadline => Refusal::Deadline { waited: Span(refuse.waited_us), retry_after },
        v1::PeerWhy::TooLong => Refusal::TooLong {
            estimate: u32::try_from(refuse.count).unwrap_or(u32::MAX),
            limit: refuse.limit,
        },
        v1::PeerWhy::NoCandidate => Refusal::NoCandidate,
        v1::PeerWhy::Unhealthy => Refusal::Unhealthy,
        v1::PeerWhy::Draining => Refusal::Draining,
        v1::PeerWhy::Resting => Refusal::Resting { retry_after },
        v1::PeerWhy::Exhausted => Refusal::Exhausted { tried: count, budget: refuse.budget },
        v1::PeerWhy::Spare => Refusal::Spare,
        v1::PeerWhy::Closing => Refusal::Closing { retry_after },
    }
}
