//! `arena`: prints what placement policies are worth in the simulated worlds.

use std::process::ExitCode;

use arena::policy::Policy;
use arena::report::report;
use arena::scene::{FURTHER, PUBLISHED, Scene};
use arena::table;

const USAGE: &str = "\
arena table|compare|burst [WORLD]... [--policies NAME,NAME...] [--seeds N] [--threads N]
arena report DATE

table    a Markdown table of the policies for each world
compare  each policy relative to the first: geometric means over the worlds
burst    what two hundred requests of one key do to the others
report   all of it, as it stands in `tests/arena/table.md`

A world is FLEET:WORK:LOAD; `published` is those of the rule's published figures, `further` is ours beside them, without
one it is `published`. A policy is named as in the table; `ablations` is the rule without each of its terms, `misled`
with what it is told wrong or missing.
Worlds that replay a trace find it by LLMB_TRACES, and are left out without it.";

const THREADS: usize = 2;

struct Request {
    command: String,
    scenes: Vec<Scene>,
    policies: Vec<Policy>,
    seeds: u64,
    threads: usize,
}

fn main() -> ExitCode {
    let told: Vec<String> = std::env::args().skip(1).collect();
    let done = match &told[..] {
        [command, date] if command == "report" => report(date, THREADS).map_err(|fault| fault.to_string()),
        _ => parse(&told).and_then(|request| text(&request)),
    };
    match done.map(|text| print!("{text}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}\n\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn parse(told: &[String]) -> Result<Request, String> {
    let (command, told) = told.split_first().ok_or("nothing to do")?;
    let (mut scenes, mut policies, mut seeds, mut threads) = (Vec::new(), Vec::new(), 3, THREADS);
    let mut told = told.iter();
    while let Some(word) = told.next() {
        let mut value = || told.next().ok_or(format!("{word} wants a value"));
        let number = |text: &String| text.parse().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--seeds" => seeds = number(value()?)?,
            "--threads" => threads = number(value()?)? as usize,
            "--policies" => policies = named(value()?)?,
            _ => scenes.extend(worlds(word)?),
        }
    }
    if scenes.is_empty() {
        scenes = worlds(if command == "burst" { "hetero6:burst:0.5" } else { "published" })?;
    }
    if policies.is_empty() {
        policies = Policy::all();
    }
    Ok(Request { command: command.clone(), scenes, policies, seeds, threads })
}

fn worlds(word: &str) -> Result<Vec<Scene>, String> {
    let names: Vec<&str> = match word {
        "published" => PUBLISHED.into(),
        "further" => FURTHER.into(),
        name => vec![name],
    };
    let scene = |name: &&str| Scene::parse(name).ok_or(format!("there is no world {name}"));
    let scenes: Result<Vec<Scene>, String> = names.iter().map(scene).collect();
    let (scenes, lacking): (Vec<Scene>, Vec<Scene>) =
        scenes?.into_iter().partition(|scene| scene.source(1).is_ok());
    for scene in lacking {
        let why = scene.source(1).err().map(|fault| fault.to_string()).unwrap_or_default();
        eprintln!("{} is left out: {why}", scene.name());
    }
    Ok(scenes)
}

fn named(list: &str) -> Result<Vec<Policy>, String> {
    let mut policies = Vec::new();
    for name in list.split(',') {
        match Policy::named(name) {
            _ if name == "all" => policies.extend(Policy::all()),
            _ if name == "ablations" => policies.extend(Policy::ablations()),
            _ if name == "misled" => policies.extend(Policy::misled()),
            Some(policy) => policies.push(policy),
            None => {
                return Err(format!("there is no policy {name}; there are: {}", Policy::names().join(", ")));
            }
        }
    }
    Ok(policies)
}

fn text(request: &Request) -> Result<String, String> {
    let Request { command, scenes, policies, seeds, threads } = request;
    let text = match command.as_str() {
        "table" => table::each(scenes, policies, *seeds, *threads),
        "compare" => table::compared(scenes, policies, *seeds, *threads),
        "burst" => table::burst(scenes, policies, *seeds),
        _ => return Err(format!("there is no command {command}")),
    };
    text.map_err(|fault| fault.to_string())
}
