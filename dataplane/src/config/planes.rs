//! Which data planes there are, and who of them leads.

use proto::v1;
use sched::{
    Span,
    permit::{Incarnation, Member, PlaneId, Roll},
};

use crate::peer::Names;

/// The data planes of the installation. What stands here is durable in the control plane's store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planes {
    /// This very process; none: it follows nobody.
    pub own: Option<Member>,
    /// Who runs the scheduling core for all; none: nobody was appointed yet.
    pub lead: Option<Lead>,
    /// Every registered one, in order of id.
    pub rows: Vec<Plane>,
    /// Silence of a data plane for this long counts as its death; none: it never does.
    pub silence: Option<Span>,
}

/// The data plane that runs the scheduling core for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Its id.
    pub plane: String,
    /// Stable for its id as long as this process lives.
    pub number: PlaneId,
    /// Of it.
    pub incarnation: u64,
    /// Host and port where other data planes reach it; may be empty.
    pub peer: String,
    /// Of this appointment alone, greater than every term before.
    pub term: u64,
}

/// A registered data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Its id.
    pub id: String,
    /// Stable for its id as long as this process lives.
    pub number: PlaneId,
    /// The latest.
    pub incarnation: u64,
    /// Host and port where other data planes reach it; may be empty.
    pub peer: String,
    /// This incarnation and all before it are proven dead.
    pub dead_through: u64,
    /// It is to take no new work.
    pub draining: bool,
    /// It shares slots by permits. One that does not holds nothing while one leads that does.
    pub permits: bool,
}

impl Planes {
    /// Those that live as far as is proven, and share by permits: others hold nothing while one leads that does.
    #[must_use]
    pub fn roll(&self) -> Roll {
        let living = self.rows.iter().filter(|row| row.permits && row.dead_through < row.incarnation);
        living.map(|row| (row.number, Incarnation(row.incarnation))).collect()
    }

    /// This very process was appointed.
    #[must_use]
    pub fn leads(&self) -> bool {
        let lead = self.lead.as_ref().map(|lead| (lead.number, Incarnation(lead.incarnation)));
        self.own.is_some_and(|own| lead == Some((own.plane, own.incarnation)))
    }

    /// A picture from before this process registered, by which its own earlier process led and was the only data plane:
    /// nobody else has anything, and the lock says that the earlier process is dead.
    #[must_use]
    pub fn resumes(&self) -> bool {
        let (Some(own), Some(lead), [only]) = (self.own, &self.lead, &self.rows[..]) else { return false };
        let earlier = Incarnation(lead.incarnation) < own.incarnation;
        earlier && lead.number == own.plane && lead.incarnation == only.incarnation
    }

    /// Slots are shared: others live beside this data plane, and the one that leads shares by permits.
    #[must_use]
    pub fn shared(&self) -> bool {
        let lives = |row: &&Plane| row.dead_through < row.incarnation;
        let others = |own: Member| self.rows.iter().filter(lives).any(|row| row.number != own.plane);
        let leads = |lead: &Lead| self.rows.iter().any(|row| row.number == lead.number && row.permits);
        self.own.is_some_and(others) && self.lead.as_ref().is_some_and(leads)
    }

    /// This data plane is to take no new work.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.own.is_some_and(|own| self.rows.iter().any(|row| row.number == own.plane && row.draining))
    }
}

/// What a snapshot says of them, to the data plane `own`; `faults` gets what is wrong with it.
pub fn planes(
    snapshot: &v1::Snapshot,
    names: &Names,
    own: Option<&(String, u64)>,
    faults: &mut Vec<String>,
) -> Planes {
    let own = own.and_then(|(plane, incarnation)| {
        Some(Member { plane: names.plane(plane)?, incarnation: Incarnation(*incarnation) })
    });
    let mut rows: Vec<Plane> = Vec::with_capacity(snapshot.planes.len());
    for row in &snapshot.planes {
        let Some(number) = names.plane(&row.plane_id) else {
            faults.push(format!("planes[{}].plane_id: it is not allowed: 1 to 63 characters", row.plane_id));
            continue;
        };
        rows.push(Plane {
            id: row.plane_id.clone(),
            number,
            incarnation: row.incarnation,
            peer: row.peer.clone(),
            dead_through: row.dead_through,
            draining: row.draining,
            permits: row.permits,
        });
    }
    if !rows.is_sorted_by(|a, b| a.id < b.id) {
        faults.push("planes: they are not in order of id, each once".to_owned());
    }
    let early = rows.iter().filter(|row| row.dead_through > row.incarnation);
    faults.extend(early.map(|row| format!("planes[{}].dead_through: beyond its incarnation", row.id)));
    let lead = snapshot.lead.as_ref().and_then(|lead| {
        let known = rows.iter().find(|row| row.id == lead.plane_id && row.incarnation >= lead.incarnation);
        let Some(row) = known else {
            faults.push(format!("lead: {:?} is not registered", lead.plane_id));
            return None;
        };
        Some(Lead {
            plane: lead.plane_id.clone(),
            number: row.number,
            incarnation: lead.incarnation,
            peer: lead.peer.clone(),
            term: lead.term,
        })
    });
    let silence = Some(snapshot.reclaim_silent_after_ms).filter(|ms| *ms > 0).map(Span::from_millis);
    Planes { own, lead, rows, silence }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_contradicts_itself_is_refused() {
        let row = |id: &str, incarnation, dead_through| v1::Registered {
            plane_id: id.to_owned(),
            incarnation,
            dead_through,
            ..v1::Registered::default()
        };
        let lead = |id: &str, incarnation| {
            Some(v1::Lead { plane_id: id.to_owned(), incarnation, term: 7, ..v1::Lead::default() })
        };
        for (rows, lead, want) in [
            (vec![row("a", 2, 1), row("b", 1, 1)], lead("a", 2), ""),
            (vec![row("a", 2, 1)], lead("a", 1), ""),
            (vec![], None, ""),
            (vec![row("b", 1, 0), row("a", 1, 0)], None, "not in order"),
            (vec![row("a", 1, 2)], None, "planes[a].dead_through"),
            (vec![row("a", 1, 0)], lead("a", 2), "lead: \"a\" is not registered"),
            (vec![], lead("a", 1), "lead: \"a\" is not registered"),
        ] {
            let (snapshot, mut faults) =
                (v1::Snapshot { planes: rows, lead, ..v1::Snapshot::default() }, vec![]);
            planes(&snapshot, &Names::default(), None, &mut faults);
            assert!(faults.is_empty() == want.is_empty() && faults.join("; ").contains(want), "{faults:?}");
        }
    }

    fn row(id: &str, incarnation: u64, dead_through: u64) -> v1::Registered {
        v1::Registered {
            plane_id: id.to_owned(),
            incarnation,
            dead_through,
            permits: true,
            ..v1::Registered::default()
        }
    }

    /// What the data plane "a" is told by these rows, where the lead is the data plane and incarnation.
    fn told(own: u64, rows: &[v1::Registered], lead: (&str, u64)) -> (Planes, Names) {
        let lead =
            v1::Lead { plane_id: lead.0.to_owned(), incarnation: lead.1, term: 7, ..v1::Lead::default() };
        let snapshot = v1::Snapshot { planes: rows.to_vec(), lead: Some(lead), ..v1::Snapshot::default() };
        let (names, mut faults) = (Names::default(), Vec::new());
        let said = planes(&snapshot, &names, Some(&("a".to_owned(), own)), &mut faults);
        assert!(faults.is_empty(), "{faults:?}");
        (said, names)
    }

    #[test]
    fn who_lives_and_who_leads() {
        let drains = v1::Registered { draining: true, ..row("c", 4, 0) };
        let rows = [row("a", 2, 1), row("b", 1, 1), drains];
        let (planes, names) = told(2, &rows, ("a", 2));
        let number = |name: &str| names.known(name).unwrap();
        let living = Roll::from([(number("a"), Incarnation(2)), (number("c"), Incarnation(4))]);
        assert_eq!(planes.roll(), living);
        assert!(planes.leads() && !planes.draining());
        assert!(!told(2, &rows, ("c", 4)).0.leads());
        assert!(told(2, &[v1::Registered { draining: true, ..row("a", 2, 1) }], ("a", 2)).0.draining());
    }

    #[test]
    fn what_an_earlier_process_led_counts_for_the_only_data_plane_alone() {
        for (own, rows, lead, leads, resumes) in [
            (2, vec![row("a", 2, 1)], ("a", 2), true, false),
            // It follows: its own row is there, and another appointment is on its way.
            (3, vec![row("a", 3, 2)], ("a", 2), false, false),
            // It starts without a control plane, by what it kept.
            (3, vec![row("a", 2, 1)], ("a", 2), false, true),
            (5, vec![row("a", 2, 1)], ("a", 2), false, true),
            (3, vec![row("a", 2, 1), row("b", 1, 0)], ("a", 2), false, false),
            (3, vec![row("a", 2, 1), row("b", 1, 1)], ("a", 2), false, false),
            (3, vec![row("a", 2, 1), row("b", 1, 0)], ("b", 1), false, false),
            (3, vec![row("b", 1, 0)], ("b", 1), false, false),
        ] {
            let planes = told(own, &rows, lead).0;
            assert_eq!((planes.leads(), planes.resumes()), (leads, resumes), "{own} {rows:?} {lead:?}");
        }
    }
}
