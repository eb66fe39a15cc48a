//! llmsim: a simulated model server.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::Parser;
use llmsim::{Kind, Settings};

/// A simulated model server: real bodies and streams, a known pace, faults on demand.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// What to imitate: ollama, lmstudio, llamacpp, vllm, openai, anthropic or gemini.
    #[arg(long, default_value = "openai")]
    kind: Kind,
    /// A model it serves; may be given several times.
    #[arg(long = "model", default_value = "sim")]
    models: Vec<String>,
    /// Address and port; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Requests worked on at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
    /// Prompt tokens read a second; 0 takes no time.
    #[arg(long, default_value_t = 10_000.0)]
    prefill_tps: f64,
    /// Tokens written a second; 0 takes no time.
    #[arg(long, default_value_t = 200.0)]
    decode_tps: f64,
    /// Tokens of an answer that nothing limits.
    #[arg(long, default_value_t = 16)]
    output_tokens: u32,
    /// Milliseconds the engine works on after a client left.
    #[arg(long, default_value_t = 0)]
    abort_lag_ms: u64,
    /// Milliseconds to load a model.
    #[arg(long, default_value_t = 0)]
    load_ms: u64,
    /// Models in memory at a time, 0 for all; llama.cpp is a router where this is set.
    #[arg(long, default_value_t = 0)]
    models_max: u32,
    /// A model that takes the place of another kills what runs on that, instead of waiting for it.
    #[arg(long)]
    evict_kills: bool,
    /// Keep prompts as servers of the kind do, and read what is cached in no time.
    #[arg(long)]
    cache: bool,
    /// llama.cpp: tokens that host memory has room for.
    #[arg(long, default_value_t = 65_536)]
    cache_ram: u32,
    /// vLLM and hosted kinds: tokens that the pool of blocks has room for.
    #[arg(long, default_value_t = 200_000)]
    kv_tokens: u32,
    /// vLLM: tell how much of a prompt was cached.
    #[arg(long)]
    prompt_details: bool,
    /// With k answers being written, each comes at a speed of 1 / (1 + this × (k - 1)).
    #[arg(long, default_value_t = 0.0)]
    decode_drag: f64,
    /// Refuse work above the slots instead of letting it wait inside.
    #[arg(long)]
    strict_slots: bool,
    /// The key that requests must show.
    #[arg(long, env = "LLMSIM_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Sent as x-sim-name.
    #[arg(long, default_value = "")]
    name: String,
    /// Tokens that prompt and answer may have.
    #[arg(long, default_value_t = 32_768)]
    context_length: u32,
    /// A fault from the start, as JSON: '"stall"', '{"status":{"code":500}}'.
    #[arg(long, value_parser = |text: &str| serde_json::from_str::<llmsim::Fault>(text))]
    fault: Option<llmsim::Fault>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let sim = match llmsim::start(settings(args)) {
        Ok(sim) => sim,
        Err(error) => {
            eprintln!("llmsim: cannot listen: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("listening on {}", sim.url());
    loop {
        std::thread::park();
    }
}

fn settings(args: Args) -> Settings {
    Settings {
        kind: args.kind,
        listen: args.listen,
        models: args.models,
        slots: args.slots,
        prefill_tps: args.prefill_tps,
        decode_tps: args.decode_tps,
        output_tokens: args.output_tokens,
        abort_lag: Duration::from_millis(args.abort_lag_ms),
        load_time: Duration::from_millis(args.load_ms),
        models_max: args.models_max,
        evict_kills: args.evict_kills,
        cache: args.cache,
        cache_ram: args.cache_ram,
        kv_tokens: args.kv_tokens,
        prompt_details: args.prompt_details,
        decode_drag: args.decode_drag,
        strict_slots: args.strict_slots,
        first_fault: args.fault,
        api_key: args.api_key,
        name: args.name,
        context_length: args.context_length,
        ..Settings::default()
    }
}
