//! Which data planes there are, and who of them leads.

use proto::v1;

/// The data planes of the installation. What stands here is durable in the control plane's store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planes {
    /// Who runs the scheduling core for all; none: nobody was appointed yet.
    pub lead: Option<Lead>,
    /// Every registered one, in order of id.
    pub rows: Vec<Plane>,
}

/// The data plane that runs the scheduling core for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Its id.
    pub plane: String,
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
    /// The latest.
    pub incarnation: u64,
    /// Host and port where other data planes reach it; may be empty.
    pub peer: String,
    /// This incarnation and all before it are proven dead.
    pub dead_through: u64,
    /// It is to take no new work.
    pub draining: bool,
}

/// What a snapshot says of them; `faults` gets what is wrong with it.
pub fn planes(snapshot: &v1::Snapshot, faults: &mut Vec<String>) -> Planes {
    let row = |row: &v1::Registered| Plane {
        id: row.plane_id.clone(),
        incarnation: row.incarnation,
        peer: row.peer.clone(),
        dead_through: row.dead_through,
        draining: row.draining,
    };
    let rows: Vec<Plane> = snapshot.planes.iter().map(row).collect();
    if !rows.is_sorted_by(|a, b| a.id < b.id) {
        faults.push("planes: they are not in order of id, each once".to_owned());
    }
    let early = rows.iter().filter(|row| row.dead_through > row.incarnation);
    faults.extend(early.map(|row| format!("planes[{}].dead_through: beyond its incarnation", row.id)));
    let lead = snapshot.lead.as_ref().map(|lead| Lead {
        plane: lead.plane_id.clone(),
        incarnation: lead.incarnation,
        peer: lead.peer.clone(),
        term: lead.term,
    });
    if let Some(lead) = &lead
        && !rows.iter().any(|row| row.id == lead.plane && row.incarnation >= lead.incarnation)
    {
        faults.push(format!("lead: {:?} is not registered", lead.plane));
    }
    Planes { lead, rows }
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
            planes(&snapshot, &mut faults);
            assert!(faults.is_empty() == want.is_empty() && faults.join("; ").contains(want), "{faults:?}");
        }
    }
}
