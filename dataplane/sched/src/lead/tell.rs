//! What data planes tell of their permits and tickets.

use std::sync::Arc;

use super::books::Place;
use super::permits::{Spot, State};
use super::{Act, Lead, Order};
use crate::permit::{Down, Holding, Member, OPEN_MAX, PARK_AFTER, Permit, PlaneId, Then, Ticket, Wants};
use crate::{BackendId, Moment, RETRY_AFTER_MIN, Refusal, TicketId};

impl<O: Order> Lead<O> {
    /// What a data plane holds is its own, and nothing else is.
    pub(super) fn report(&mut self, now: Moment, member: Member, held: Vec<Holding>, out: &mut Vec<Act>) {
        let plane = member.plane;
        if self.members.reported(plane) {
            return;
        }
        self.members.report(member, now);
        let mut before = self.at(plane);
        for Holding { permit, running } in held {
            before.retain(|known| *known != permit);
            let state = match running {
                Some((id, wants)) => State::Busy(self.found(now, plane, permit, id, &wants)),
                None => State::Parked,
            };
            self.gone_from(now, permit, Some(state));
            self.set(permit, Some(Spot::new(plane, state)));
            if permit.slot.0 >= self.limit_of(permit.backend) {
                self.revoke(permit, out);
            }
        }
        for permit in before {
            self.gone_from(now, permit, None);
            self.free(permit, None);
        }
        self.weigh_all(now);
    }

    /// The number of what a data plane says it runs.
    fn found(
        &mut self,
        now: Moment,
        plane: PlaneId,
        permit: Permit,
        id: TicketId,
        wants: &Arc<Wants>,
    ) -> TicketId {
        match self.books.number(plane, id) {
            Some(number) => {
                if let Some(Place::Runs(known)) = self.books.get(number).map(|entry| entry.place)
                    && known.backend != permit.backend
                {
                    self.order.back(now, number);
                    self.order.began(now, number, permit.backend, None);
                }
                self.books.put(number, Place::Runs(permit));
                number
            }
            None => {
                let number = self.books.add(plane, id, plane == self.home, Place::Runs(permit));
                self.books.known(number, wants.clone());
                self.order.began(now, number, permit.backend, Some(wants));
                number
            }
        }
    }

    /// What was thought to run on a permit does not, unless it is what does; its data plane tells it anew if it waits.
    fn gone_from(&mut self, now: Moment, permit: Permit, state: Option<State>) {
        let Some(known @ State::Busy(number)) = self.state(permit) else { return };
        let there = self.books.get(number).is_some_and(|entry| entry.place == Place::Runs(permit));
        if there && state != Some(known) {
            self.books.remove(number);
            self.order.cancel(now, number);
        }
    }

    pub(super) fn ticket(&mut self, now: Moment, plane: PlaneId, ticket: Ticket, out: &mut Vec<Act>) {
        let id = ticket.id;
        if self.books.number(plane, id).is_some() {
            return;
        }
        let waiting = self.books.len();
        if waiting >= OPEN_MAX {
            let why = Refusal::QueueFull { waiting, retry_after: RETRY_AFTER_MIN };
            return self.send(plane, Down::Refuse { ticket: id, why }, out);
        }
        let number = self.books.add(plane, id, plane == self.home, Place::Waits);
        self.books.known(number, ticket.wants.clone());
        let since = Moment(now.0.saturating_sub((ticket.age + self.members.lag(plane)).0));
        self.order.arrive(now, number, since, &ticket);
        self.touch(number);
    }

    pub(super) fn started(
        &mut self,
        now: Moment,
        plane: PlaneId,
        permit: Permit,
        (id, wants): (TicketId, Option<&Arc<Wants>>),
    ) {
        let Some(spot) = self.spot(permit).filter(|spot| spot.plane == plane).copied() else { return };
        let backend = permit.backend;
        let number = match self.books.number(plane, id) {
            None => {
                let number = self.books.add(plane, id, plane == self.home, Place::Runs(permit));
                if let Some(wants) = wants {
                    self.books.known(number, wants.clone());
                }
                self.order.began(now, number, backend, wants);
                number
            }
            Some(number) => {
                self.touch(number);
                match self.books.get(number).map(|entry| entry.place) {
                    Some(Place::Waits) => self.order.began(now, number, backend, None),
                    Some(Place::Bound(other)) if other != permit => {
                        self.unbind(other);
                        self.moved(now, number, other.backend, backend);
                    }
                    // the grant finds nobody, and comes back
                    Some(Place::Runs(other)) if other != permit => {
                        if let Some(spot) = self.spot(other).copied() {
                            self.set(other, Some(Spot { state: State::Due, ..spot }));
                        }
                        self.moved(now, number, other.backend, backend);
                    }
                    _ => {}
                }
                self.books.put(number, Place::Runs(permit));
                number
            }
        };
        if let Some(other) = spot.bound.filter(|bound| *bound != number) {
            self.back(now, other);
        }
        self.set(permit, Some(Spot { state: State::Busy(number), bound: None, ..spot }));
    }

    fn moved(&mut self, now: Moment, number: TicketId, from: BackendId, to: BackendId) {
        if from != to {
            self.order.back(now, number);
            self.order.began(now, number, to, None);
        }
    }

    /// What becomes of a permit whose request ended.
    pub(super) fn then(
        &mut self,
        now: Moment,
        plane: PlaneId,
        permit: Permit,
        then: Then,
        out: &mut Vec<Act>,
    ) {
        self.pop_line(plane, permit.backend, then);
        match then {
            Then::Release => self.release(now, plane, permit, out),
            Then::Next(id) => self.started(now, plane, permit, (id, None)),
            Then::Park => {
                let Some(spot) = self.spot(permit).filter(|spot| spot.plane == plane).copied() else {
                    return;
                };
                self.set(permit, Some(Spot { state: State::Parked, ..spot }));
                if permit.slot.0 >= self.limit_of(permit.backend) {
                    self.revoke(permit, out);
                }
            }
        }
    }

    /// A permit is back: it goes to whom it was wanted back for, or is free.
    pub(super) fn release(&mut self, now: Moment, plane: PlaneId, permit: Permit, out: &mut Vec<Act>) {
        let Some(spot) = self.spot(permit).filter(|spot| spot.plane == plane).copied() else { return };
        if let Some(number) = spot.bound {
            self.unbind(permit);
            return self.grant(permit, number, out);
        }
        if let State::Busy(number) = spot.state
            && self.books.get(number).is_some_and(|entry| entry.place == Place::Runs(permit))
        {
            // a grant that found nobody
            self.books.remove(number);
            self.order.cancel(now, number);
        }
        let parks = (plane != self.home).then_some((plane, now + PARK_AFTER));
        self.free(permit, parks);
    }

    pub(super) fn cancel(&mut self, now: Moment, plane: PlaneId, id: TicketId) {
        let Some(number) = self.books.number(plane, id) else { return };
        self.touch(number);
        match self.books.remove(number).map(|entry| entry.place) {
            Some(Place::Bound(permit)) => self.unbind(permit),
            // the grant finds nobody, and comes back
            Some(Place::Runs(permit)) => {
                if let Some(spot) = self.spot(permit).copied() {
                    self.set(permit, Some(Spot { state: State::Due, ..spot }));
                }
            }
            Some(Place::Waits) | None => {}
        }
        self.order.cancel(now, number);
    }
}
