//! The figures by which requests are placed.

use serde::{Deserialize, Serialize};

/// What is set of them, spans in milliseconds; `None`: the default of the data planes. The proto says what each means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the proto has the documentation of each")]
pub struct Scheduling {
    pub age_max_ms: Option<u64>,
    pub fair: Option<bool>,
    pub fair_quantum_ms: Option<u64>,
    pub collate_percent: Option<u32>,
    pub wait_margin_percent: Option<u32>,
    pub wait_budget_percent: Option<u32>,
    pub wait_max_ms: Option<u64>,
    pub priority_step_ms: Option<u64>,
    pub hold_percent: Option<u32>,
    pub hold_max_ms: Option<u64>,
    pub hold_tenure_ms: Option<u64>,
    pub eviction_percent: Option<u32>,
    pub return_horizon_ms: Option<u64>,
    pub interference_percent: Option<u32>,
}
