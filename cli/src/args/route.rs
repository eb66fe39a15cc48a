//! What can be typed of routes.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::Named;
use crate::time::parse_deadline;

#[derive(Debug, Subcommand)]
pub enum Route {
    /// Add a rule, such as: route add fast --exact gpt-4o --to qwen3:8b
    Add(RouteAdd),
    /// List all, in the order in which they are tried
    #[command(visible_alias = "ls")]
    List,
    /// Remove a rule
    #[command(visible_alias = "rm")]
    Delete(Named),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("match").required(true))]
pub struct RouteAdd {
    /// Its name: a-z, 0-9, '-' and '.'
    pub name: String,
    /// The requested model name, literally
    #[arg(long, group = "match", value_name = "MODEL")]
    pub exact: Option<String>,
    /// A regular expression over requested names, matched as written: anchor it with ^ and $
    #[arg(long, group = "match", value_name = "REGEX")]
    pub pattern: Option<String>,
    /// The model there, with $1 for captures, or as requested when empty; @BACKEND for one backend only. The last @
    /// divides, so a name that has one needs another at its end. May be given several times
    #[arg(long = "to", required = true, value_name = "MODEL[@BACKEND]")]
    pub targets: Vec<String>,
    /// Among patterns the higher is tried first, -1000 to 1000
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "N")]
    pub precedence: i32,
    /// By which rule its requests are placed [default: cache-affine]
    #[arg(long, value_enum, value_name = "NAME")]
    pub policy: Option<Policy>,
    /// The most urgent that its requests are; the header x-llmb-class asks for less [default: normal]
    #[arg(long, value_enum)]
    pub class: Option<Class>,
    /// The part of the conversations that go to a target, 0 to 1000: one for each --to, in their order. 0: only while
    /// no other can take them
    #[arg(long = "weight", value_name = "N")]
    pub weights: Vec<u32>,
    #[command(flatten)]
    pub deadlines: Deadlines,
}

/// Policies, by the words of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Where the first token is expected soonest; may wait for a busy server
    CacheAffine,
    /// At once, the highest priority
    Priority,
    /// At once, each in turn
    RoundRobin,
    /// The targets in turn, as their weights say
    Weighted,
    /// At once, the smallest share of busy slots
    LeastBusy,
    /// At once, where first tokens came soonest lately
    LowestLatency,
    /// At once, the fewest prompt tokens in work
    TokenAware,
    /// Prompts of 15,000 tokens wait for who knows their beginning; others by priority
    LongWaits,
}

/// Classes, by the words of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Class {
    Interactive,
    Normal,
    Batch,
}

/// How long a backend may take; what is not set has its default.
#[derive(Debug, Default, Args)]
pub struct Deadlines {
    /// For connecting, 10ms to 60s [default: 5s]
    #[arg(long, value_parser = parse_deadline, value_name = "TIME")]
    pub deadline_connect: Option<Duration>,
    /// To the first token of an answer, 100ms to 1h, with the time for the prompt on top [default: 300s]
    #[arg(long, value_parser = parse_deadline, value_name = "TIME")]
    pub deadline_first_token: Option<Duration>,
    /// Between tokens, 100ms to 1h [default: 300s]
    #[arg(long, value_parser = parse_deadline, value_name = "TIME")]
    pub deadline_between_tokens: Option<Duration>,
    /// From the first sending to the last byte, 100ms to 24h [default: 2h]
    #[arg(long, value_parser = parse_deadline, value_name = "TIME")]
    pub deadline_total: Option<Duration>,
}
