//! Starts whoever is to run, on the permit that is nearest to him, and tells the others how they stand.

use super::books::Place;
use super::permits::{Spot, State, Told};
use super::{Act, Lead, Order, Verdict};
use crate::permit::{Down, LINE_MAX, PARK_AFTER, Permit, PlaneId, Then};
use crate::{BackendId, Moment, SlotId, TicketId};

impl<O: Order> Lead<O> {
    /// Does all that follows from what was told.
    pub(super) fn settle(&mut self, now: Moment, out: &mut Vec<Act>) {
        let mut verdicts = Vec::new();
        loop {
            self.order.decide(now, &mut verdicts);
            let mut placed = !verdicts.is_empty();
            for verdict in verdicts.drain(..) {
                match verdict {
                    Verdict::Start { number, backend } => placed &= self.place(now, number, backend, out),
                    Verdict::Refuse { number, why } => {
                        self.touch(number);
                        if let Some(entry) = self.books.remove(number) {
                            self.send(entry.plane, Down::Refuse { ticket: entry.id, why }, out);
                        }
                    }
                }
            }
            // one that found no permit would be started again at once
            if !placed {
                break;
            }
        }
        self.park(now, out);
        self.tell_lines(out);
        self.spread(now, out);
    }

    /// Finds a permit for one that was started: one that lies idle at its own data plane, a free one, or one that is
    /// wanted back from another.
    fn place(&mut self, now: Moment, number: TicketId, backend: BackendId, out: &mut Vec<Act>) -> bool {
        self.touch(number);
        let Some(entry) = self.books.get(number) else {
            self.order.cancel(now, number);
            return true;
        };
        let (plane, id) = (entry.plane, entry.id);
        let permit = |slot: u32| Permit { backend, slot: SlotId(slot) };
        let members = &self.members;
        let Some(stock) = self.stock.get(&backend).filter(|_| members.reported(plane)) else {
            self.back(now, number);
            return false;
        };
        if let Some(slot) = stock.idle(plane) {
            self.bind(permit(slot), number, false);
            self.send(plane, Down::Next { permit: permit(slot), ticket: id }, out);
        } else if let Some(slot) = stock.free() {
            self.grant(permit(slot), number, out);
        } else if let Some(slot) = stock.idle_where(|plane| members.reported(plane)) {
            self.bind(permit(slot), number, true);
            self.revoke(permit(slot), out);
        } else {
            self.back(now, number);
            return false;
        }
        true
    }

    fn bind(&mut self, permit: Permit, number: TicketId, revoked: bool) {
        if let Some(spot) = self.spot(permit).copied() {
            self.set(permit, Some(Spot { bound: Some(number), revoked, ..spot }));
        }
        self.books.put(number, Place::Bound(permit));
    }

    /// Gives a permit that nobody has to the data plane of a ticket.
    pub(super) fn grant(&mut self, permit: Permit, number: TicketId, out: &mut Vec<Act>) {
        let Some(entry) = self.books.get(number) else { return };
        let (plane, ticket) = (entry.plane, entry.id);
        self.set(permit, Some(Spot::new(plane, State::Busy(number))));
        self.books.put(number, Place::Runs(permit));
        self.send(plane, Down::Grant { term: self.term, permit, ticket }, out);
    }

    /// Asks for an idle permit.
    pub(super) fn revoke(&mut self, permit: Permit, out: &mut Vec<Act>) {
        if let Some(spot) = self.spot(permit).copied().filter(|spot| self.members.reported(spot.plane)) {
            self.set(permit, Some(Spot { revoked: true, ..spot }));
            self.send(spot.plane, Down::Revoke { permit }, out);
        }
    }

    /// Nobody has a permit any more; `parks` says where it was used last, and when it goes there.
    pub(super) fn free(&mut self, permit: Permit, parks: Option<(PlaneId, Moment)>) {
        self.set(permit, None);
        let Some(stock) = self.stock.get_mut(&permit.backend) else { return };
        if let Some((plane, at)) = parks.filter(|_| stock.is_free(permit.slot.0)) {
            stock.last.insert(permit.slot.0, (plane, at));
            self.parking.insert((at, permit));
        }
    }

    /// Permits that nobody wants go back to where they were used last.
    fn park(&mut self, now: Moment, out: &mut Vec<Act>) {
        while let Some(&(at, permit)) = self.parking.first()
            && at <= now
        {
            self.parking.pop_first();
            let Some(stock) = self.stock.get_mut(&permit.backend) else { continue };
            let Some((plane, _)) = stock.last.remove(&permit.slot.0) else { continue };
            if !self.members.reported(plane) {
                continue;
            }
            if self.order.contended(permit.backend) {
                let later = now + PARK_AFTER;
                stock.last.insert(permit.slot.0, (plane, later));
                self.parking.insert((later, permit));
                continue;
            }
            self.set(permit, Some(Spot::new(plane, State::Parked)));
            self.send(plane, Down::Park { term: self.term, permit }, out);
        }
    }

    /// Tells every data plane that has permits of a backend who is next there, where that has changed.
    fn tell_lines(&mut self, out: &mut Vec<Act>) {
        for backend in std::mem::take(&mut self.changed) {
            let Some(stock) = self.stock.get(&backend) else { continue };
            let here = |plane: &PlaneId| *plane != self.home && self.members.reported(*plane);
            let hands: Vec<(PlaneId, usize)> = stock.hands().filter(|(plane, _)| here(plane)).collect();
            let Some(most) = hands.iter().map(|(_, count)| *count).max() else { continue };
            let front = self.order.front(backend, most.min(LINE_MAX));
            let contended = self.order.contended(backend);
            for (plane, count) in hands {
                let own = |number: &TicketId| {
                    self.books.get(*number).filter(|entry| entry.plane == plane).map(|entry| entry.id)
                };
                let told = Told { next: front.iter().take(count).map(own).collect(), contended };
                let Some(stock) = self.stock.get_mut(&backend) else { continue };
                let before = stock.told.entry(plane).or_default();
                if *before != told {
                    before.clone_from(&told);
                    let Told { next, contended } = told;
                    self.send(plane, Down::Line { backend, next, contended }, out);
                }
            }
        }
    }

    /// A data plane went by what it was told of who is next: that much of it is used up.
    pub(super) fn pop_line(&mut self, plane: PlaneId, backend: BackendId, then: Then) {
        let used = match then {
            Then::Park => return,
            Then::Release => None,
            Then::Next(id) => Some(id),
        };
        let told = self.stock.get_mut(&backend).and_then(|stock| stock.told.get_mut(&plane));
        if let Some(told) = told
            && let Some(at) = told.next.iter().position(|next| *next == used)
        {
            told.next.drain(..=at);
        }
        self.changed.insert(backend);
    }

    pub(super) fn forget_lines(&mut self, plane: PlaneId) {
        for stock in self.stock.values_mut() {
            stock.told.remove(&plane);
        }
    }

    pub(super) fn limit(&mut self, now: Moment, backend: BackendId, slots: u32, out: &mut Vec<Act>) {
        let stock = self.stock.entry(backend).or_default();
        stock.resize(slots, !self.members.unreported.is_empty());
        let above: Vec<(u32, Spot)> = stock.above().collect();
        for (slot, spot) in above {
            let permit = Permit { backend, slot: SlotId(slot) };
            if let Some(number) = spot.bound {
                self.unbind(permit);
                self.back(now, number);
            }
            if !spot.revoked {
                self.revoke(permit, out);
            }
        }
        self.weigh(now, backend);
    }

    /// How many slots take part may have changed.
    fn weigh(&mut self, now: Moment, backend: BackendId) {
        let Some(stock) = self.stock.get(&backend) else { return };
        let usable = stock.usable(|plane| self.members.reported(plane));
        if stock.is_empty() {
            self.stock.remove(&backend);
        }
        self.changed.insert(backend);
        self.order.slots(now, backend, usable);
    }

    pub(super) fn weigh_all(&mut self, now: Moment) {
        let learned = self.members.unreported.is_empty();
        for backend in self.stock.keys().copied().collect::<Vec<_>>() {
            if let Some(stock) = self.stock.get_mut(&backend).filter(|_| learned) {
                stock.learned();
            }
            self.weigh(now, backend);
        }
    }

    pub(super) fn limit_of(&self, backend: BackendId) -> u32 {
        self.stock.get(&backend).map_or(0, super::Stock::limit)
    }

    pub(super) fn at(&self, plane: PlaneId) -> Vec<Permit> {
        let permits = self.stock.iter().flat_map(|(backend, stock)| {
            stock.at(plane).map(|slot| Permit { backend: *backend, slot: SlotId(slot) })
        });
        permits.collect()
    }

    pub(super) fn spot(&self, permit: Permit) -> Option<&Spot> {
        self.stock.get(&permit.backend)?.spot(permit.slot.0)
    }

    pub(super) fn state(&self, permit: Permit) -> Option<State> {
        Some(self.spot(permit)?.state)
    }

    pub(super) fn bound(&self, permit: Permit) -> Option<TicketId> {
        self.spot(permit)?.bound
    }

    pub(super) fn set(&mut self, permit: Permit, spot: Option<Spot>) {
        let stock = self.stock.entry(permit.backend).or_default();
        if let Some((_, at)) = stock.last.remove(&permit.slot.0) {
            self.parking.remove(&(at, permit));
        }
        stock.set(permit.slot.0, spot);
        self.changed.insert(permit.backend);
    }

    pub(super) fn unbind(&mut self, permit: Permit) {
        if let Some(spot) = self.spot(permit).copied() {
            self.set(permit, Some(Spot { bound: None, ..spot }));
        }
    }

    /// One that was started waits again.
    pub(super) fn back(&mut self, now: Moment, number: TicketId) {
        self.books.put(number, Place::Waits);
        self.order.back(now, number);
        self.touch(number);
    }

    /// The lines of the backends that a ticket wants may look different.
    pub(super) fn touch(&mut self, number: TicketId) {
        if let Some(wants) = self.books.get(number).and_then(|entry| entry.wants.as_ref()) {
            self.changed.extend(wants.candidates.iter().map(|candidate| candidate.backend));
        }
    }
}
