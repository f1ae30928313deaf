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
    unlogged_cache,
    clean_frames,
    unlogged_clean_frames,
    recovery_time,
    lossy_commits,
    unlogged_commits,
];

/// Fewer checkpoints, or syncs, are no pattern.
const CHECKPOINTS_MIN: u64 = 4;
const SYNCS_MIN: u64 = 100;
/// Less often than this is no pattern either.
const WAITS_MIN: u64 = 20;
const MISSED_MIN: u64 = 1000;
/// What is waited for less than this part of the time is not worth a word.
const PART_MIN: f64 = 0.01;
/// Good is a checkpoint every so often, and bad one more often than that.
const INTERVAL_GOOD: Duration = Duration::from_secs(15 * 60);
const INTERVAL_BAD: Duration = Duration::from_secs(60);
/// A mean rate alone makes nothing larger than so many times what it is.
const BY_RATE_MAX: u64 = 8;
/// Waits for log space that one forced checkpoint may be the cause of: of all who write then.
const WAITS_FOR_A_CHECKPOINT: u64 = 100;
/// The most that a setting may be (docs/settings.md).
const LOG_MAX: u64 = 1024 << 40;
const POOL_MAX: u64 = 16 << 40;
const VERSIONS_MAX: u64 = 1 << 40;
const BUFFERS_MAX: u64 = 1 << 30;
const SPARE_MAX: u64 = 64;
const RECOVERY_MAX: Duration = Duration::from_secs(86_400);

/// A size that is easy to read, no less than this one.
fn rounded(bytes: u64) -> u64 {
    let bytes = bytes.min(LOG_MAX);
    let step = (bytes.max(1 << 20).next_power_of_two() / 16).max(1 << 20);
    bytes.div_ceil(step) * step
}

/// What is wanted, as far as it may be, if that is more than there is.
fn more<T: Ord>(now: T, wanted: T, most: T) -> Option<T> {
    Some(wanted.min(most)).filter(|wanted| *wanted > now)
}

/// What `max_wal_size` should be by what was written: four times the busiest `checkpoint_timeout`, and enough for a checkpoint by pace,
/// every eighth of it, to come no more often than once a minute.
fn max_wal_size_wanted(look: &Look<'_>) -> Option<u64> {
    let by_rate = look.log_a_second().unwrap_or(0.0) * 8.0 * INTERVAL_BAD.as_secs_f64();
    let by_rate = (by_rate as u64).min(look.max_wal_size.saturating_mul(BY_RATE_MAX));
    let wanted = look.wal_busiest_bytes.saturating_mul(4).max(by_rate);
    let wanted = wanted.max(look.max_wal_size.saturating_mul(2));
    more(look.max_wal_size, rounded(wanted), LOG_MAX)
}

/// Where `target_recovery_time` is what holds the log back, more log alone changes nothing.
fn is_held_by_recovery(look: &Look<'_>) -> bool {
    look.target_recovery_bytes < look.max_wal_size
}

/// `None` where it cannot be larger, or a recovery takes too long already: that is told then, and it says which of the two to choose.
fn larger_log(
    look: &Look<'_>,
    rule: &'static str,
    severity: Severity,
    evidence: String,
) -> Option<Finding> {
    let wanted = max_wal_size_wanted(look).filter(|_| !look.is_recovery_long())?;
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
    let proposal = Finding {
        rule,
        severity,
        evidence,
        setting: "max_wal_size",
        now: write_size(look.max_wal_size),
        proposed: write_size(wanted),
        value: None,
        effect,
    };
    Some(proposal.settable())
}

fn forced_checkpoints(look: &Look<'_>) -> Option<Finding> {
    let forced = look.since_set("checkpoints_forced");
    let usual = usual_checkpoints(look);
    if forced + usual < CHECKPOINTS_MIN || forced <= usual / 10 {
        return None;
    }
    let evidence = format!(
        "{} of {} checkpoints were forced because the log came close to max_wal_size; the writer that met it had to bring pages home",
        count(forced),
        count(forced + usual)
    );
    larger_log(look, "forced-checkpoints", Severity::Warning, evidence)
}

/// Those that came by themselves, in good time.
fn usual_checkpoints(look: &Look<'_>) -> u64 {
    look.since_set("checkpoints_timed") + look.since_set("checkpoints_paced")
}

fn checkpoint_age(look: &Look<'_>) -> Option<Finding> {
    let part = look.checkpoint_age_max as f64 / look.max_wal_size.max(1) as f64;
    if part <= 0.8 {
        return None;
    }
    let evidence = format!(
        "the log that a recovery would read came to {}, {:.0} % of max_wal_size; at 94 % everybody waits until pages have gone home",
        size(look.checkpoint_age_max),
        part * 100.0
    );
    larger_log(look, "checkpoint-age", Severity::Warning, evidence)
}

fn frequent_checkpoints(look: &Look<'_>) -> Option<Finding> {
    let times = look.since_set("checkpoint_interval_count");
    let apart = look.since_set("checkpoint_interval_micros") / times.max(1);
    let mean = Duration::from_micros(apart);
    if times < CHECKPOINTS_MIN || mean >= INTERVAL_BAD {
        return None;
    }
    let evidence = format!(
        "{} checkpoints, {} apart; 15 to 30 minutes is good",
        count(times),
        duration(mean)
    );
    let by_log = look.since_set("checkpoints_paced") + look.since_set("checkpoints_forced");
    let by_time = look.since_set("checkpoints_timed") > by_log;
    let timeout = look.time("checkpoint_timeout").unwrap_or_default();
    if by_time && timeout < INTERVAL_BAD {
        let proposal = Finding {
            rule: "frequent-checkpoints",
            severity: Severity::Warning,
            evidence,
            setting: "checkpoint_timeout",
            now: write_duration(timeout),
            proposed: write_duration(INTERVAL_GOOD),
            value: None,
            effect: "a page that changes often goes home once, not each time; after a quiet time a recovery begins farther back".to_owned(),
        };
        return Some(proposal.settable());
    }
    if is_held_by_recovery(look) {
        let now = Duration::from_micros(look.target_recovery_micros);
        let times = INTERVAL_BAD.as_secs_f64() / mean.as_secs_f64().max(0.001);
        let wanted = now.mul_f64(times.clamp(2.0, 10.0));
        let wanted = Duration::from_secs(wanted.as_secs().max(1));
        let wanted = more(now, wanted, RECOVERY_MAX).filter(|_| !look.is_recovery_long())?;
        let proposal = Finding {
            rule: "frequent-checkpoints",
            severity: Severity::Note,
            evidence: format!(
                "{evidence}; target_recovery_time holds the log at {}, less than max_wal_size",
                size(look.target_recovery_bytes)
            ),
            setting: "target_recovery_time",
            now: write_duration(now),
            proposed: write_duration(wanted),
            value: None,
            effect: "pages are written home less often; a recovery may take that long".to_owned(),
        };
        return Some(proposal.settable());
    }
    larger_log(look, "frequent-checkpoints", Severity::Warning, evidence)
}

fn small_log(look: &Look<'_>) -> Option<Finding> {
    if look.wal_busiest_bytes.saturating_mul(4) <= look.max_wal_size {
        return None;
    }
    let evidence = format!(
        "{} of log in the busiest {} (checkpoint_timeout): four times as much is more than max_wal_size",
        size(look.wal_busiest_bytes),
        duration(look.time("checkpoint_timeout").unwrap_or_default())
    );
    larger_log(look, "small-log", Severity::Note, evidence)
}

fn throttled(look: &Look<'_>) -> Option<Finding> {
    let times = look.since_set("wait_throttle_count");
    let waited = look.since_set("wait_throttle_micros");
    let over = Duration::from_micros(look.since_set("uptime_micros"));
    let part = waited as f64 / over.as_micros().max(1) as f64;
    if times < WAITS_MIN || part < PART_MIN {
        return None;
    }
    let evidence = format!(
        "{} first writes waited because pages went home more slowly than log was written: {} in all, in {}",
        count(times),
        duration(Duration::from_micros(waited)),
        duration(over)
    );
    let capacity = look.setting("io_capacity_max");
    if !matches!(capacity, "unlimited" | "") {
        let proposal = Finding {
            rule: "throttle",
            severity: Severity::Warning,
            evidence,
            setting: "io_capacity_max",
            now: capacity.to_owned(),
            proposed: "unlimited".to_owned(),
            value: None,
            effect: "pages go home as fast as the log asks for, and writers need not wait; the disk has more to do".to_owned(),
        };
        return Some(proposal.settable());
    }
    larger_log(look, "throttle", Severity::Warning, evidence)
}

fn manual_checkpoints(look: &Look<'_>) -> Option<Finding> {
    let (manual, usual) = (
        look.since_set("checkpoints_manual"),
        usual_checkpoints(look),
    );
    if manual < CHECKPOINTS_MIN || manual <= usual / 10 {
        return None;
    }
    let timeout = look.time("checkpoint_timeout").unwrap_or_default();
    Some(Finding {
        rule: "manual-checkpoints",
        severity: Severity::Note,
        evidence: format!(
            "{} checkpoints were asked for, beside {} that came by themselves; each writes every dirty page home at once",
            count(manual),
            count(usual)
        ),
        setting: "checkpoint_timeout",
        now: write_duration(timeout),
        proposed: "leave it to the database: no calls of checkpoint()".to_owned(),
        value: None,
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
    let is_auto = matches!(method, "auto" | "");
    let proposal = Finding {
        rule: "sync-latency",
        severity,
        evidence,
        setting: "wal_sync_method",
        now: method.to_owned(),
        proposed: match is_auto {
            true => "what `afterimage test-sync` finds on this disk; if that is no better, another disk for the log".to_owned(),
            false => "auto".to_owned(),
        },
        value: None,
        effect: "commits take about as long as a sync; who cannot have a faster disk commits more in one transaction, or from more threads".to_owned(),
    };
    Some(if is_auto {
        proposal
    } else {
        proposal.settable()
    })
}

/// Many commit at a time, and still each sync serves few of them. Where nothing is set that is how it should be: on a slow disk syncs overlap, so
/// that nobody waits for two (decision 0017).
fn shared_syncs(look: &Look<'_>) -> Option<Finding> {
    let flushes = look.since_set("wal_flushes");
    let a_flush = |n: u64| n as f64 / flushes.max(1) as f64;
    let writers = a_flush(look.since_set("wal_flush_writers"));
    let served = a_flush(look.since_set("wal_flush_commits"));
    if flushes < SYNCS_MIN || writers < 10.0 || served >= 10.0 {
        return None;
    }
    let evidence = format!(
        "{writers:.0} commits are on their way at a time, and a sync of the log serves {served:.1} of them ({} each)",
        duration(look.sync.mean())
    );
    let in_flight = look.setting("flushes_in_flight");
    let delay = look.time("commit_delay").unwrap_or_default();
    let (setting, now, proposed, effect) = match in_flight {
        "auto" | "" if delay.is_zero() => return None,
        "auto" | "" => (
            "commit_delay",
            write_duration(delay),
            "0",
            "syncs begin as commits come: whoever waits, waits for the disk and for nothing else",
        ),
        fixed => (
            "flushes_in_flight",
            fixed.to_owned(),
            "auto",
            "on a fast disk one sync at a time, which serves all who are there; on a slow one syncs begin at even distances, and nobody waits for two",
        ),
    };
    let proposal = Finding {
        rule: "shared-syncs",
        severity: Severity::Warning,
        evidence,
        setting,
        now,
        proposed: proposed.to_owned(),
        value: None,
        effect: effect.to_owned(),
    };
    Some(proposal.settable())
}

fn log_buffer(look: &Look<'_>) -> Option<Finding> {
    let waited = &look.wait_log_buffer;
    let often = look.wal_buffers_full.saturating_mul(100) >= look.commits;
    if waited.count() < WAITS_MIN || !often {
        return None;
    }
    let now = look.size("wal_buffers").unwrap_or(0);
    let wanted = more(now, now.saturating_mul(4).max(4 << 20), BUFFERS_MAX)?;
    let proposal = Finding {
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
        proposed: write_size(wanted),
        value: None,
        effect:
            "transactions write on while the log is written; up to twice the difference of memory"
                .to_owned(),
    };
    Some(proposal.settable())
}

fn log_segments(look: &Look<'_>) -> Option<Finding> {
    let waited = &look.wait_log_space;
    let part = look.part_of_uptime(waited.total());
    // Forced checkpoints are waited for under the same name.
    let forced = look
        .checkpoints_forced
        .saturating_mul(WAITS_FOR_A_CHECKPOINT);
    if waited.count() < forced.max(WAITS_MIN) || part < PART_MIN {
        return None;
    }
    let now = look.setting("spare_segments").parse().unwrap_or(1_u64);
    let wanted = more(now, now.saturating_mul(2), SPARE_MAX)?;
    let proposal = Finding {
        rule: "log-segments",
        severity: Severity::Note,
        evidence: format!(
            "{} writes waited for a log segment to be made, {} in all",
            count(waited.count()),
            duration(waited.total())
        ),
        setting: "spare_segments",
        now: now.to_string(),
        proposed: wanted.to_string(),
        value: None,
        effect: format!(
            "bursts find segments ready; {} more of the disk",
            size(look.wal_segment_size * (wanted - now))
        ),
    };
    Some(proposal.settable())
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
            size(look.max_wal_size - look.max_wal_size / 16)
        ),
        setting: "max_wal_size",
        now: write_size(look.max_wal_size),
        proposed: "end it, or write in smaller transactions; `afterimage pins` names it".to_owned(),
        value: None,
        effect: "the log can be used again".to_owned(),
    })
}

fn versions(look: &Look<'_>) -> Option<Finding> {
    let full = look.version_bytes > look.version_store_size / 10 * 8;
    // One an hour.
    let hours = look.uptime_micros / 3_600_000_000;
    let often = look.snapshots_too_old > hours;
    if !full && !often {
        return None;
    }
    let evidence = match often {
        false => format!(
            "old versions of rows take {} of {} (version_store_size), for {} snapshots",
            size(look.version_bytes),
            size(look.version_store_size),
            count(look.snapshots)
        ),
        true => format!(
            "{} snapshots were given up (SnapshotTooOld) because old versions of rows took {}",
            count(look.snapshots_too_old),
            size(look.version_store_size)
        ),
    };
    let now = look.version_store_size;
    let wanted = more(now, rounded(now.saturating_mul(4)), VERSIONS_MAX);
    Some(Finding {
        rule: "versions",
        severity: Severity::Warning,
        evidence,
        setting: "version_store_size",
        now: write_size(now),
        proposed: wanted.map_or("shorter snapshots".to_owned(), write_size),
        value: wanted.map(write_size),
        effect: "snapshots last longer while others write; that much memory, if they do. A snapshot that somebody has forgotten takes all of it: end it".to_owned(),
    })
}

/// One of the two pools, and what was looked for in it.
struct Pool {
    setting: &'static str,
    whose: &'static str,
    frames: u64,
    pages: u64,
    lookups: u64,
    missed: u64,
    /// Waits for a clean frame.
    waited: Duration,
}

impl Pool {
    fn logged(look: &Look<'_>) -> Pool {
        let unlogged = Pool::unlogged(look);
        Pool {
            setting: "buffer_pool_size",
            whose: "rows",
            frames: look.pool_frames,
            pages: look.pages,
            lookups: look.page_lookups.saturating_sub(unlogged.lookups),
            missed: look.pages_missed.saturating_sub(unlogged.missed),
            waited: look
                .wait_clean_frame
                .total()
                .saturating_sub(unlogged.waited),
        }
    }

    fn unlogged(look: &Look<'_>) -> Pool {
        Pool {
            setting: "unlogged_pool_size",
            whose: "rows of unlogged tables",
            frames: look.unlogged_pool_frames,
            pages: look.unlogged_pages,
            lookups: look.unlogged_page_lookups,
            missed: look.unlogged_pages_missed,
            waited: Duration::from_micros(look.unlogged_clean_frame_micros),
        }
    }

    /// What it has, as it was set.
    fn size(&self, look: &Look<'_>) -> u64 {
        let frames = self.frames * look.page_size;
        look.size(self.setting).unwrap_or(frames)
    }
}

fn cache(look: &Look<'_>) -> Option<Finding> {
    small_pool(look, &Pool::logged(look))
}

fn unlogged_cache(look: &Look<'_>) -> Option<Finding> {
    small_pool(look, &Pool::unlogged(look))
}

fn small_pool(look: &Look<'_>, pool: &Pool) -> Option<Finding> {
    let missed = pool.missed.min(pool.lookups);
    let rate = 1.0 - missed as f64 / pool.lookups.max(1) as f64;
    if missed < MISSED_MIN || rate >= 0.95 || pool.frames >= pool.pages {
        return None;
    }
    let (now, all) = (pool.size(look), pool.pages * look.page_size);
    let wanted = rounded(now.saturating_mul(4).min(all + all / 8));
    let proposal = Finding {
        rule: "cache",
        severity: Severity::Warning,
        evidence: format!(
            "{:.1} % of {} looks for a page of {} found it in memory; to read one takes {}. The pages are {}",
            rate * 100.0,
            count(pool.lookups),
            pool.whose,
            duration(look.wait_page_read.mean()),
            size(all)
        ),
        setting: pool.setting,
        now: write_size(now),
        proposed: write_size(more(now, wanted, POOL_MAX)?),
        value: None,
        effect: "reads and writes find their pages in memory; that much memory".to_owned(),
    };
    Some(proposal.settable())
}

fn clean_frames(look: &Look<'_>) -> Option<Finding> {
    dirty_pool(look, &Pool::logged(look))
}

fn unlogged_clean_frames(look: &Look<'_>) -> Option<Finding> {
    dirty_pool(look, &Pool::unlogged(look))
}

fn dirty_pool(look: &Look<'_>, pool: &Pool) -> Option<Finding> {
    let (waits, part) = (
        look.wait_clean_frame.count(),
        look.part_of_uptime(pool.waited),
    );
    if waits < WAITS_MIN || part < PART_MIN {
        return None;
    }
    let now = pool.size(look);
    let wanted = more(now, rounded(now.saturating_mul(4)), POOL_MAX)?;
    let proposal = Finding {
        rule: "clean-frames",
        severity: Severity::Warning,
        evidence: format!(
            "calls found no clean page in the pool of {}, and had to write some home first: {} in all, {:.0} % of the time",
            pool.whose,
            duration(pool.waited),
            part * 100.0
        ),
        setting: pool.setting,
        now: write_size(now),
        proposed: write_size(wanted),
        value: None,
        effect: "pages go home in the background, not while somebody waits; that much memory"
            .to_owned(),
    };
    Some(proposal.settable())
}

/// Less log, where there can be less; else a target that is kept.
fn recovery_time(look: &Look<'_>) -> Option<Finding> {
    if !look.is_recovery_long() {
        return None;
    }
    let estimated = Duration::from_micros(look.estimated_recovery_micros);
    let target = Duration::from_micros(look.target_recovery_micros);
    let evidence = format!(
        "a recovery now would take about {}; target_recovery_time is {}",
        duration(estimated),
        duration(target)
    );
    let less = rounded(look.target_recovery_bytes).min(look.max_wal_size / 2);
    let less = less.max(look.wal_segment_size * 4);
    let longer = Duration::from_secs(estimated.as_secs() / 4 * 5 + 1);
    let longer = more(target, longer, RECOVERY_MAX);
    let (setting, now, value, effect) = match less < look.max_wal_size {
        true => (
            "max_wal_size",
            write_size(look.max_wal_size),
            Some(write_size(less)),
            "a recovery has less to read; pages are written home more often. If so long a recovery is all right, set target_recovery_time to it, and \
             ask again",
        ),
        false => (
            "target_recovery_time",
            write_duration(target),
            longer.map(write_duration),
            "it is what can be had: max_wal_size is the least there is for segments of this size",
        ),
    };
    Some(Finding {
        rule: "recovery-time",
        severity: Severity::Warning,
        evidence,
        setting,
        now,
        proposed: value.clone().unwrap_or("a faster disk".to_owned()),
        value,
        effect: effect.to_owned(),
    })
}

fn lossy_commits(look: &Look<'_>) -> Option<Finding> {
    let delay = look.setting("wal_writer_delay");
    let told = [
        (look.commits_memory, "Memory", "a crash of the process"),
        (look.commits_os, "Os", "a power failure"),
    ];
    let told = told.into_iter().filter(|(commits, ..)| *commits > 0);
    let told: Vec<_> = told
        .map(|(commits, level, what)| {
            let commits = count(commits);
            format!("{commits} at level {level}: {what} loses the last {delay} of them")
        })
        .collect();
    if told.is_empty() {
        return None;
    }
    let now = look.setting("synchronous_commit");
    Some(Finding {
        rule: "lossy-commits",
        severity: Severity::Note,
        evidence: format!(
            "of {} commits were acknowledged {}",
            count(look.commits),
            told.join("; ")
        ),
        setting: "synchronous_commit",
        now: now.to_owned(),
        proposed: match now {
            "disk" => "leave out set_durability, if that loss is not meant".to_owned(),
            _ => "disk, if that loss is not meant".to_owned(),
        },
        value: (now != "disk").then(|| "disk".to_owned()),
        effect: "no commit that was acknowledged is lost; each waits for a sync, alone or shared"
            .to_owned(),
    })
}

/// Commits that no level protects.
fn unlogged_commits(look: &Look<'_>) -> Option<Finding> {
    (look.commits_unlogged > 0).then(|| Finding {
        rule: "unlogged-commits",
        severity: Severity::Note,
        evidence: format!(
            "{} of {} commits changed unlogged tables alone: a crash empties these, whatever level was asked for",
            count(look.commits_unlogged),
            count(look.commits)
        ),
        setting: "synchronous_commit",
        now: look.setting("synchronous_commit").to_owned(),
        proposed: "a usual table, if that loss is not meant".to_owned(),
        value: None,
        effect: "its rows are in the log, and a crash keeps them; each change writes log".to_owned(),
    })
}
