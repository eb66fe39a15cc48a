//! Verdicts by recorded answers: one data file a case.

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::{
    model::{BaseUrl, Credential, Name},
    probe::answer::Failure,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    expect: Expect,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    kind: Option<Kind>,
    #[serde(default)]
    credential: Option<String>,
    default: Recorded,
    answers: std::collections::BTreeMap<String, Recorded>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expect {
    Nothing {
        reason: String,
    },
    Found {
        kind: Kind,
        dialects: Vec<String>,
        /// Name, `*` when resident, context length, capabilities.
        models: Vec<String>,
        slots: u32,
        #[serde(default)]
        cache_tokens: u32,
        #[serde(default)]
        requests: Option<u32>,
        version: String,
        #[serde(default)]
        further: Option<Vec<String>>,
    },
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Recorded {
    #[serde(default)]
    status: u16,
    #[serde(default)]
    server: String,
    #[serde(default)]
    json: Value,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    fails: Option<String>,
}

impl Recorded {
    fn answer(&self, question: &Question) -> Result<Answer, Failure> {
        match self.fails.as_deref() {
            None => {
                let body = self.text.clone().unwrap_or_else(|| self.json.to_string());
                Ok(question.read(self.status, &self.server, body.as_bytes()))
            }
            Some("connect") => Err(Failure::Connect("connection refused".to_owned())),
            Some("late") => Err(Failure::Late(2000)),
            Some("large") => Err(Failure::Large(4 << 20)),
            Some(other) => panic!("unknown failure {other}"),
        }
    }
}

impl Case {
    fn backend(&self) -> Backend {
        Backend {
            name: Name::new("b").unwrap(),
            url: BaseUrl::new(self.url.as_deref().unwrap_or("http://gpu-1:8080")).unwrap(),
            kind: self.kind,
            max_concurrency: 0,
            priority: 0,
            max_input_tokens: 0,
            max_loaded_models: 0,
            credential: self.credential.clone().map(Credential::Env),
            ca_file: None,
            draining: false,
            dialects: Vec::new(),
        }
    }

    fn answers(&self, questions: &[Question]) -> Answers {
        let one = |question: &Question| {
            let answer = self.answers.get(&question.label()).unwrap_or(&self.default).answer(question);
            (question.clone(), answer)
        };
        Answers(questions.iter().map(one).collect())
    }
}

/// What is asked of some kinds alone.
const FURTHER: [&str; 6] = [
    "GET /metrics",
    "GET /slots",
    "GET /server_info",
    "GET /get_server_info",
    "GET /model_info",
    "GET /v1/loads",
];

fn cases() -> Vec<(String, Case)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/probe/recorded");
    let mut cases = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let case = serde_json::from_str(&fs::read_to_string(&path).unwrap());
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        cases.push((name.clone(), case.unwrap_or_else(|fault| panic!("{name}: {fault}"))));
    }
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

fn identified(case: &Case) -> (Verdict, Answers, Vec<String>) {
    let backend = case.backend();
    let mut answers = case.answers(&Question::all());
    let further = further(&backend, &answers);
    answers.0.extend(case.answers(&further).0);
    let labels = further.iter().map(Question::label).collect();
    (identify(&backend, &answers), answers, labels)
}

fn told(model: &Model) -> String {
    let star = if model.resident { "*" } else { "" };
    let mut text = format!("{}{star} {}", model.name, model.context_length);
    for word in &model.capabilities {
        text.push(' ');
        text.push_str(word);
    }
    text
}

#[test]
fn recorded() {
    let cases = cases();
    assert!(cases.len() >= 30, "{}", cases.len());
    for (name, case) in cases {
        let known: Vec<String> = Question::all().iter().map(Question::label).collect();
        for label in case.answers.keys() {
            assert!(
                known.contains(label)
                    || label.starts_with("POST /api/show")
                    || FURTHER.contains(&label.as_str()),
                "{name}: {label} is never asked"
            );
        }
        let (verdict, _, asked) = identified(&case);
        match (&case.expect, &verdict.finding) {
            (Expect::Nothing { reason }, Err(why)) => assert!(why.contains(reason), "{name}: {why}"),
            (
                Expect::Found { kind, dialects, models, slots, cache_tokens, requests, version, further },
                Ok(found),
            ) => {
                let names: Vec<_> = found.dialects.iter().map(|dialect| dialect.name()).collect();
                assert_eq!(
                    (&found.kind, names),
                    (kind, dialects.iter().map(String::as_str).collect()),
                    "{name}"
                );
                assert_eq!(found.models.iter().map(told).collect::<Vec<_>>(), *models, "{name}");
                let numbers = (found.slots, found.cache_tokens, found.requests);
                assert_eq!(
                    (numbers, &found.version),
                    ((*slots, *cache_tokens, *requests), version),
                    "{name}"
                );
                if let Some(further) = further {
                    assert_eq!(&asked, further, "{name}");
                }
            }
            (_, found) => panic!("{name}: {found:?}\n{}", verdict.evidence.join("\n")),
        }
        assert!(verdict.evidence.len() >= known.len(), "{name}: every question is evidence");
    }
}

#[test]
fn a_cheap_check_of_the_same_server_shows_no_change() {
    for (name, case) in cases() {
        let (Verdict { finding: Ok(found), .. }, ..) = identified(&case) else { continue };
        let answers = case.answers(cheap(found.kind));
        let now = refresh(&case.backend(), &found, &answers).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(Finding { requests: found.requests, ..now.clone() }, found, "{name}");
        assert!(!changed(&found, &now), "{name}");
        let dead = Answers(cheap(found.kind).iter().map(|q| (q.clone(), Err(Failure::Late(7)))).collect());
        assert_eq!(
            refresh(&case.backend(), &found, &dead),
            Err("no answer within 7 ms".to_owned()),
            "{name}"
        );
    }
}

#[test]
fn a_cheap_check_tells_how_busy_it_is() {
    for (case, requests) in [("llamacpp", Some(1)), ("vllm", Some(3)), ("sglang", Some(7)), ("ollama", None)]
    {
        let (_, case) = cases().into_iter().find(|(name, _)| name == case).unwrap();
        let found = identified(&case).0.finding.unwrap();
        let now = refresh(&case.backend(), &found, &case.answers(cheap(found.kind))).unwrap();
        assert_eq!(now.requests, requests, "{:?}", found.kind);
    }
}

#[test]
fn other_models_slots_or_version_are_a_change_residency_is_not() {
    let (_, case) = cases().into_iter().find(|(name, _)| name == "llamacpp").unwrap();
    let before = identified(&case).0.finding.unwrap();
    let with = |change: &dyn Fn(&mut Finding)| {
        let mut now = before.clone();
        change(&mut now);
        changed(&before, &now)
    };
    assert!(with(&|now| now.models[0].name.push('x')));
    assert!(with(&|now| now.slots += 1));
    assert!(with(&|now| now.version.push('x')));
    assert!(!with(&|now| now.models[0].resident = false));
}

#[test]
fn no_answer_panics() {
    let odd = [
        "null",
        "7",
        "[]",
        "{}",
        "\"\"",
        "[null]",
        "{\"data\":null}",
        "{\"models\":[7]}",
        "{\"error\":null}",
        "{\"error\":7}",
        "{\"object\":\"list\",\"data\":[{\"id\":7}]}",
        "{\"models\":[{\"key\":1,\"loaded_instances\":1}]}",
        "{\"models\":[{\"name\":7}]}",
        "{\"total_slots\":99999999999,\"build_info\":7}",
        "",
        "\u{0}",
    ];
    let backend = cases().remove(0).1.backend();
    for one in odd {
        for status in [200, 204, 302, 400, 401, 404, 422, 500, 503] {
            let answer = Answer::new(status, "", one.as_bytes());
            let all = Question::all().into_iter().map(|question| (question, Ok(answer.clone())));
            let verdict = identify(&backend, &Answers(all.collect()));
            let why = match verdict.finding {
                Ok(found) => panic!("{one} with {status} is no {:?}", found.kind),
                Err(why) => why,
            };
            assert!(!why.is_empty());
        }
    }
}
