//! Patterns of model names: what they match, what they make, what is refused.

use wire::pattern::{NAME_BYTES_MAX, PATTERN_BYTES_MAX, TEMPLATE_BYTES_MAX};
use wire::{Pattern, PatternFault};

#[test]
fn expansions() {
    let cases: [(&str, &str, &str, Option<&str>); 22] = [
        ("^(.*)-latest$", "$1", "qwen-latest", Some("qwen")),
        ("^(.*)-latest$", "$1", "qwen-latest-2", None),
        ("^(.*)-latest$", "$1", "-latest", Some("")),
        ("^(.*)-latest$", "", "qwen-latest", Some("qwen-latest")),
        ("^(.*)-latest$", "fixed", "x-latest", Some("fixed")),
        ("gpt", "g", "my-gpt-5", Some("g")),
        ("^gpt", "g", "my-gpt-5", None),
        ("gpt$", "g", "my-gpt", Some("g")),
        ("^claude-(?P<size>opus|haiku)-.*$", "local/${size}", "claude-haiku-5", Some("local/haiku")),
        ("^claude-(?<size>opus|haiku)", "$size", "claude-opus-5", Some("opus")),
        ("^(a)(b)?$", "$1[$2]", "a", Some("a[]")),
        ("^(.)(.)$", "$2$1", "ab", Some("ba")),
        ("^(.)$", "$1b", "a", Some("ab")),
        ("^(.)$", "${1}b", "a", Some("ab")),
        ("^(.)$", "$$1", "a", Some("$1")),
        ("^.*$", "$0!", "a", Some("a!")),
        ("^org/(.*):(.*)$", "$1@$2", "org/m:8b", Some("m@8b")),
        (r"^a\.b$", "x", "a.b", Some("x")),
        (r"^a\.b$", "x", "aXb", None),
        ("(?i)^GPT", "g", "gpt-5", Some("g")),
        ("^größe-(.)$", "$1", "größe-ß", Some("ß")),
        ("a|b", "x", "b", Some("x")),
    ];
    for (pattern, template, name, expected) in cases {
        let compiled = Pattern::new(pattern).unwrap();
        compiled.check_template(template).unwrap();
        assert_eq!(compiled.expand(name, template).as_deref(), expected, "{pattern} {template} {name}");
        assert_eq!(compiled.matches(name), expected.is_some(), "{pattern} {name}");
        assert_eq!(compiled.as_str(), pattern);
    }
}

#[test]
fn hostile_patterns_are_refused_in_words() {
    let nested = "(".repeat(100) + &")".repeat(100);
    let long = "a".repeat(PATTERN_BYTES_MAX + 1);
    let cases = [
        ("", "empty"),
        (long.as_str(), "at most 512"),
        (r"\pL{1000}{1000}", "smaller repetitions"),
        (r"((a{100}){100}){100}", "smaller repetitions"),
        (nested.as_str(), "not a regular expression"),
        ("(", "not a regular expression"),
        ("[z-a]", "not a regular expression"),
        ("(?=a)", "look-around"),
        (r"(a)\1", "backreferences"),
        ("*", "not a regular expression"),
    ];
    for (pattern, words) in cases {
        let fault = Pattern::new(pattern).unwrap_err().to_string();
        assert!(fault.contains(words), "{pattern}: {fault}");
        assert!(!fault.contains('\n'), "{fault}");
    }
}

#[test]
fn catastrophic_backtracking_does_not_exist() {
    let name = "a".repeat(50_000) + "!";
    for pattern in ["^(a+)+$", "^(a|aa)+$", "^(a|a?)+$", "(.*)*b$", "^(([a-z])+.)+[A-Z]([a-z])+$"] {
        assert_eq!(Pattern::new(pattern).unwrap().expand(&name, "$0"), None, "{pattern}");
    }
}

#[test]
fn templates_name_groups_that_exist() {
    let pattern = Pattern::new("^(.*)-(?<size>.*)$").unwrap();
    for template in ["$1", "${2}", "$size", "${size}-$0", "$$", "", "plain"] {
        pattern.check_template(template).unwrap();
    }
    let group =
        |group: &str| PatternFault::Group { group: group.to_owned(), known: "$0, $1, ${size}".to_owned() };
    assert_eq!(pattern.check_template("$3"), Err(group("3")));
    assert_eq!(pattern.check_template("x${name}"), Err(group("name")));
    assert_eq!(pattern.check_template("$99999999999999999999"), Err(group("99999999999999999999")));
    assert_eq!(pattern.check_template("${}"), Err(group("")));
    assert_eq!(pattern.check_template("cost: $"), Err(PatternFault::Dollar));
    assert_eq!(pattern.check_template("${open"), Err(PatternFault::Dollar));
    let long = "x".repeat(TEMPLATE_BYTES_MAX + 1);
    assert_eq!(pattern.check_template(&long), Err(PatternFault::LongTemplate(long.len())));
}

#[test]
fn an_expanded_name_is_bounded() {
    let pattern = Pattern::new("^(.*)$").unwrap();
    let name = "n".repeat(256);
    assert_eq!(pattern.expand(&name, &"$1".repeat(4)).map(|name| name.len()), Some(NAME_BYTES_MAX));
    assert_eq!(pattern.expand(&name, &"$1".repeat(5)), None);
}
