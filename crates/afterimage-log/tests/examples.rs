//! The examples keep what they promise when they are killed: each runs as a process of its own, is killed at some line of its
//! output while it has more to do, is started again, and what it has then is compared with what it had acknowledged.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, missing_docs)]

mod example;

use std::collections::BTreeMap;

use example::{Home, Program};

/// Numbers that look random, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What the program says of itself when it is started, and nothing else is asked of it.
fn list(home: &Home, example: &str) -> Vec<String> {
    let mut program: Program = home.start(example, &[]);
    program.tell(&["list"]);
    program.finish()
}

#[test]
fn the_store_keeps_every_change_that_was_acknowledged() {
    let home = Home::new("kv");
    home.small_segments("");
    let mut random = Random(1);
    let mut state: BTreeMap<String, String> = BTreeMap::new();
    let (mut number, mut in_the_middle) = (0, 0);
    // The store writes a snapshot at every hundredth change of a process.
    for kill_at in [1, 99, 100, 250, 40, 199, 3, 140] {
        let mut changes = Vec::new();
        let mut states = vec![state];
        for _ in 0..300 {
            number += 1;
            let key = format!("key{}", random.below(30));
            let mut next = states.last().unwrap().clone();
            if random.below(5) == 0 {
                changes.push(format!("del {key}"));
                next.remove(&key);
            } else {
                changes.push(format!("put {key} {number}"));
                next.insert(key, number.to_string());
            }
            states.push(next);
        }
        let mut store = home.start("kv", &[]);
        store.tell(&changes);
        let acknowledged = store.kill_after(kill_at).len();
        in_the_middle += usize::from(acknowledged < changes.len());
        let found: BTreeMap<_, _> = list(&home, "kv")
            .iter()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        // What was acknowledged is there, and of what was not as much as there is, in order and without a gap.
        let fits = states[acknowledged..].contains(&found);
        assert!(fits, "{acknowledged} acknowledged, found {found:?}");
        state = found;
    }
    assert!(in_the_middle > 0, "always killed too late");
}

#[test]
fn a_job_is_done_at_most_once_or_at_least_once_as_was_asked() {
    let home = Home::new("queue");
    home.small_segments("");
    let modes = ["at-most-once", "at-least-once"];
    home.start("queue", &["subscribe", "eager", "careful"])
        .finish();
    let workers = || {
        [
            home.start("queue", &[modes[0], "eager"]),
            home.start("queue", &[modes[1], "careful"]),
        ]
    };
    let mut number = 0;
    let mut jobs = |count: usize| -> Vec<String> {
        let first = number;
        number += count;
        (first..number).map(|n| format!("job {n:05}")).collect()
    };
    let (mut added, mut done) = (Vec::new(), [Vec::new(), Vec::new()]);
    let kills = [(1, 1), (40, 50), (7, 3), (50, 29), (25, 44)];
    for (round, kill_at) in kills.into_iter().enumerate() {
        let (mut adder, [eager, careful]) = (home.start("queue", &["add"]), workers());
        adder.tell(&jobs(100));
        // While it adds, and waits for nobody.
        done[0].extend(eager.kill_after(kill_at.0));
        done[1].extend(careful.kill_after(kill_at.1));
        added.extend(if round % 2 == 0 {
            adder.kill_after(60)
        } else {
            adder.finish()
        });
    }
    let mut adder = home.start("queue", &["add"]);
    let last = jobs(20);
    adder.tell(&last);
    added.extend(adder.finish());
    let last = last.last().unwrap();
    for (mut worker, done) in workers().into_iter().zip(&mut done) {
        while done.last() != Some(&format!("did {last}")) {
            done.push(worker.line());
        }
    }
    let added: Vec<_> = added.iter().map(|line| &line["added ".len()..]).collect();
    let [eager, careful] = done
        .map(|lines| -> Vec<_> { lines.iter().map(|l| l["did ".len()..].to_owned()).collect() });

    let twice = eager.windows(2).find(|pair| pair[0] >= pair[1]);
    assert_eq!(twice, None, "at most once, and in order");
    let lost = added
        .iter()
        .filter(|job| !eager.iter().any(|did| did == *job));
    assert!(
        lost.count() <= kills.len(),
        "each kill loses one job at most"
    );

    let lost = added
        .iter()
        .find(|job| !careful.iter().any(|did| did == *job));
    assert_eq!(lost, None, "at least once");
    let again = careful.windows(2).filter(|pair| pair[0] >= pair[1]);
    assert!(
        again.count() <= kills.len(),
        "each kill repeats one job at most"
    );
}

/// The log of a leader: terms and data.
type Entries = Vec<String>;

/// A message to a replica that has `entries`: more of them, or others instead of some at the end. And every log that
/// the replica may have while it follows it.
fn message(random: &mut Random, entries: &Entries, term: &mut u64) -> (String, Vec<Entries>) {
    let cut = if random.below(4) == 0 {
        random.below(6) as usize
    } else {
        0
    };
    let keep = entries.len().saturating_sub(cut);
    *term += u64::from(keep < entries.len());
    let new: Entries = (0..1 + random.below(4))
        .map(|_| format!("{term}:{}", random.below(1_000_000)))
        .collect();
    let previous = keep.checked_sub(1).map_or("0", |at| {
        let (term, _) = entries[at].split_once(':').unwrap();
        term
    });
    let text = format!("append {keep} {previous} {}", new.join(" "));
    let step = |count: usize| [&entries[..keep], &new[..count]].concat();
    (text, (0..=new.len()).map(step).collect())
}

#[test]
fn a_replica_has_what_it_acknowledged_and_not_what_was_cut_off() {
    let home = Home::new("replicated");
    home.small_segments("");
    let mut random = Random(2);
    let (mut entries, mut term, mut lsn) = (Entries::new(), 1, 0);
    let (mut cuts, mut in_the_middle) = (0, 0);
    for kill_at in [1, 20, 7, 35, 2, 11] {
        let mut messages = Vec::new();
        let mut steps = vec![vec![entries]];
        for _ in 0..40 {
            let before = steps.last().unwrap().last().unwrap();
            let (text, during) = message(&mut random, before, &mut term);
            cuts += usize::from(during[0].len() < before.len());
            messages.push(text);
            steps.push(during);
        }
        let mut replica = home.start("replicated", &[]);
        replica.tell(&messages);
        let answers = replica.kill_after(kill_at);
        in_the_middle += usize::from(answers.len() < messages.len());
        for (answer, step) in answers.iter().zip(&steps[1..]) {
            let words: Vec<_> = answer.split(' ').collect();
            assert_eq!(words[..2], ["ok", &step.last().unwrap().len().to_string()]);
            let end: u64 = words[2].parse().unwrap();
            assert!(end > lsn, "an LSN has come back: {end} after {lsn}");
            lsn = end;
        }
        let found = list(&home, "replicated");
        let places = found.iter().map(|line| line.split_once(" at ").unwrap().1);
        let places: Vec<u64> = places.map(|at| at.parse().unwrap()).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
        let found = found
            .iter()
            .map(|line| line.split(' ').nth(1).unwrap().to_owned());
        entries = found.collect();
        // The last acknowledged log, or one of those on the way through what was not acknowledged.
        let acknowledged = steps[answers.len()].last().into_iter();
        let mut possible = acknowledged.chain(steps[answers.len() + 1..].iter().flatten());
        assert!(
            possible.any(|log| *log == entries),
            "{} acknowledged, found {entries:?}",
            answers.len()
        );
    }
    assert!(cuts >= 20, "{cuts} cuts");
    assert!(in_the_middle > 0, "always killed too late");
}
