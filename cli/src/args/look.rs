//! What can be typed to look at requests and tapes.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct Explain {
    /// What the header x-llmb-request-id of an answer says; the latest 1,024 of each data plane are known
    pub request_id: String,
    /// Ask the data plane with this admin address, and no control plane
    #[arg(long, env = "LLMB_ADMIN", value_name = "URL")]
    pub admin: Option<String>,
}

#[derive(Debug, Args)]
pub struct Tail {
    /// End after so many lines
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<u64>,
    /// Listen to the data plane with this admin address, and ask no control plane
    #[arg(long, env = "LLMB_ADMIN", value_name = "URL")]
    pub admin: Option<String>,
}

#[derive(Debug, Args)]
pub struct Replay {
    /// What `llmctl up --tape` or `llmb-data --tape` recorded
    pub tape: PathBuf,
    /// YAML or JSON with what differs from the recorded rule, "policy: NAME" and "scheduling:" as in the configuration;
    /// says how the same arrivals would have fared
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}
