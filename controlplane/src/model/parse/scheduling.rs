//! Proto to model, for the figures by which requests are placed.

use proto::v1;

use super::{Reader, seconds};
use crate::model::{Fault, Scheduling};

/// The longest of most spans, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// The most of most weights.
const PERCENT_MAX: u32 = 1000;

/// Reads the figures.
///
/// # Errors
/// All faults at once.
pub fn scheduling(given: Option<&v1::Scheduling>) -> Result<Scheduling, Vec<Fault>> {
    let given = given.ok_or_else(|| vec![Fault::new("scheduling", "missing")])?;
    let mut faults = Vec::new();
    let read = scheduling_at(given, &mut faults);
    if faults.is_empty() { Ok(read) } else { Err(faults) }
}

pub(super) fn scheduling_at(given: &v1::Scheduling, faults: &mut Vec<Fault>) -> Scheduling {
    let mut read = Reader { at: "scheduling".to_owned(), faults };
    Scheduling {
        age_max_ms: read.span("age_max", given.age_max.as_ref(), (100, HOUR_MS)),
        fair: given.fair,
        fair_quantum_ms: read.span("fair_quantum", given.fair_quantum.as_ref(), (0, HOUR_MS)),
        collate_percent: read.percent("collate_percent", given.collate_percent, 10_000),
        wait_margin_percent: read.percent("wait_margin_percent", given.wait_margin_percent, 95),
        wait_budget_percent: read.percent("wait_budget_percent", given.wait_budget_percent, PERCENT_MAX),
        wait_max_ms: read.span("wait_max", given.wait_max.as_ref(), (0, 600_000)),
        priority_step_ms: read.span("priority_step", given.priority_step.as_ref(), (0, 60_000)),
        hold_percent: read.percent("hold_percent", given.hold_percent, PERCENT_MAX),
        hold_max_ms: read.span("hold_max", given.hold_max.as_ref(), (0, 300_000)),
        hold_tenure_ms: read.span("hold_tenure", given.hold_tenure.as_ref(), (0, HOUR_MS)),
        eviction_percent: read.percent("eviction_percent", given.eviction_percent, PERCENT_MAX),
        return_horizon_ms: read.span("return_horizon", given.return_horizon.as_ref(), (1000, HOUR_MS)),
        interference_percent: read.percent("interference_percent", given.interference_percent, PERCENT_MAX),
    }
}

impl Reader<'_> {
    fn percent(&mut self, field: &str, given: Option<u32>, most: u32) -> Option<u32> {
        if let Some(value) = given.filter(|value| *value > most) {
            self.fault(field, format!("{value} is not allowed: 0 to {most}"));
        }
        given
    }

    pub(super) fn span(
        &mut self,
        field: &str,
        given: Option<&proto::Duration>,
        (least, most): (u64, u64),
    ) -> Option<u64> {
        let allowed = format!("whole milliseconds from {} s to {} s", seconds(least), seconds(most));
        let problem = match proto::millis(given?) {
            Ok(ms) if (least..=most).contains(&ms) => return Some(ms),
            Ok(ms) => format!("{} s is not allowed: {allowed}", seconds(ms)),
            Err(problem) => format!("{problem}: {allowed}"),
        };
        self.fault(field, problem);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Change, Config, Desired, Record, change::Outcome, render};

    fn given(yaml: &str) -> v1::Scheduling {
        proto::from_yaml("Scheduling", yaml).unwrap()
    }

    const ALL: &str = "{ageMax: 1s, fair: false, fairQuantum: 0s, collatePercent: 10000, waitMarginPercent: 95, \
         waitBudgetPercent: 0, waitMax: 600s, priorityStep: 0.250s, holdPercent: 1000, holdMax: 300s, \
         holdTenure: 0s, evictionPercent: 7, returnHorizon: 1s, interferencePercent: 8}";

    #[test]
    fn what_is_rendered_is_parsed_back() {
        for text in ["{}", ALL] {
            let value = scheduling(Some(&given(text))).unwrap();
            let rendered = render::scheduling(&Record { revision: 5, value });
            assert_eq!(rendered, v1::Scheduling { revision: 5, ..given(text) });
            assert_eq!(scheduling(Some(&rendered)), Ok(value));
        }
    }

    #[test]
    fn all_faults_at_once_with_what_is_allowed() {
        let faulty = given(
            "{ageMax: 0.099s, fairQuantum: 3601s, collatePercent: 10001, waitMarginPercent: 96, \
             waitBudgetPercent: 1001, waitMax: 601s, priorityStep: 60.001s, holdPercent: 1001, holdMax: 301s, \
             holdTenure: 3601s, evictionPercent: 1001, returnHorizon: 0.5s, interferencePercent: 1001}",
        );
        let lines: Vec<String> =
            scheduling(Some(&faulty)).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 13, "{lines:#?}");
        for want in [
            "scheduling.age_max: 0.099 s is not allowed: whole milliseconds from 0.1 s to 3600 s",
            "scheduling.wait_margin_percent: 96 is not allowed: 0 to 95",
            "scheduling.priority_step: 60.001 s is not allowed: whole milliseconds from 0 s to 60 s",
        ] {
            assert!(lines.iter().any(|line| line == want), "{want}\n-- is not in\n{lines:#?}");
        }
        let config = v1::Config { scheduling: Some(faulty), ..v1::Config::default() };
        assert_eq!(super::super::config(Some(config)).unwrap_err().len(), 13);
    }

    #[test]
    fn there_is_one_and_it_is_replaced_whole() {
        let mut desired = Desired::default();
        let set = |text: &str| scheduling(Some(&given(text))).unwrap();
        let apply = |value, expected| {
            Change::Apply(Config { scheduling: Some((value, expected)), ..Config::default() })
        };
        let nothing = desired.make(&Change::UpdateScheduling(set("{}"), 0)).unwrap();
        assert_eq!((nothing.scheduling, desired.revision), (Some(Outcome::Unchanged), 0));
        let first = desired.make(&apply(set(ALL), 0)).unwrap();
        assert_eq!((first.scheduling, desired.scheduling.revision), (Some(Outcome::Created), 1));
        let same = desired.make(&apply(set(ALL), 1)).unwrap();
        assert_eq!((same.scheduling, same.revision), (Some(Outcome::Unchanged), 1));
        assert_eq!(desired.make(&Change::Apply(Config::default())).unwrap().scheduling, None);
        let stale = desired.make(&apply(set("{}"), 7)).unwrap_err().to_string();
        assert_eq!(stale, "resource \"scheduling\" is at revision 1, not at the demanded 7: read it again");
        let next = desired.make(&Change::UpdateScheduling(set("{ageMax: 2s}"), 1)).unwrap();
        assert_eq!(next.scheduling, Some(Outcome::Updated));
        let wanted = Scheduling { age_max_ms: Some(2000), ..Scheduling::default() };
        assert_eq!(desired.scheduling, Record { revision: 2, value: wanted });
    }
}
