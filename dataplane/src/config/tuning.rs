//! The figures by which requests are placed, as the core takes them.

use proto::v1;
use sched::{Span, Tuning};

/// What is set, and the defaults for the rest.
///
/// # Errors
/// Every fault, a sentence each.
pub fn tuning(set: &v1::Scheduling) -> Result<Tuning, Vec<String>> {
    let mut faults = Vec::new();
    let mut span =
        |field: &str, given: &Option<proto::Duration>, default: Span| match given.as_ref().map(proto::millis)
        {
            None => default,
            Some(Ok(ms)) => Span::from_millis(ms),
            Some(Err(problem)) => {
                faults.push(format!("scheduling.{field}: {problem}"));
                default
            }
        };
    let part =
        |percent: Option<u32>, default: f64| percent.map_or(default, |percent| f64::from(percent) / 100.0);
    let default = Tuning::default();
    let quantum = span("fair_quantum", &set.fair_quantum, default.fair_quantum.unwrap_or_default());
    let step = span("priority_step", &set.priority_step, Span((default.priority_step * 1e6) as u64));
    let tuning = Tuning {
        eviction_weight: part(set.eviction_percent, default.eviction_weight),
        return_horizon: span("return_horizon", &set.return_horizon, default.return_horizon),
        interference_weight: part(set.interference_percent, default.interference_weight),
        wait_margin: part(set.wait_margin_percent, default.wait_margin),
        wait_budget: part(set.wait_budget_percent, default.wait_budget),
        wait_max: span("wait_max", &set.wait_max, default.wait_max),
        hold: part(set.hold_percent, default.hold),
        hold_max: span("hold_max", &set.hold_max, default.hold_max),
        hold_tenure: span("hold_tenure", &set.hold_tenure, default.hold_tenure),
        age_max: span("age_max", &set.age_max, default.age_max),
        collate: part(set.collate_percent, default.collate),
        priority_step: step.secs(),
        fair_quantum: set.fair.unwrap_or(default.fair_quantum.is_some()).then_some(quantum),
    };
    if faults.is_empty() { Ok(tuning) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(yaml: &str) -> v1::Scheduling {
        proto::from_yaml("Scheduling", yaml).unwrap()
    }

    #[test]
    fn what_is_not_set_is_the_default() {
        assert_eq!(tuning(&v1::Scheduling::default()).unwrap(), Tuning::default());
        let quick = tuning(&set("{ageMax: 5s, waitBudgetPercent: 0}")).unwrap();
        let wanted = Tuning { age_max: Span::from_secs(5), wait_budget: 0.0, ..Tuning::default() };
        assert_eq!(quick, wanted);
    }

    #[test]
    fn each_field_is_taken() {
        let all = tuning(&set(
            "{ageMax: 1s, fair: true, fairQuantum: 2s, collatePercent: 3, waitMarginPercent: 4, \
             waitBudgetPercent: 5, waitMax: 6s, priorityStep: 0.5s, holdPercent: 7, holdMax: 8s, holdTenure: 9s, \
             evictionPercent: 10, returnHorizon: 11s, interferencePercent: 12}",
        ));
        let wanted = Tuning {
            eviction_weight: 0.1,
            return_horizon: Span::from_secs(11),
            interference_weight: 0.12,
            wait_margin: 0.04,
            wait_budget: 0.05,
            wait_max: Span::from_secs(6),
            hold: 0.07,
            hold_max: Span::from_secs(8),
            hold_tenure: Span::from_secs(9),
            age_max: Span::from_secs(1),
            collate: 0.03,
            priority_step: 0.5,
            fair_quantum: Some(Span::from_secs(2)),
        };
        assert_eq!(all, Ok(wanted));
        assert_eq!(tuning(&set("{fair: false, fairQuantum: 2s}")).unwrap().fair_quantum, None);
    }

    #[test]
    fn what_is_no_time_is_named() {
        let negative = Some(proto::Duration { seconds: -1, nanos: 0 });
        let faulty = v1::Scheduling { age_max: negative, hold_max: negative, ..v1::Scheduling::default() };
        let said = tuning(&faulty).unwrap_err();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said.iter().any(|fault| fault.starts_with("scheduling.age_max: ")), "{said:?}");
    }
}
