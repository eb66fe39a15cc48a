//! `arena`: prints what placement policies are worth in the simulated worlds.

use std::process::ExitCode;

use arena::contest::{POLICIES, SCENES, Scene};
use arena::table::{HEAD, row, scores};

const USAGE: &str = "\
arena table [FLEET:WORK:LOAD]... [--seeds N] [--threads N] [--policies NAME,NAME...]

Prints a Markdown table of every policy for each world. Without worlds it takes all that are known; a policy is named
as in the table.";

struct Request {
    scenes: Vec<Scene>,
    policies: Vec<String>,
    seeds: u64,
    threads: usize,
}

fn main() -> ExitCode {
    let told: Vec<String> = std::env::args().skip(1).collect();
    match parse(&told).and_then(|request| print(&request)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}\n\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn parse(told: &[String]) -> Result<Request, String> {
    let (command, told) = told.split_first().ok_or("nothing to do")?;
    if command != "table" {
        return Err(format!("there is no command {command}"));
    }
    let mut request = Request { scenes: Vec::new(), policies: Vec::new(), seeds: 3, threads: 2 };
    let mut told = told.iter();
    while let Some(word) = told.next() {
        let mut value = || told.next().ok_or(format!("{word} wants a value"));
        let number = |text: &String| text.parse().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--seeds" => request.seeds = number(value()?)?,
            "--threads" => request.threads = number(value()?)? as usize,
            "--policies" => request.policies = value()?.split(',').map(str::to_owned).collect(),
            _ => request.scenes.push(Scene::parse(word).ok_or(format!("there is no world {word}"))?),
        }
    }
    if request.scenes.is_empty() {
        request.scenes = SCENES.iter().filter_map(|name| Scene::parse(name)).collect();
    }
    if request.policies.is_empty() {
        request.policies = POLICIES.map(str::to_owned).into();
    }
    if let Some(unknown) = request.policies.iter().find(|policy| !POLICIES.contains(&policy.as_str())) {
        return Err(format!("there is no policy {unknown}; there are: {}", POLICIES.join(", ")));
    }
    Ok(request)
}

fn print(request: &Request) -> Result<(), String> {
    let policies: Vec<&str> = request.policies.iter().map(String::as_str).collect();
    let scores = scores(&request.scenes, &policies, request.seeds, request.threads);
    let scores = scores.ok_or("a policy or a world is missing")?;
    for (scene, scores) in request.scenes.iter().zip(scores) {
        println!("### {}, {} seeds\n\n{HEAD}", scene.name(), request.seeds);
        for (policy, score) in policies.iter().zip(scores) {
            println!("{}", row(policy, &score));
        }
        println!();
    }
    Ok(())
}
