//! Messages of the core as the wire has them.

use proto::v1::{self, peer_down, peer_then, peer_up};
use sched::permit::{
    Down, HELD_MAX, Holding, Permit, TICKET_BLOCKS_MAX, TICKET_CANDIDATES_MAX, Then, Ticket, Up, Wants,
};
use sched::{BackendId, Digest, MARKS_MAX, Refusal, Span, Usage};

use super::words::Word as _;
use super::{Fault, Names};

/// What a data plane tells the lead. A prompt and its candidates are cut to what a ticket carries at most.
pub fn up(message: &Up, names: &Names) -> Result<v1::PeerUp, Fault> {
    let permit = |of: &Permit| permit(*of, names);
    let message = match message {
        Up::Hello { member, heard, attempt } => peer_up::Message::Hello(v1::PeerHello {
            plane_id: names.plane_name(member.plane).ok_or(Fault::Unknown("the data plane"))?.to_string(),
            incarnation: member.incarnation.0,
            heard: heard.0,
            attempt: *attempt,
        }),
        Up::Report { held } => {
            let held = held.iter().take(HELD_MAX).map(|holding| self::holding(holding, names));
            peer_up::Message::Report(v1::PeerReport { held: held.collect::<Result<_, Fault>>()? })
        }
        Up::Ticket(ticket) => peer_up::Message::Ticket(self::ticket(ticket, names)?),
        Up::Started { permit: of, ticket, wants } => peer_up::Message::Started(v1::PeerStarted {
            permit: Some(permit(of)?),
            ticket: ticket.0,
            wants: wants.as_ref().map(|wants| self::wants(wants, names)).transpose()?,
        }),
        Up::FirstToken { ticket } => peer_up::Message::FirstToken(v1::PeerFirstToken { ticket: ticket.0 }),
        Up::Done { permit: of, ticket, outcome, usage, then } => peer_up::Message::Done(v1::PeerDone {
            permit: Some(permit(of)?),
            ticket: ticket.0,
            outcome: outcome.number(),
            usage: Some(self::usage(usage)),
            then: Some(self::then(*then)),
        }),
        Up::Failed { permit: of, ticket, fault, sent, then } => {
            let (fault, retry_after_us) = self::fault(*fault);
            peer_up::Message::Failed(v1::PeerFailed {
                permit: Some(permit(of)?),
                ticket: ticket.0,
                fault: fault as i32,
                retry_after_us,
                sent: *sent,
                then: Some(self::then(*then)),
            })
        }
        Up::Release { permit: of } => peer_up::Message::Release(permit(of)?),
        Up::Cancel { ticket } => peer_up::Message::Cancel(v1::PeerCancel { ticket: ticket.0 }),
    };
    Ok(v1::PeerUp { message: Some(message) })
}

/// What the lead tells a data plane.
pub fn down(message: &Down, names: &Names) -> Result<v1::PeerDown, Fault> {
    let permit = |of: &Permit| permit(*of, names);
    let message = match message {
        Down::Welcome { term } => peer_down::Message::Welcome(v1::PeerWelcome { term: term.0 }),
        Down::Grant { term, permit: of, ticket } => peer_down::Message::Grant(v1::PeerGrant {
            term: term.0,
            permit: Some(permit(of)?),
            ticket: ticket.0,
        }),
        Down::Park { term, permit: of } => {
            peer_down::Message::Park(v1::PeerPark { term: term.0, permit: Some(permit(of)?) })
        }
        Down::Next { permit: of, ticket } => {
            peer_down::Message::Next(v1::PeerNext { permit: Some(permit(of)?), ticket: ticket.0 })
        }
        Down::Line { backend, next, contended } => peer_down::Message::Line(v1::PeerLine {
            backend: name(*backend, names)?,
            next: next.iter().map(|ticket| ticket.map_or(0, |ticket| ticket.0.saturating_add(1))).collect(),
            contended: *contended,
        }),
        Down::Revoke { permit: of } => peer_down::Message::Revoke(permit(of)?),
        Down::Digest(digest) => peer_down::Message::Digest(self::digest(digest, names)?),
        Down::Refuse { ticket, why } => {
            peer_down::Message::Refuse(v1::PeerRefuse { ticket: ticket.0, ..refusal(*why) })
        }
    };
    Ok(v1::PeerDown { message: Some(message) })
}

fn name(backend: BackendId, names: &Names) -> Result<String, Fault> {
    Ok(names.backend_name(backend).ok_or(Fault::Unknown("the backend"))?.to_string())
}

fn permit(permit: Permit, names: &Names) -> Result<v1::Permit, Fault> {
    Ok(v1::Permit { backend: name(permit.backend, names)?, slot: permit.slot.0 })
}

fn holding(holding: &Holding, names: &Names) -> Result<v1::PeerHolding, Fault> {
    let running = holding.running.as_ref();
    Ok(v1::PeerHolding {
        permit: Some(permit(holding.permit, names)?),
        ticket: running.map(|(ticket, _)| ticket.0),
        wants: running.map(|(_, wants)| self::wants(wants, names)).transpose()?,
    })
}

fn ticket(ticket: &Ticket, names: &Names) -> Result<v1::PeerTicket, Fault> {
    Ok(v1::PeerTicket {
        ticket: ticket.id.0,
        age_us: ticket.age.0,
        patience_us: ticket.patience.0,
        wants: Some(wants(&ticket.wants, names)?),
        tried: ticket.tried.iter().map(|backend| name(*backend, names)).collect::<Result<_, Fault>>()?,
    })
}

fn wants(wants: &Wants, names: &Names) -> Result<v1::PeerWants, Fault> {
    let candidate = |candidate: &sched::Candidate| {
        Ok(v1::PeerCandidate {
            backend: name(candidate.backend, names)?,
            model: candidate.model.0,
            reserve: u32::from(candidate.reserve),
        })
    };
    let block =
        |block: sched::Block| v1::PeerBlock { hash: block.hash, tokens: block.tokens, own: block.own };
    let candidates = wants.candidates.iter().take(TICKET_CANDIDATES_MAX).map(candidate);
    Ok(v1::PeerWants {
        key: wants.key.0,
        asked: wants.asked.0,
        weight: u32::from(wants.weight),
        class: wants.class.number(),
        prompt_tokens: wants.prompt_tokens,
        prompt: wants.prompt.blocks().take(TICKET_BLOCKS_MAX).map(block).collect(),
        policy: wants.policy.number(),
        candidates: candidates.collect::<Result<_, Fault>>()?,
    })
}

fn digest(digest: &Digest, names: &Names) -> Result<v1::PeerDigest, Fault> {
    let marks = digest.marks.iter().take(MARKS_MAX);
    Ok(v1::PeerDigest {
        backend: name(digest.backend, names)?,
        model: digest.model.0,
        key: digest.key.0,
        asked: digest.asked.0,
        marks: marks.clone().map(|mark| mark.hash).collect(),
        ends: marks.map(|mark| mark.tokens).collect(),
        tokens: digest.tokens,
        thought: digest.thought,
        disturbed: digest.disturbed,
        first_us: digest.first.map(|span| span.0),
        took_us: digest.took.0,
        usage: Some(usage(&digest.usage)),
    })
}

fn then(then: Then) -> v1::PeerThen {
    let then = match then {
        Then::Park => peer_then::Then::Park(true),
        Then::Release => peer_then::Then::Release(true),
        Then::Next(ticket) => peer_then::Then::Next(ticket.0),
    };
    v1::PeerThen { then: Some(then) }
}

fn usage(usage: &Usage) -> v1::PeerUsage {
    v1::PeerUsage {
        cached: usage.cached,
        prompt: usage.prompt,
        output: usage.output,
        prefill_us: usage.prefill.map(|span| span.0),
        end: usage.end.number(),
    }
}

fn fault(fault: sched::Fault) -> (v1::PeerFault, Option<u64>) {
    let word = match fault {
        sched::Fault::Connect => v1::PeerFault::Connect,
        sched::Fault::Refused => v1::PeerFault::Refused,
        sched::Fault::Reset => v1::PeerFault::Reset,
        sched::Fault::Timeout => v1::PeerFault::Timeout,
        sched::Fault::Slow => v1::PeerFault::Slow,
        sched::Fault::Status => v1::PeerFault::Status,
        sched::Fault::Answer => v1::PeerFault::Answer,
        sched::Fault::Limited { retry_after } => {
            return (v1::PeerFault::Limited, retry_after.map(|span| span.0));
        }
    };
    (word, None)
}

fn refusal(why: Refusal) -> v1::PeerRefuse {
    let said = |why: v1::PeerWhy| v1::PeerRefuse { why: why as i32, ..v1::PeerRefuse::default() };
    let later = |why: v1::PeerWhy, after: Span| v1::PeerRefuse { retry_after_us: after.0, ..said(why) };
    match why {
        Refusal::QueueFull { waiting, retry_after } => {
            v1::PeerRefuse { count: waiting as u64, ..later(v1::PeerWhy::QueueFull, retry_after) }
        }
        Refusal::Deadline { waited, retry_after } => {
            v1::PeerRefuse { waited_us: waited.0, ..later(v1::PeerWhy::Deadline, retry_after) }
        }
        Refusal::TooLong { estimate, limit } => {
            v1::PeerRefuse { count: u64::from(estimate), limit, ..said(v1::PeerWhy::TooLong) }
        }
        Refusal::NoCandidate => said(v1::PeerWhy::NoCandidate),
        Refusal::Unhealthy => said(v1::PeerWhy::Unhealthy),
        Refusal::Draining => said(v1::PeerWhy::Draining),
        Refusal::Resting { retry_after } => later(v1::PeerWhy::Resting, retry_after),
        Refusal::Exhausted { tried, budget } => {
            v1::PeerRefuse { count: tried as u64, budget, ..said(v1::PeerWhy::Exhausted) }
        }
        Refusal::Spare => said(v1::PeerWhy::Spare),
        Refusal::Closing { retry_after } => later(v1::PeerWhy::Closing, retry_after),
    }
}
