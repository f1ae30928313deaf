//! What the tests of stories have in common: a story of a script, the one recovery in it, what redo decided, the mistake in a script.

use afterimage_explain::{Mistake, Recovery, Story, Trouble, explain};

#[track_caller]
pub fn told(script: &str) -> Story {
    explain(script, None).unwrap_or_else(|trouble| panic!("{trouble}\n{script}"))
}

pub fn only(story: &Story) -> &Recovery {
    assert_eq!(story.recoveries.len(), 1);
    &story.recoveries[0]
}

/// The decisions of redo, a word a record.
pub fn decisions(recovery: &Recovery) -> Vec<String> {
    let redo = recovery.steps.iter().filter(|step| step.phase == "redo");
    let decided = redo.map(|step| {
        let fact = step.facts.iter().find(|(name, _)| *name == "decision");
        format!("{} {}", step.lsn, fact.expect("redo decides").1)
    });
    decided.collect()
}

#[track_caller]
pub fn mistake(script: &str) -> Mistake {
    match explain(script, None) {
        Err(Trouble::Mistake(mistake)) => mistake,
        Err(other) => panic!("{other}\n{script}"),
        Ok(story) => panic!(
            "no mistake: {}, {}\n{script}",
            story.result, story.recoveries[0].outcome
        ),
    }
}
