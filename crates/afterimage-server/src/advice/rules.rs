//! The rules over a database. Each needs enough to judge by, so that a database that has just been opened is told nothing.

use std::time::Duration;

use afterimage::PinHolder;
use afterimage_log::units::{write_duration, write_size};

use super::look::Look;
use super::{Finding, Severity};
use crate::units::{count, duration, size};

type Rule = fn(&Look<'_>) -> Option<Finding>;

/// In the order in which they are told, where they matter as much.
pub(super) const RULES: &[Rule] = &[
    forced_checkpoints,
    checkpoint_age,
    frequent_checkpoints,
    small_log,
    throttled,
    manual_checkpoints,
    sync_latency,
    shared_syncs,
    log_buffer,
    log_segments,
    old_transaction,
    versions,
    cache,
    clean_frames,
    recovery_time,
    lossy_commits,
];

/// Fewer checkpoints, or syncs, are no pattern.
const CHECKPOINTS_MIN: u64 = 4;
const SYNCS_MIN: u64 = 100;
/// Less often than this is no pattern either.
const WAITS_MIN: u64 = 20;
/// What is waited for less than this part of the time is not worth a word.
const PART_MIN: f64 = 0.01;
/// Good is a checkpoint every so often, and bad one more often than that.
const INTERVAL_GOOD: Duration = Duration::from_secs(15 * 60);
const INTERVAL_BAD: Duration = Duration::from_secs(60);

/// A size that is easy to read, no less than this one.
fn rounded(bytes: u64) -> u64 {
    let step = (bytes.max(1 << 20).next_power_of_two() / 16).max(1 << 20);
    bytes.div_ceil(step) * step
}

/// What `max_wal_size` should be by what was written: four times the busiest `checkpoint_timeout`, and enough for a checkpoint by pace,
/// every eighth of it, to come no more often than once a minute.
fn max_wal_size_wanted(look: &Look<'_>) -> u64 {
    let pace = 8.0 * INTERVAL_BAD.as_secs_f64() * look.log_a_second();
    let wanted = (look.wal_busiest_bytes * 4).max(pace as u64);
    rounded(wanted.max(look.max_wal_size * 2))
}

/// Where `target_recovery_time` is what holds the log back, more log alone changes nothing.
fn is_held_by_recovery(look: &Look<'_>) -> bool {
    look.target_recovery_bytes < look.max_wal_size
}

fn larger_log(
    look: &Look<'_>,
    rule: &'static str,
    severity: Severity,
    evidence: String,
) -> Finding {
    let wanted = max_wal_size_wanted(look);
    let room = format!("the log takes up to {} of the disk", size(wanted));
    let effect = match is_held_by_recovery(look) || look.target_recovery_bytes < wanted {
        true => format!(
            "pages are written home less often and commits wait less for it; {room}; a recovery could take longer than {}, so \
             target_recovery_time holds the usual log at {}",
            duration(Duration::from_micros(look.target_recovery_micros)),
            size(look.target_recovery_bytes)
        ),
        false => format!("pages are written home less often and commits wait less for it; {room}"),
    };
    Finding {
        rule,
        severity,
        evidence,
        setting: "max_wal_size",
        now: write_size(look.max_wal_size),
        proposed: write_size(wanted),
        effect,
    }
}

fn forced_checkpoints(look: &Look<'_>) -> Option<Finding> {
    let (forced, usual) = (
        look.checkpoints_forced,
        look.checkpoints_timed + look.checkpoints_paced,
    );
    if forced + usual < CHECKPOINTS_MIN || forced * 10 <= usual {
        return None;
    }
    let evidence = format!(
        "{} of {} checkpoints were forced because the log came close to max_wal_size; the writer that met it had to bring pages home",
        count(forced),
        count(forced + usual)
    );
    Some(larger_log(
        look,
        "forced-checkpoints",
        Severity::Warning,
        evidence,
    ))
}

fn checkpoint_age(look: &Look<'_>) -> Option<Finding> {
    let part = look.checkpoint_age_max as f64 / look.max_wal_size.max(1) as f64;
    if part <= 0.8 {
        return None;
    }
    let evidence = format!(
        "the log that a recovery would read came to {}, {:.0} % of max_wal_size; at 81 % a checkpoint is forced, and at 94 % everybody waits",
        size(look.checkpoint_age_max),
        part * 100.0
    );
    Some(larger_log(
        look,
        "checkpoint-age",
        Severity::Warning,
        evidence,
    ))
}

fn frequent_checkpoints(look: &Look<'_>) -> Option<Finding> {
    let (times, mean) = (&look.checkpoint_interval, look.checkpoint_interval.mean());
    if times.count() < CHECKPOINTS_MIN || mean >= INTERVAL_BAD {
        return None;
    }
    let evidence = format!(
        "{} checkpoints, {} apart; 15 to 30 minutes is good",
        count(times.count()),
        duration(mean)
    );
    let by_time = look.checkpoints_timed > look.checkpoints_paced + look.checkpoints_forced;
    let timeout = look.time("checkpoint_timeout").unwrap_or_default();
    if by_time && timeout < INTERVAL_BAD {
        return Some(Finding {
            rule: "frequent-checkpoints",
            severity: Severity::Warning,
            evidence,
            setting: "checkpoint_timeout",
            now: write_duration(timeout),
            proposed: write_duration(INTERVAL_GOOD),
            effect: "a page that changes often goes home once, not each time; after a quiet time a recovery begins farther back".to_owned(),
        });
    }
    if is_held_by_recovery(look) && max_wal_size_wanted(look) > look.target_recovery_bytes {
        let now = Duration::from_micros(look.target_recovery_micros);
        let times = INTERVAL_BAD.as_secs_f64() / mean.as_secs_f64().max(0.001);
        let wanted = now.mul_f64(times.clamp(2.0, 10.0));
        return Some(Finding {
            rule: "frequent-checkpoints",
            severity: Severity::Note,
            evidence: format!(
                "{evidence}; target_recovery_time holds the log at {}, less than max_wal_size",
                size(look.target_recovery_bytes)
            ),
            setting: "target_recovery_time",
            now: write_duration(now),
            proposed: write_duration(Duration::from_secs(wanted.as_secs().max(1))),
            effect: "pages are written home less often; a recovery may take that long".to_owned(),
        });
    }
    Some(larger_log(
        look,
        "frequent-checkpoints",
        Severity::Warning,
        evidence,
    ))
}

fn small_log(look: &Look<'_>) -> Option<Finding> {
    if look.wal_busiest_bytes * 4 <= look.max_wal_size {
        return None;
    }
    let evidence = format!(
        "{} of log in the busiest {} (checkpoint_timeout): four times as much is more than max_wal_size",
        size(look.wal_busiest_bytes),
        duration(look.time("checkpoint_timeout").unwrap_or_default())
    );
    Some(larger_log(look, "small-log", Severity::Note, evidence))
}

fn throttled(look: &Look<'_>) -> Option<Finding> {
    let waited = &look.wait_throttle;
    let part = waited.total().as_secs_f64() / look.uptime().as_secs_f64().max(0.001);
    if waited.count() < WAITS_MIN || part < PART_MIN {
        return None;
    }
    let evidence = format!(
        "{} first writes waited because pages went home more slowly than log was written: {} in all, in {}",
        count(waited.count()),
        duration(waited.total()),
        duration(look.uptime())
    );
    let capacity = look.setting("io_capacity_max");
    if !matches!(capacity, "unlimited" | "") {
        return Some(Finding {
            rule: "throttle",
            severity: Severity::Warning,
            evidence,
            setting: "io_capacity_max",
            now: capacity.to_owned(),
            proposed: "unlimited".to_owned(),
            effect: "pages go home as fast as the log asks for, and writers need not wait; the disk has more to do".to_owned(),
        });
    }
    Some(larger_log(look, "throttle", Severity::Warning, evidence))
}

fn manual_checkpoints(look: &Look<'_>) -> Option<Finding> {
    let usual = look.checkpoints_timed + look.checkpoints_paced;
    if look.checkpoints_manual < CHECKPOINTS_MIN || look.checkpoints_manual * 10 <= usual {
        return None;
    }
    let timeout = look.time("checkpoint_timeout").unwrap_or_default();
    Some(Finding {
        rule: "manual-checkpoints",
        severity: Severity::Note,
        evidence: format!(
            "{} checkpoints were asked for, beside {} that came by themselves; each writes every dirty page home at once",
            count(look.checkpoints_manual),
            count(usual)
        ),
        setting: "checkpoint_timeout",
        now: write_duration(timeout),
        proposed: "leave it to the database: no calls of checkpoint()".to_owned(),
        effect: "pages go home evenly, and what changes often goes home once".to_owned(),
    })
}

fn sync_latency(look: &Look<'_>) -> Option<Finding> {
    let p99 = look.sync.permille(990);
    let severity = match p99 {
        _ if look.sync.count() < SYNCS_MIN => return None,
        p99 if p99 > Duration::from_millis(50) => Severity::Alarm,
        p99 if p99 > Duration::from_millis(10) => Severity::Warning,
        _ => return None,
    };
    let evidence = format!(
        "1 sync of the log in 100 takes {} or more (half of them {}, {} the longest); 5 ms is good, and every commit at level Disk waits for one",
        duration(p99),
        duration(look.sync.permille(500)),
        duration(look.sync.max())
    );
    let method = look.setting("wal_sync_method");
    Some(Finding {
        rule: "sync-latency",
        severity,
        evidence,
        setting: "wal_sync_method",
        now: method.to_owned(),
        proposed: match method {
            "auto" | "" => "what `afterimage test-sync` finds on this disk; if that is no better, another disk for the log".to_owned(),
            _ => "auto".to_owned(),
        },
        effect: "commits take about as long as a sync; who cannot have a faster disk commits more in one transaction, or from more threads".to_owned(),
    })
}

/// Many commit at a time, and still each sync serves few of them.
fn shared_syncs(look: &Look<'_>) -> Option<Finding> {
    let flushes = look.wal_flushes.max(1) as f64;
    let writers = look.wal_flush_writers as f64 / flushes;
    let served = look.wal_flush_commits as f64 / flushes;
    if look.wal_flushes < SYNCS_MIN || writers < 10.0 || served >= 10.0 {
        return None;
    }
    let evidence = format!(
        "{writers:.0} commits are on their way at a time, and a sync of the log serves {served:.1} of them ({} each)",
        duration(look.sync.mean())
    );
    let in_flight = look.setting("flushes_in_flight");
    let (proposed, effect) = match in_flight {
        "auto" | "" => (
            "1",
            "fewer syncs, each for more commits: for a disk that others need too, or that charges for each; a commit may then wait for two of them",
        ),
        _ => (
            "auto",
            "fewer syncs, each for more commits, as long as the disk is fast",
        ),
    };
    Some(Finding {
        rule: "shared-syncs",
        severity: if matches!(in_flight, "auto" | "") {
            Severity::Note
        } else {
            Severity::Warning
        },
        evidence,
        setting: "flushes_in_flight",
        now: in_flight.to_owned(),
        proposed: proposed.to_owned(),
        effect: effect.to_owned(),
    })
}

fn log_buffer(look: &Look<'_>) -> Option<Finding> {
    let waited = &look.wait_log_buffer;
    let often = look.wal_buffers_full * 100 >= look.commits;
    if waited.count() < WAITS_MIN || !often {
        return None;
    }
    let now = look.size("wal_buffers").unwrap_or(0);
    Some(Finding {
        rule: "log-buffer",
        severity: Severity::Warning,
        evidence: format!(
            "{} writes waited for a full log buffer to be written out, {} in all; {} commits",
            count(waited.count()),
            duration(waited.total()),
            count(look.commits)
        ),
        setting: "wal_buffers",
        now: write_size(now),
        proposed: write_size((now * 4).clamp(4 << 20, 1 << 30)),
        effect:
            "transactions write on while the log is written; up to twice the difference of memory"
                .to_owned(),
    })
}

fn log_segments(look: &Look<'_>) -> Option<Finding> {
    let waited = &look.wait_log_space;
    let part = waited.total().as_secs_f64() / look.uptime().as_secs_f64().max(0.001);
    // With forced checkpoints, that is what was waited for.
    if waited.count() < WAITS_MIN || part < PART_MIN || look.checkpoints_forced > 0 {
        return None;
    }
    let now = look.setting("spare_segments");
    let more = now.parse().unwrap_or(1_u64) * 2;
    Some(Finding {
        rule: "log-segments",
        severity: Severity::Note,
        evidence: format!(
            "{} writes waited for a log segment to be made, {} in all",
            count(waited.count()),
            duration(waited.total())
        ),
        setting: "spare_segments",
        now: now.to_owned(),
        proposed: more.min(64).to_string(),
        effect: format!(
            "bursts find segments ready; {} more of the disk",
            size(look.wal_segment_size * (more / 2))
        ),
    })
}

fn old_transaction(look: &Look<'_>) -> Option<Finding> {
    let pin = look.status.pins.first()?;
    let PinHolder::Transaction { label, age, .. } = &pin.holder else {
        return None;
    };
    if pin.bytes * 2 <= look.max_wal_size || *age < Duration::from_secs(1) {
        return None;
    }
    let label = if label.is_empty() {
        "without a label"
    } else {
        label
    };
    Some(Finding {
        rule: "old-transaction",
        severity: Severity::Warning,
        evidence: format!(
            "a transaction ({label}), begun {} ago, holds {} of log back; at {} it is rolled back",
            duration(*age),
            size(pin.bytes),
            size(look.max_wal_size)
        ),
        setting: "max_wal_size",
        now: write_size(look.max_wal_size),
        proposed: "end it, or write in smaller transactions; `afterimage pins` names it".to_owned(),
        effect: "the log can be used again".to_owned(),
    })
}

fn versions(look: &Look<'_>) -> Option<Finding> {
    let full = look.version_bytes * 10 > look.version_store_size * 8;
    if !full && look.snapshots_too_old == 0 {
        return None;
    }
    let evidence = match look.snapshots_too_old {
        0 => format!(
            "old versions of rows take {} of {} (version_store_size), for {} snapshots",
            size(look.version_bytes),
            size(look.version_store_size),
            count(look.snapshots)
        ),
        n => format!(
            "{} snapshots were given up (SnapshotTooOld) because old versions of rows took {}",
            count(n),
            size(look.version_store_size)
        ),
    };
    Some(Finding {
        rule: "versions",
        severity: Severity::Warning,
        evidence,
        setting: "version_store_size",
        now: write_size(look.version_store_size),
        proposed: write_size(rounded(look.version_store_size * 4)),
        effect: "snapshots last longer while others write; that much memory, if they do. A snapshot that somebody has forgotten takes all of it: end it".to_owned(),
    })
}

fn cache(look: &Look<'_>) -> Option<Finding> {
    let (rate, waited) = (look.buffer_hit_rate()?, &look.wait_page_read);
    let (pool, all) = (
        look.pool_frames * look.page_size,
        look.pages * look.page_size,
    );
    if waited.count() < 1000 || rate >= 0.95 || pool >= all {
        return None;
    }
    let wanted = rounded((pool * 4).min(all + all / 8));
    Some(Finding {
        rule: "cache",
        severity: Severity::Warning,
        evidence: format!(
            "{:.1} % of {} looks for a page of rows found it in memory; {} were waited for, {} each. The pages are {}",
            rate * 100.0,
            count(look.page_lookups),
            count(waited.count()),
            duration(waited.mean()),
            size(all)
        ),
        setting: "buffer_pool_size",
        now: write_size(pool),
        proposed: write_size(wanted),
        effect: "reads and writes find their pages in memory; that much memory".to_owned(),
    })
}

fn clean_frames(look: &Look<'_>) -> Option<Finding> {
    let waited = &look.wait_clean_frame;
    if waited.count() < WAITS_MIN {
        return None;
    }
    let pool = look.pool_frames * look.page_size;
    Some(Finding {
        rule: "clean-frames",
        severity: Severity::Warning,
        evidence: format!(
            "{} calls found no clean page in the pool and had to write some home first, {} each",
            count(waited.count()),
            duration(waited.mean())
        ),
        setting: "buffer_pool_size",
        now: write_size(pool),
        proposed: write_size(rounded(pool * 4)),
        effect: "pages go home in the background, not while somebody waits; that much memory"
            .to_owned(),
    })
}

fn recovery_time(look: &Look<'_>) -> Option<Finding> {
    if look.estimated_recovery_micros <= look.target_recovery_micros {
        return None;
    }
    let wanted = rounded(look.target_recovery_bytes).min(look.max_wal_size / 2);
    Some(Finding {
        rule: "recovery-time",
        severity: Severity::Warning,
        evidence: format!(
            "a recovery now would take about {}; target_recovery_time is {}",
            duration(Duration::from_micros(look.estimated_recovery_micros)),
            duration(Duration::from_micros(look.target_recovery_micros))
        ),
        setting: "max_wal_size",
        now: write_size(look.max_wal_size),
        proposed: write_size(wanted.max(look.wal_segment_size * 4)),
        effect: "a recovery has less to read; pages are written home more often".to_owned(),
    })
}

fn lossy_commits(look: &Look<'_>) -> Option<Finding> {
    let (memory, os) = (look.commits_memory, look.commits_os);
    if memory + os == 0 {
        return None;
    }
    let delay = look.setting("wal_writer_delay");
    let evidence = match memory {
        0 => format!(
            "{} of {} commits were acknowledged at level Os: a power failure loses the last {delay} of them",
            count(os),
            count(look.commits)
        ),
        _ => format!(
            "{} of {} commits were acknowledged at level Memory: a crash of the process loses the last {delay} of them",
            count(memory),
            count(look.commits)
        ),
    };
    let now = look.setting("synchronous_commit");
    Some(Finding {
        rule: "lossy-commits",
        severity: Severity::Note,
        evidence,
        setting: "synchronous_commit",
        now: now.to_owned(),
        proposed: match now {
            "disk" => {
                "leave out set_durability, if that loss is not meant; of unlogged tables it is"
                    .to_owned()
            }
            _ => "disk, if that loss is not meant".to_owned(),
        },
        effect: "no commit that was acknowledged is lost; each waits for a sync, alone or shared"
            .to_owned(),
    })
}
