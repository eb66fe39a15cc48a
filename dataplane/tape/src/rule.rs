//! Another rule to place requests by: what differs from the recorded one, in the words of the configuration.

use sched::{Fleet, Policy, Span, Tuning};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::form::Named;

/// What a rule file has; what is not set is as recorded.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    policy: Option<Named>,
    scheduling: Figures,
}

/// As `scheduling` of the configuration.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct Figures {
    #[serde(deserialize_with = "span")]
    age_max: Option<Span>,
    fair: Option<bool>,
    #[serde(deserialize_with = "span")]
    fair_quantum: Option<Span>,
    collate_percent: Option<u32>,
    wait_margin_percent: Option<u32>,
    wait_budget_percent: Option<u32>,
    #[serde(deserialize_with = "span")]
    wait_max: Option<Span>,
    #[serde(deserialize_with = "span")]
    priority_step: Option<Span>,
    hold_percent: Option<u32>,
    #[serde(deserialize_with = "span")]
    hold_max: Option<Span>,
    #[serde(deserialize_with = "span")]
    hold_tenure: Option<Span>,
    eviction_percent: Option<u32>,
    #[serde(deserialize_with = "span")]
    return_horizon: Option<Span>,
    interference_percent: Option<u32>,
}

/// The longest span, in milliseconds.
const SPAN_MS_MAX: u64 = 3_600_000;

/// Seconds with an `s` behind them, to the millisecond.
fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Span>, D::Error> {
    let text = String::deserialize(from)?;
    let (whole, part) =
        text.strip_suffix('s').map_or(("", ""), |secs| secs.split_once('.').unwrap_or((secs, "0")));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let millis = (digits(whole) && digits(part) && whole.len() <= 4 && part.len() <= 3)
        .then(|| format!("{whole}{part:0<3}").parse::<u64>().ok())
        .flatten()
        .filter(|millis| *millis <= SPAN_MS_MAX);
    let wrong = || D::Error::custom(format!("{text:?} is not allowed: seconds such as 2.5s, at most 3600s"));
    millis.map(|millis| Some(Span::from_millis(millis))).ok_or_else(wrong)
}

/// Why a rule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// No such field, or a value of another kind.
    #[error("{0}")]
    Form(#[from] serde_json::Error),
    /// No mapping at all.
    #[error("a mapping of fields to values is wanted, such as: policy: round-robin")]
    Shape,
    /// A value out of bounds.
    #[error("{field}: {value} is not allowed: 0 to {most}")]
    Value {
        /// Of which field.
        field: &'static str,
        /// What it is.
        value: u32,
        /// The most that is.
        most: u32,
    },
}

/// A rule that was found good.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rule(Fields);

impl Rule {
    /// Of a mapping with `policy` and `scheduling`.
    ///
    /// # Errors
    /// [`RuleError`] names the field and what is allowed.
    pub fn parse(value: serde_json::Value) -> Result<Rule, RuleError> {
        if !value.is_object() {
            return Err(RuleError::Shape);
        }
        let fields: Fields = serde_json::from_value(value)?;
        let figures = &fields.scheduling;
        for (field, value, most) in [
            ("collatePercent", figures.collate_percent, 10_000),
            ("waitMarginPercent", figures.wait_margin_percent, 95),
            ("waitBudgetPercent", figures.wait_budget_percent, 1000),
            ("holdPercent", figures.hold_percent, 1000),
            ("evictionPercent", figures.eviction_percent, 1000),
            ("interferencePercent", figures.interference_percent, 1000),
        ] {
            if let Some(value) = value.filter(|value| *value > most) {
                return Err(RuleError::Value { field, value, most });
            }
        }
        Ok(Rule(fields))
    }

    pub(crate) fn policy(&self, recorded: Policy) -> Policy {
        self.0.policy.map_or(recorded, |named| named.0)
    }

    pub(crate) fn fleet(&self, recorded: &Fleet) -> Fleet {
        let set = &self.0.scheduling;
        let was = recorded.tuning;
        let part = |percent: Option<u32>, was| percent.map_or(was, |percent| f64::from(percent) / 100.0);
        let default = Tuning::default().fair_quantum.unwrap_or_default();
        let quantum = set.fair_quantum.or(was.fair_quantum).unwrap_or(default);
        let tuning = Tuning {
            eviction_weight: part(set.eviction_percent, was.eviction_weight),
            return_horizon: set.return_horizon.unwrap_or(was.return_horizon),
            interference_weight: part(set.interference_percent, was.interference_weight),
            wait_margin: part(set.wait_margin_percent, was.wait_margin),
            wait_budget: part(set.wait_budget_percent, was.wait_budget),
            wait_max: set.wait_max.unwrap_or(was.wait_max),
            hold: part(set.hold_percent, was.hold),
            hold_max: set.hold_max.unwrap_or(was.hold_max),
            hold_tenure: set.hold_tenure.unwrap_or(was.hold_tenure),
            age_max: set.age_max.unwrap_or(was.age_max),
            collate: part(set.collate_percent, was.collate),
            priority_step: set.priority_step.map_or(was.priority_step, Span::secs),
            fair_quantum: set.fair.unwrap_or(was.fair_quantum.is_some()).then_some(quantum),
        };
        Fleet { tuning, ..recorded.clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_says_what_is_wrong_with_it() {
        for (given, said) in [
            (json!({"wait": 1}), "unknown field `wait`, expected `policy` or `scheduling`"),
            (json!({"scheduling": {"waitMaximum": "1s"}}), "unknown field `waitMaximum`"),
            (json!({"policy": "best"}), "unknown variant `best`, expected one of `cache-affine`"),
            (
                json!({"scheduling": {"waitMarginPercent": 96}}),
                "waitMarginPercent: 96 is not allowed: 0 to 95",
            ),
            (json!({"scheduling": {"holdPercent": -1}}), "invalid value: integer `-1`"),
            (json!({"scheduling": {"waitMax": 20}}), "invalid type: integer `20`, expected a string"),
            (json!({"scheduling": {"ageMax": "5m"}}), "\"5m\" is not allowed: seconds such as 2.5s"),
            (json!({"scheduling": {"ageMax": "3600.001s"}}), "at most 3600s"),
            (json!({"scheduling": {"ageMax": "-1s"}}), "\"-1s\" is not allowed"),
            (json!(["policy"]), "a mapping of fields"),
        ] {
            let error = Rule::parse(given.clone()).expect_err("it is refused").to_string();
            assert!(error.contains(said), "{given}: {error}");
        }
    }

    #[test]
    fn what_is_not_set_stays() {
        let given = json!({"policy": "round-robin", "scheduling": {"waitMax": "1.5s", "fair": false}});
        let rule = Rule::parse(given).expect("a rule");
        let was = Fleet { queue_max: 7, ..Fleet::default() };
        let tuning = Tuning { wait_max: Span::from_millis(1500), fair_quantum: None, ..was.tuning };
        assert_eq!(rule.fleet(&was), Fleet { tuning, ..was });
        assert_eq!(rule.policy(Policy::Priority), Policy::RoundRobin);
        assert_eq!(Rule::default().policy(Policy::Priority), Policy::Priority);
    }
}
