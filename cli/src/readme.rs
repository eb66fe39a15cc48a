//! README's commands and files, as this program reads them.

use std::{fs, path::Path};

use clap::Parser as _;

use crate::{args::Cli, config};

fn readme(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(path)).unwrap()
}

/// The fenced blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("\n```{language}\n");
    let fenced = text.split(&fence).skip(1);
    fenced.map(|rest| rest.split("\n```").next().unwrap_or_default().to_owned()).collect()
}

/// A command as a shell splits it: blanks, single quotes, a comment at its end.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            '#' if !quoted && word.is_empty() => break,
            ' ' if !quoted => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            c => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

#[test]
fn every_command_of_the_documents_parses() {
    let mut parsed = 0;
    for text in [readme("README.md"), readme("deploy/README.md")] {
        let lines: Vec<String> = blocks(&text, "sh")
            .iter()
            .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        for line in lines.iter().filter(|line| line.starts_with("llmctl ")) {
            let outcome = Cli::try_parse_from(words(line));
            assert!(outcome.is_ok(), "{line}\n{}", outcome.unwrap_err());
            parsed += 1;
        }
    }
    assert!(parsed >= 5, "only {parsed} commands were found");
}

#[test]
fn every_configuration_of_the_readme_parses() {
    let configurations: Vec<String> = blocks(&readme("README.md"), "yaml")
        .into_iter()
        .filter(|block| block.contains("backends:"))
        .collect();
    assert!(!configurations.is_empty());
    for text in configurations {
        let config = config::parse(Path::new("README.yaml"), &text).unwrap_or_else(|fault| panic!("{fault}"));
        assert!(!config.backends.is_empty());
    }
}
