//! What follows from the figures, in plain words: what to set, what a commit costs, and whether to believe it.

use super::row::{GROUP, Outcome};
use crate::units::{count, duration};
use afterimage_io::DurableWrites;
use afterimage_log::SyncChoice;
use std::path::PathBuf;
use std::time::Duration;

/// Faster than anything writes flash memory.
const TOO_FAST: Duration = Duration::from_micros(20);
/// Faster than most disks flush that have to write flash memory first.
const FAST: Duration = Duration::from_micros(150);

/// What was measured, as far as it is judged.
pub struct Seen {
    /// What `auto` would choose.
    pub choice: SyncChoice,
    /// A durable block: each way that is offered, and its middle in nanoseconds.
    pub blocks: Vec<(DurableWrites, u64)>,
    /// One commit a sync, by the way chosen, measured beside what follows.
    pub single: Outcome,
    /// A hundred commits a sync.
    pub group: Outcome,
    /// Pages at random places.
    pub random: Outcome,
    /// One thread, two, four.
    pub threads: [Outcome; 3],
    /// The name of the file system, if it lives in memory.
    pub memory: Option<String>,
    /// Where it was measured.
    pub dir: PathBuf,
}

/// What to say.
pub struct Advice {
    /// One thought each.
    pub recommendation: Vec<String>,
    /// Reasons to doubt the figures, or the disk.
    pub warnings: Vec<String>,
}

/// What follows.
pub fn advice(seen: &Seen) -> Advice {
    Advice {
        recommendation: vec![
            settings(seen),
            single(seen),
            group(seen),
            random(seen),
            overlap(seen),
        ],
        warnings: warnings(seen),
    }
}

/// The two settings, and why.
fn settings(seen: &Seen) -> String {
    let SyncChoice {
        writes,
        nanos,
        plain_nanos,
    } = seen.choice;
    let on_off = if writes.direct { "on" } else { "off" };
    let set = format!(
        "wal_sync_method = {}, wal_direct_io = {on_off}",
        writes.method
    );
    let time = |nanos: u64| duration(Duration::from_nanos(nanos));
    let (mine, plain) = (time(nanos.into()), time(plain_nanos.into()));
    let percent = SyncChoice::GAIN_PERCENT;
    let fastest = seen.blocks.iter().min_by_key(|(_, nanos)| *nanos);
    let why = if writes != DurableWrites::PLAIN {
        format!(
            "a durable block takes {mine} this way, at least {percent} % less than the {plain} of write and fdatasync."
        )
    } else if u64::from(plain_nanos) >= SyncChoice::SLOW_NANOS {
        let slow = time(SyncChoice::SLOW_NANOS);
        format!(
            "a durable block takes {plain}. Where it takes {slow} or more, several flushes under way at once gain more \
             than a faster single one, and only plain ones can overlap."
        )
    } else {
        match fastest {
            Some((way, nanos)) if *way != writes => format!(
                "a durable block takes {plain}; the fastest other way, {way}, takes {}, which is not {percent} % less.",
                time(*nanos)
            ),
            _ => format!("a durable block takes {plain}, and no other way is faster."),
        }
    };
    format!(
        "{set}: {why} `auto`, the default, tries this out when it makes a log and would choose the same from these figures. \
         A log keeps what was found when it was made; set the two where it has moved to another disk."
    )
}

fn single(seen: &Seen) -> String {
    let Outcome {
        p50,
        p99,
        per_second,
        ..
    } = seen.single;
    format!(
        "One durable write costs {}, and 1 in 100 more than {}. Who waits for each commit before the next gets at most \
         {} commits a second from this disk, whatever the engine.",
        duration(p50),
        duration(p99),
        whole(per_second)
    )
}

fn group(seen: &Seen) -> String {
    let commits = seen.group.per_second * GROUP as f64;
    format!(
        "Group commit: {GROUP} commits in one sync come to {} commits a second, {} times as many. Commit from many threads, \
         append in batches, or wait for several tickets at once.",
        whole(commits),
        times(commits, seen.single.per_second)
    )
}

fn random(seen: &Seen) -> String {
    format!(
        "A page of 8 KiB written at a random place and synced costs {}, {} times a log's write. An engine without a log pays \
         that for each page that a commit changes; a log pays once for the commit, or for a hundred.",
        duration(seen.random.p50),
        times(seen.random.p50.as_secs_f64(), seen.single.p50.as_secs_f64())
    )
}

fn overlap(seen: &Seen) -> String {
    let [one, two, four] = seen.threads.map(|outcome| outcome.per_second);
    let (two, four) = (times(two, one), times(four, one));
    let slow = duration(Duration::from_nanos(SyncChoice::SLOW_NANOS));
    format!(
        "Syncs at the same time: two threads come to {two} times the rate of one, four to {four} times. \
         `flushes_in_flight = auto` lets a log's flushes overlap where a sync takes {slow} or more."
    )
}

fn warnings(seen: &Seen) -> Vec<String> {
    let mut warnings = Vec::new();
    let plain = seen
        .blocks
        .iter()
        .find(|(way, _)| *way == DurableWrites::PLAIN);
    let plain = plain.map_or(Duration::MAX, |(_, nanos)| Duration::from_nanos(*nanos));
    if let Some(kind) = &seen.memory {
        warnings.push(format!(
            "{} is on {kind}, which is memory: nothing there outlives a power failure, and no sync reaches a disk. \
             These figures say nothing about a disk.",
            seen.dir.display()
        ));
    } else if plain < TOO_FAST {
        warnings.push(format!(
            "A durable write in {} is faster than flash memory is written. Either the disk or its controller has a cache \
             that outlives a power failure, or the disk or the virtual machine says that a write is durable before it is. \
             This command cannot tell which; find out before you rely on it.",
            duration(plain)
        ));
    } else if plain < FAST {
        warnings.push(format!(
            "A durable write in {} is usual where the disk has a cache that outlives a power failure, and on virtual disks. \
             If this is neither, it may say that a write is durable before it is; this command cannot tell.",
            duration(plain)
        ));
    }
    let (first, then) = (u64::from(seen.choice.nanos), seen.single.p50_nanos());
    if first.max(then) > 2 * first.min(then) {
        let [first, then] = [first, then].map(Duration::from_nanos).map(duration);
        warnings.push(format!(
            "A durable block took {first} while the ways were compared and {then} afterwards: the disk or the machine was \
             busy with something else. Repeat this when it is quiet, or with more --seconds."
        ));
    }
    if seen.single.writes < 100 {
        warnings.push(
            "So few writes fit into the time that the p99 is the worst of them; more --seconds tell more.".into(),
        );
    }
    warnings
}

fn whole(rate: f64) -> String {
    count(rate.round() as u64)
}

fn times(part: f64, of: f64) -> String {
    let times = if of > 0.0 { part / of } else { 0.0 };
    match times {
        t if t < 10.0 => format!("{t:.1}"),
        t => whole(t),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use afterimage_io::SyncMethod;

    const DIRECT: DurableWrites = DurableWrites {
        method: SyncMethod::OpenDatasync,
        direct: true,
    };

    fn outcome(micros: u64) -> Outcome {
        Outcome {
            writes: 1000,
            per_second: 1e6 / micros as f64,
            p50: Duration::from_micros(micros),
            p99: Duration::from_micros(3 * micros),
        }
    }

    fn seen(plain: u64, direct: u64) -> Seen {
        let blocks = vec![
            (DurableWrites::PLAIN, plain * 1000),
            (DIRECT, direct * 1000),
        ];
        Seen {
            choice: SyncChoice::among(&blocks),
            blocks,
            single: outcome(plain.min(direct)),
            group: outcome(2 * plain),
            random: outcome(3 * plain),
            threads: [outcome(plain), outcome(plain), outcome(plain)],
            memory: None,
            dir: "/data".into(),
        }
    }

    #[test]
    fn the_settings_come_with_their_reason() {
        let told = |plain, direct| settings(&seen(plain, direct));
        let faster = told(100, 80);
        assert!(
            faster.starts_with(
                "wal_sync_method = open_datasync, wal_direct_io = on: a durable block takes 80.0 µs"
            ),
            "{faster}"
        );
        let near = told(100, 99);
        assert!(
            near.starts_with("wal_sync_method = fdatasync, wal_direct_io = off")
                && near.contains("not 2 % less"),
            "{near}"
        );
        assert!(told(80, 100).contains("no other way is faster"));
        assert!(told(9000, 5000).contains("can overlap"));
    }

    #[test]
    fn what_is_too_good_is_doubted_and_memory_is_named() {
        let warned = |seen: &Seen| warnings(seen).join("\n");
        assert_eq!(warned(&seen(900, 900)), "");
        assert!(warned(&seen(60, 60)).contains("is usual where"));
        assert!(warned(&seen(12, 12)).contains("faster than flash memory"));
        let memory = Seen {
            memory: Some("tmpfs".into()),
            ..seen(2, 2)
        };
        let told = warned(&memory);
        assert!(
            told.contains("tmpfs, which is memory") && !told.contains("flash"),
            "{told}"
        );
        let busy = Seen {
            single: outcome(2000),
            ..seen(900, 900)
        };
        assert!(
            warned(&busy).contains("took 900 µs while") && warned(&busy).contains("2.00 ms after")
        );
        let mut few = seen(900, 900);
        few.single.writes = 20;
        assert!(warned(&few).contains("--seconds"));
    }

    #[test]
    fn multiples_are_of_the_single_write() {
        let seen = seen(1000, 1000);
        assert!(
            group(&seen).contains("50,000 commits a second, 50 times"),
            "{}",
            group(&seen)
        );
        assert!(random(&seen).contains("3.00 ms, 3.0 times"));
        assert!(overlap(&seen).contains("1.0 times the rate of one"));
    }
}
