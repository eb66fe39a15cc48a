//! What can be typed: the clap types of `llmctl`, and nothing else.

mod plane;
mod route;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::time::parse_duration;

pub use plane::Dataplane;
pub use route::{Class, Deadlines, Policy, Route, RouteAdd};

mod look;
#[cfg(test)]
mod tests;

pub use look::{Explain, Replay, Tail};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage or bad input
  3  not found
  4  conflict: it exists already, or is at another revision
  5  the control plane is not reachable, or takes no writes
  6  waited in vain: the change is made, but the backend was not found healthy in time";

/// One endpoint in front of many LLM servers: starts it, shows it, changes it.
#[derive(Debug, Parser)]
#[command(name = "llmctl", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where the control plane is managed (gRPC)
    #[arg(
        long,
        global = true,
        env = "LLMB_CONTROL",
        default_value = "http://127.0.0.1:8801",
        value_name = "URL"
    )]
    pub control: String,
    /// How results are printed; json and yaml are the proto's own form, stable for scripts
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// How long one call to the control plane may take, such as 500ms, 10s, 1m
    #[arg(long, global = true, default_value = "10s", value_parser = parse_duration, value_name = "TIME")]
    pub timeout: Duration,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
    Yaml,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run both planes in this process and serve, until Ctrl-C
    Up(Up),
    /// Backends: the servers that answer
    #[command(subcommand)]
    Backend(Backend),
    /// Routes: which models a requested name may go to
    #[command(subcommand)]
    Route(Route),
    /// Data planes: the processes that serve clients
    #[command(subcommand)]
    Dataplane(Dataplane),
    /// The models that can be asked for now, and where they are
    Models,
    /// The control plane, its backends and the data planes that follow it
    Status,
    /// Create or replace all resources of a file, all of them or none; others stay as they are
    Apply(Apply),
    /// Print the whole configuration as a file for `apply`: YAML, or JSON with -o json
    Export,
    /// How a recent request was placed: what there was for it, what each would have cost, what it waited for
    Explain(Explain),
    /// A line for each request as it ends, until Ctrl-C; no prompts
    Tail(Tail),
    /// Put a tape through the very same scheduling core: by its own rule, which must decide the same, or by another
    Replay(Replay),
}

#[derive(Debug, Args)]
pub struct Up {
    /// A server to put behind the endpoint; may be given several times
    #[arg(long = "backend", value_name = "URL")]
    pub backends: Vec<String>,
    /// Start simulated servers, on a state of their own that is forgotten at the end
    #[arg(long, conflicts_with_all = ["backends", "discover"])]
    pub demo: bool,
    /// Where clients are served
    #[arg(long, env = "LLMB_LISTEN", default_value = "127.0.0.1:8800", value_name = "HOST:PORT")]
    pub listen: SocketAddr,
    /// Serve clients by https with this certificate (PEM, with its chain); taken up again when it changes
    #[arg(long, env = "LLMB_TLS_CERT", value_name = "PEM", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, env = "LLMB_TLS_KEY", value_name = "PEM", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Where the control plane is managed (gRPC)
    #[arg(long, env = "LLMB_CONTROL_LISTEN", default_value = "127.0.0.1:8801", value_name = "HOST:PORT")]
    pub control_listen: SocketAddr,
    /// Where the data plane answers for itself (liveness, readiness, /metrics)
    #[arg(long, env = "LLMB_ADMIN_LISTEN", default_value = "127.0.0.1:8802", value_name = "HOST:PORT")]
    pub admin_listen: SocketAddr,
    /// Where state is kept [default: $XDG_STATE_HOME/llmb, else ~/.local/state/llmb]
    #[arg(long, env = "LLMB_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Look for servers on this machine; the default when no --backend is given
    #[arg(long, overrides_with = "no_discover")]
    pub discover: bool,
    /// Do not look for servers on this machine
    #[arg(long, overrides_with = "discover")]
    pub no_discover: bool,
    /// Allow addresses that other machines can reach; nothing authenticates clients yet
    #[arg(long)]
    pub insecure_listen: bool,
    /// How long a request waits for a slot at most
    #[arg(long, default_value = "5m", value_parser = parse_duration, value_name = "TIME")]
    pub queue_wait: Duration,
    /// Between two probes of a backend
    #[arg(long, default_value = "5s", value_parser = parse_duration, value_name = "TIME")]
    pub probe_interval: Duration,
    /// Record what the scheduling core is told and decides here, for `replay`: no prompts, up to 256 MiB
    #[arg(long, env = "LLMB_TAPE", value_name = "FILE")]
    pub tape: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Backend {
    /// Add a server, and show what was found there
    Add(BackendAdd),
    /// List all
    #[command(visible_alias = "ls")]
    List,
    /// Show one, with its models
    Get(Name),
    /// Change some of its fields and keep the others
    Update(BackendUpdate),
    /// Forget it; running work finishes
    #[command(visible_alias = "rm")]
    Delete(Named),
    /// Give it no new work; running work finishes
    Drain(Named),
    /// Give it work again
    Undrain(Named),
    /// Look at a server without adding it: what it is and how that was judged
    Probe(BackendProbe),
}

#[derive(Debug, Args)]
pub struct Name {
    /// Its name
    pub name: String,
}

#[derive(Debug, Args)]
pub struct Named {
    /// Its name
    pub name: String,
    /// Only when it is at this revision
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    pub revision: u64,
}

#[derive(Debug, Args)]
#[command(allow_missing_positional = true)]
pub struct BackendAdd {
    /// Its name: a-z, 0-9, '-' and '.'; made from the URL when left out
    pub name: Option<String>,
    /// Where it is, such as http://127.0.0.1:11434
    pub url: String,
    #[command(flatten)]
    pub fields: BackendFields,
    /// Do not wait for the first probe
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait for the first probe
    #[arg(long, default_value = "5s", value_parser = parse_duration, value_name = "TIME")]
    pub wait: Duration,
}

#[derive(Debug, Args)]
pub struct BackendUpdate {
    /// Its name
    pub name: String,
    /// Where it is
    #[arg(long)]
    pub url: Option<String>,
    #[command(flatten)]
    pub fields: BackendFields,
    /// Only when it is at this revision [default: the one that is read before the change]
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    pub revision: u64,
}

#[derive(Debug, Args)]
pub struct BackendProbe {
    /// Where it is, such as http://127.0.0.1:11434
    pub url: String,
    /// What it is; found by probing when left out
    #[arg(long, value_enum)]
    pub kind: Option<Kind>,
    /// Where each plane reads the secret: env:NAME or file:PATH
    #[arg(long)]
    pub credential: Option<String>,
    /// PEM file of the authority that signed its certificate
    #[arg(long, value_name = "PATH")]
    pub ca_file: Option<String>,
}

/// The fields of a backend that an operator sets, save name and URL.
#[derive(Debug, Default, Args)]
pub struct BackendFields {
    /// What it is; "auto": found by probing
    #[arg(long, value_enum)]
    pub kind: Option<Kind>,
    /// Requests in flight at most; 0: as the server tells, else the default of its kind
    #[arg(long, value_name = "N")]
    pub max_concurrency: Option<u32>,
    /// Higher is chosen first among equals, -1000 to 1000
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    pub priority: Option<i32>,
    /// Prompt tokens at most; 0: no limit of ours
    #[arg(long, value_name = "N")]
    pub max_input_tokens: Option<u32>,
    /// Models in its memory at the same time; 0: the most that were seen there at once, where it loads them when asked
    #[arg(long, value_name = "N")]
    pub max_loaded_models: Option<u32>,
    /// Where each plane reads the secret: env:NAME or file:PATH; "" for none
    #[arg(long)]
    pub credential: Option<String>,
    /// PEM file of the authority that signed its certificate; "" for the system's roots
    #[arg(long, value_name = "PATH")]
    pub ca_file: Option<String>,
    /// Serve this dialect, whatever probing finds; may be given several times, "auto" for as found
    #[arg(long = "dialect", value_enum, action = ArgAction::Append)]
    pub dialects: Vec<Dialect>,
}

/// Kinds, by the words of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Auto,
    Ollama,
    Lmstudio,
    Llamacpp,
    Vllm,
    Sglang,
    Openai,
    Anthropic,
    Gemini,
}

/// Dialects, by the words of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    Auto,
    OpenaiChat,
    OpenaiResponses,
    OpenaiCompletions,
    OpenaiEmbeddings,
    Anthropic,
    Gemini,
    Ollama,
}

#[derive(Debug, Args)]
pub struct Apply {
    /// YAML or JSON with "backends", "routes" and "scheduling"; "-" reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Check and say what would change; change nothing
    #[arg(long)]
    pub dry_run: bool,
}
