//! Lines that must parse, and lines that must not.

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    crate::typed::read_from(line.split_whitespace())
}

#[test]
fn the_definition_is_sound() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}

#[test]
fn a_lone_argument_of_backend_add_is_the_url() {
    let Command::Backend(Backend::Add(add)) = parse("llmctl backend add http://h:1").unwrap().command else {
        panic!("another command")
    };
    assert_eq!((add.name, add.url.as_str()), (None, "http://h:1"));
    let Command::Backend(Backend::Add(add)) = parse("llmctl backend add box http://h:1").unwrap().command
    else {
        panic!("another command")
    };
    assert_eq!((add.name.as_deref(), add.url.as_str()), (Some("box"), "http://h:1"));
}

#[test]
fn commands_that_must_parse() {
    for line in [
        "llmctl up",
        "llmctl up --demo",
        "llmctl up --queue-wait 30s --probe-interval 500ms",
        "llmctl export -o json",
        "llmctl up --backend http://a:1 --backend http://b:2 --discover",
        "llmctl backend update box --priority -5 --max-concurrency 4 --revision 3",
        "llmctl backend update box --dialect openai-chat --dialect anthropic --kind llamacpp",
        "llmctl backend drain box",
        "llmctl backend probe http://h:1 -o yaml",
        "llmctl route add fast --exact gpt-4o --to qwen3:8b --to llama3.2:3b@box",
        "llmctl route add latest --pattern ^(.*)-latest$ --to $1 --precedence -3",
        "llmctl route add slow --exact a --to b --deadline-first-token 20m --deadline-total 3h",
        "llmctl route add turns --exact a --to b --to c --policy round-robin --class batch",
        "llmctl route add canary --exact a --to b --weight 95 --to c --weight 5",
        "llmctl --timeout 500ms models -o json",
        "llmctl status --control http://h:1",
        "llmctl apply -f - --dry-run",
        "llmctl explain req_00 --admin 127.0.0.1:8802",
        "llmctl tail -n 3 -o json",
        "llmctl replay tape.ndjson --policy rule.yaml",
        "llmctl up --tape tape.ndjson",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
}

#[test]
fn commands_that_must_not_parse() {
    for line in [
        "llmctl",
        "llmctl up --demo --backend http://a:1",
        "llmctl up --demo --state-dir x",
        "llmctl up --control http://h:1",
        "llmctl -o json up",
        "llmctl up --queue-wait 0s",
        "llmctl up --listen nowhere",
        "llmctl route add fast --to qwen3:8b",
        "llmctl route add fast --exact a --pattern b --to c",
        "llmctl route add fast --exact a",
        "llmctl route add fast --exact a --to b --policy fastest",
        "llmctl route add fast --exact a --to b --class urgent",
        "llmctl route add fast --exact a --to b --to c --weight 5",
        "llmctl route add fast --exact a --to b --weight -1",
        "llmctl route add fast --exact a --to b --deadline-total 25h",
        "llmctl backend add",
        "llmctl backend add box http://h:1 --kind toaster",
        "llmctl apply",
        "llmctl explain",
        "llmctl replay",
        "llmctl tail -n few",
        "llmctl --timeout 0s status",
        "llmctl --timeout 61m status",
        "llmctl --timeout 10 status",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}
