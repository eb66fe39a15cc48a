//! Each law bites: a core with a planted fault breaks it, and the true core does not.

use sched::Scheduler;
use tests::laws::{LAWS, Law, only};
use tests::world::{Broken, Core, Flaw, Story, Twist, World};

const SEEDS: u64 = 60;

fn tell(
    mut story: Story,
    laws: &'static [Law],
    core: impl FnOnce(&Story) -> Box<dyn Core>,
) -> Result<(), Broken> {
    let mut world = World::new(core(&story), story.fleet(), laws);
    story.plan(&mut world, 200);
    world.run()?;
    story.fill(&mut world);
    world.run()
}

/// The first seed with which a fault breaks a law that judges alone.
fn breaks(flaw: Flaw, law: &str) -> Option<u64> {
    let laws = only(law).expect("a law of the list");
    let double =
        |seed| move |story: &Story| Box::new(Twist::new(seed, &story.fleet(), flaw)) as Box<dyn Core>;
    let told = |story: Story, seed: u64| tell(story, laws, double(seed)).is_err();
    (0..SEEDS).find(|seed| told(Story::new(*seed), *seed) || told(Story::busy(*seed), *seed))
}

#[test]
fn a_planted_fault_breaks_its_law() {
    let planted = [
        (Flaw::MoreSlots, "above"),
        (Flaw::NoGrace, "above"),
        (Flaw::Stutters, "once"),
        (Flaw::Swallows, "once"),
        (Flaw::Deaf, "lost"),
        (Flaw::FewerSlots, "idle"),
        (Flaw::Forgets, "idle"),
        (Flaw::Overtakes, "order"),
        (Flaw::Perverse, "best"),
        (Flaw::Crowds, "full"),
        (Flaw::Usurps, "spare"),
        (Flaw::Hopes, "vain"),
        (Flaw::Dawdles, "late"),
        (Flaw::Lies, "reason"),
        (Flaw::Sleeps, "wake"),
        (Flaw::Insists, "tries"),
        (Flaw::Insists, "open"),
        (Flaw::Insists, "budget"),
        (Flaw::Hasty, "trial"),
        (Flaw::Squanders, "reserve"),
        (Flaw::Boasts, "rest"),
        (Flaw::Lingers, "close"),
        (Flaw::Blind, "agree"),
        (Flaw::Patient, "age"),
        (Flaw::Reloads, "load"),
        (Flaw::Hasty, "load"),
        (Flaw::Stubborn, "decline"),
        (Flaw::Endless, "decline"),
        (Flaw::Levels, "share"),
    ];
    for (flaw, law) in planted {
        assert!(breaks(flaw, law).is_some(), "{flaw:?} does not break `{law}`");
    }
    for law in LAWS {
        assert!(planted.iter().any(|(_, name)| *name == law.name), "no fault is planted for `{}`", law.name);
    }
}

#[test]
fn the_true_core_breaks_none() {
    for seed in 0..SEEDS {
        for (story, name) in [(Story::new(seed), "any"), (Story::busy(seed), "busy")] {
            let told = tell(story, LAWS, |story| Box::new(Scheduler::new(seed, story.fleet())));
            assert_eq!(told, Ok(()), "{name}, seed {seed}");
        }
    }
}
