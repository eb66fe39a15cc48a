//! Who takes part in a term: greeting, streams, reports still missing, proofs of death.

use std::collections::{BTreeMap, BTreeSet};

use super::books::Place;
use super::permits::State;
use super::{Act, Lead, Order, StreamId};
use crate::permit::{Down, Flaw, Incarnation, MEMBERS_MAX, Member, PlaneId, Roll, Term};
use crate::{Moment, Span};

/// A data plane that has said hello.
#[derive(Debug)]
struct Seat {
    incarnation: Incarnation,
    stream: Option<StreamId>,
    attempt: u64,
    reported: bool,
    welcomed: Moment,
    /// Half the time from the welcome to the report.
    lag: Span,
}

/// At most `MEMBERS_MAX` seats, and one stream of each that counts.
#[derive(Debug)]
pub(super) struct Members {
    roll: Roll,
    seats: BTreeMap<PlaneId, Seat>,
    streams: BTreeMap<StreamId, Member>,
    /// Nothing changes hands before all of these have reported by this term, or are dead.
    pub(super) unreported: BTreeSet<Member>,
}

impl Members {
    pub(super) fn new(roll: Roll) -> Self {
        let member = |(plane, incarnation): (&PlaneId, &Incarnation)| Member {
            plane: *plane,
            incarnation: *incarnation,
        };
        let unreported = roll.iter().map(member).collect();
        Members { roll, seats: BTreeMap::new(), streams: BTreeMap::new(), unreported }
    }

    pub(super) fn of(&self, stream: StreamId) -> Option<Member> {
        self.streams.get(&stream).copied()
    }

    pub(super) fn stream(&self, plane: PlaneId) -> Option<StreamId> {
        self.seats.get(&plane)?.stream
    }

    /// Whether it is there and has said what it holds.
    pub(super) fn reported(&self, plane: PlaneId) -> bool {
        self.seats.get(&plane).is_some_and(|seat| seat.reported)
    }

    /// Those that are there and have said what they hold.
    pub(super) fn all(&self) -> impl Iterator<Item = PlaneId> {
        self.seats.iter().filter(|(_, seat)| seat.reported).map(|(plane, _)| *plane)
    }

    /// Those of the roll that have no stream.
    pub(super) fn absent(&self) -> impl Iterator<Item = Member> {
        let members = self.roll.iter().map(|(plane, of)| Member { plane: *plane, incarnation: *of });
        members.filter(|member| {
            let seat = self.seats.get(&member.plane).filter(|seat| seat.incarnation == member.incarnation);
            seat.is_none_or(|seat| seat.stream.is_none())
        })
    }

    pub(super) fn lag(&self, plane: PlaneId) -> Span {
        self.seats.get(&plane).map_or(Span::ZERO, |seat| seat.lag)
    }

    /// Whether it is registered, as far as pictures of this term say: its row was durable before any later term.
    fn lists(&self, member: Member) -> bool {
        self.roll.get(&member.plane) == Some(&member.incarnation)
    }

    /// It has reported.
    pub(super) fn report(&mut self, member: Member, now: Moment) {
        if let Some(seat) = self.seats.get_mut(&member.plane) {
            seat.reported = true;
            seat.lag = Span(now.since(seat.welcomed).0 / 2);
        }
        self.unreported.remove(&member);
    }
}

impl<O: Order> Lead<O> {
    pub(super) fn hello(
        &mut self,
        now: Moment,
        stream: StreamId,
        (member, heard, attempt): (Member, Term, u64),
        out: &mut Vec<Act>,
    ) {
        if heard > self.term && !self.planted.is(Flaw::NoTermCheck) {
            return self.step_down(out);
        }
        let Member { plane, incarnation } = member;
        let full = self.members.seats.len() >= MEMBERS_MAX && !self.members.seats.contains_key(&plane);
        if full || (!self.members.lists(member) && !self.planted.is(Flaw::LateRow)) {
            return out.push(Act::Close { stream });
        }
        let old = self.planted.is(Flaw::OldStreams);
        if let Some(seat) = self.members.seats.get(&plane) {
            if seat.incarnation == incarnation && attempt <= seat.attempt && !old {
                return out.push(Act::Close { stream });
            }
            if let Some(earlier) = seat.stream.filter(|_| !old) {
                self.members.streams.remove(&earlier);
                self.lose(now, plane);
                out.push(Act::Close { stream: earlier });
            }
        }
        let seat = Seat {
            incarnation,
            stream: Some(stream),
            attempt,
            reported: false,
            welcomed: now,
            lag: Span::ZERO,
        };
        self.members.seats.insert(plane, seat);
        self.members.streams.insert(stream, member);
        self.send(plane, Down::Welcome { term: self.term }, out);
    }

    pub(super) fn closed(&mut self, now: Moment, stream: StreamId) {
        let Some(member) = self.members.streams.remove(&stream) else { return };
        if self.members.stream(member.plane) == Some(stream) {
            self.lose(now, member.plane);
            if self.planted.is(Flaw::ReclaimOnBreak) {
                self.vacate(now, member.plane);
            }
        }
    }

    pub(super) fn picture(&mut self, now: Moment, term: Term, roll: Roll, out: &mut Vec<Act>) {
        let hears = self.planted.is(Flaw::Unfenced) || self.planted.is(Flaw::LateProof);
        if term > self.term && !hears {
            return self.step_down(out);
        }
        if term < self.term {
            return;
        }
        let mut roll = roll;
        if self.planted.is(Flaw::LateProof) && term > self.term {
            roll.retain(|plane, incarnation| self.members.roll.get(plane) == Some(incarnation));
        }
        let before = std::mem::replace(&mut self.members.roll, roll);
        for (plane, incarnation) in before {
            let after = self.members.roll.get(&plane).copied();
            if after.is_none_or(|after| after > incarnation) {
                self.dead(now, Member { plane, incarnation }, after, out);
            }
        }
    }

    /// It is proven dead, and so are its earlier incarnations: what they held is free. A later one that took its place
    /// before it reported reports in its stead: it may have resumed what this term does not know of.
    fn dead(&mut self, now: Moment, member: Member, heir: Option<Incarnation>, out: &mut Vec<Act>) {
        let Member { plane, incarnation } = member;
        if self.members.seats.get(&plane).is_none_or(|seat| seat.incarnation <= incarnation) {
            if let Some(stream) = self.members.stream(plane) {
                self.members.streams.remove(&stream);
                self.lose(now, plane);
                out.push(Act::Close { stream });
            }
            self.members.seats.remove(&plane);
            self.vacate(now, plane);
        }
        if self.members.unreported.remove(&member) {
            if let Some(incarnation) = heir.filter(|_| !self.members.reported(plane)) {
                self.members.unreported.insert(Member { plane, incarnation });
            }
            if self.members.unreported.is_empty() {
                self.weigh_all(now);
            }
        }
    }

    /// The stream of a data plane is gone. What it holds stays its own; what was on its way comes to nothing.
    fn lose(&mut self, now: Moment, plane: PlaneId) {
        if let Some(seat) = self.members.seats.get_mut(&plane) {
            seat.stream = None;
            seat.reported = false;
        }
        for (number, place) in self.books.of(plane) {
            match place {
                Place::Runs(_) => continue,
                Place::Bound(permit) => self.unbind(permit),
                Place::Waits => {}
            }
            self.touch(number);
            self.order.cancel(now, number);
            self.books.remove(number);
        }
        for permit in self.at(plane) {
            if let Some(number) = self.bound(permit) {
                self.unbind(permit);
                self.back(now, number);
            }
        }
        self.forget_lines(plane);
        self.weigh_all(now);
    }

    /// A data plane holds nothing any more.
    fn vacate(&mut self, now: Moment, plane: PlaneId) {
        for permit in self.at(plane) {
            if let Some(State::Busy(number)) = self.state(permit)
                && self.books.get(number).is_some_and(|entry| entry.place == Place::Runs(permit))
            {
                self.books.remove(number);
                self.order.finish(now, number, crate::Outcome::Aborted, crate::Usage::default());
            }
            self.free(permit, None);
        }
        self.weigh_all(now);
    }
}
