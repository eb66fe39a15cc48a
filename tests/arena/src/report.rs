//! All figures as one document.

use crate::policy::Policy;
use crate::scene::{FURTHER, PUBLISHED, Scene};
use crate::score::Score;
use crate::table;
use crate::work::TraceFault;

const SEEDS: u64 = 3;
/// Worlds where a server loses its cache every five minutes.
const LOSSES: [&str; 4] = [
    "hetero6:agentic:0.5:loss=300",
    "hetero6:agentic:1:loss=300",
    "single4:agentic:0.25:loss=300",
    "vllm4:agentic:1.5:loss=300",
];
/// Less better than this is chance.
const BETTER: f64 = 0.97;
/// Who is not there to be compared with: the product in other ways, and what knows more than anyone can.
const APART: [&str; 4] = ["product", "ETTFT exact", "ETTFT oracle", "pool bound"];
/// A figure by name.
type Figure = (&'static str, fn(&Score) -> f64);
/// The figures that are compared.
const FIGURES: [Figure; 3] =
    [("mean", |score| score.ttft), ("p50", |score| score.p50), ("p99", |score| score.p99)];

const HEAD: &str = "\
# What each placement policy is worth

{date}, by `LLMB_TRACES=DIR cargo run --release -p arena -- report {date}`; seeds 1 to 3, worlds with `synth` and `azure`
replay public traces. A world is FLEET:WORK:LOAD. Times are in seconds: to the first token from the arrival, who has none
counts with the time waited. `warm %` is the share of prompt tokens that came out of a cache, `wait` the time in the
queue, `turns/min` the throughput, `in use %` the share of slot time, `worst key` the largest mean of a key by the mean
over keys. `product` is the core as it comes, `product in order` the same with keys in order of arrival, `product long
waits` the rule of the product's forerunner by its name here, `seed` the same as it was published.

";

const WHY: &str = "
Why:

- ETTFT is the rule that ours is made of, told more than a router is: which requests are of one session, when a server
  began to read, what it had cached. Until speeds are measured it takes the first in the list of servers, which is the
  fastest; ours draws among equals (`product ranked` is told by priorities). Seeds differ by 5 %, vllm4 at 1.5 by 12 %.
- Medians: rules that stick to a prefix (sglang, LocalAI, CHWBL, sticky, and llm-d and Dynamo less so) start nearly all at
  once, whatever that makes others read again, and let some wait for minutes: compare their means and 99th percentiles.
- `synth` replays what was asked whether it was answered or not: nobody who is let in sooner asks again sooner, so waits and
  slots that are kept gain little there. Few long prompts decide its means.
- `burst`: two hundred requests of one key wait for all others, which is what they are to do; the next table has what the
  others gain.
- The 99th percentile where more is asked than servers can do (`hetero6` at 1.25, `single4` at 0.4, `keys`): keys that had
  more wait for those that had less. In order of arrival (`fair: false`) that tail is shorter, and the mean higher.
";

/// The whole document, as of a date.
///
/// # Errors
/// When a trace is not there.
///
/// # Panics
/// When a world or a policy of the document does not exist.
pub fn report(date: &str, threads: usize) -> Result<String, TraceFault> {
    let all = Policy::all();
    let (published, further) = (scenes(&PUBLISHED), scenes(&FURTHER));
    let worlds: Vec<Scene> = published.iter().chain(&further).cloned().collect();
    let scores = table::scores(&worlds, &all, SEEDS, threads)?;
    let mut text = HEAD.replace("{date}", date);
    text += "## All policies\n\n";
    text += &table::rows(&worlds, &all, &scores, SEEDS);
    text += "## Relative to the product\n\n";
    text += &table::ratios(&published, &all, &scores[..published.len()], SEEDS);
    text += "\n## Where another is better\n\n";
    text += &better(&worlds, &all, &scores);
    text += WHY;
    text += "\n## What two hundred requests of one key do to the others\n\n";
    let some = ["product", "product in order", "seed", "least connections", "llm-d", "ETTFT", "ETTFT fair"];
    text += &table::burst(&scenes(&["hetero6:burst:0.5"]), &some.map(named), SEEDS)?;
    text += "## Without each term\n\n";
    let ablations: Vec<Policy> = [named("product in order")].into_iter().chain(Policy::ablations()).collect();
    text += &table::each(&published, &ablations, SEEDS, threads)?;
    text += "## Told what is wrong, or nothing\n\n";
    let misled: Vec<Policy> = [named("product")].into_iter().chain(Policy::misled()).collect();
    let worlds: Vec<Scene> = published.into_iter().chain(scenes(&LOSSES)).collect();
    text += &table::each(&worlds, &misled, SEEDS, threads)?;
    Ok(text.trim_end().to_owned() + "\n")
}

fn scenes(names: &[&str]) -> Vec<Scene> {
    let scene = |name: &&str| Scene::parse(name).unwrap_or_else(|| panic!("no world {name}"));
    names.iter().map(scene).collect()
}

fn named(name: &str) -> Policy {
    Policy::named(name).unwrap_or_else(|| panic!("no policy {name}"))
}

/// In which worlds which rivals are better by more than chance, in which figure.
fn better(scenes: &[Scene], policies: &[Policy], scores: &[Vec<Score>]) -> String {
    let mut text = String::new();
    for (scene, row) in scenes.iter().zip(scores) {
        let mut told = Vec::new();
        for (name, figure) in FIGURES {
            let ours = figure(&row[0]);
            let rivals = policies.iter().zip(row).filter(|(policy, score)| {
                !APART.iter().any(|apart| policy.name.starts_with(apart)) && figure(score) < BETTER * ours
            });
            let rivals: Vec<String> =
                rivals.map(|(policy, score)| format!("{} {:.2}", policy.name, figure(score))).collect();
            if !rivals.is_empty() {
                told.push(format!("{name} {ours:.2}: {}", rivals.join(", ")));
            }
        }
        if !told.is_empty() {
            text += &format!("- {}: {}\n", scene.name(), told.join("; "));
        }
    }
    text
}
