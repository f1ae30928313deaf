//! The rules over the slots of a log: readers that stay behind hold log back.

use std::time::Duration;

use afterimage_log::settings::SettingInfo;
use afterimage_log::units::{parse_duration, parse_size, write_duration};
use afterimage_log::{SlotInfo, SlotState};

use super::{Finding, Severity, sorted};
use crate::units::{count, duration, size};

/// More segments than this that wait for one reader are too many.
const SEGMENTS_MAX: u64 = 100;
/// A reader that has not moved for so long, while there is something to read, has gone.
const STILL: Duration = Duration::from_secs(3600);

/// A look at a log: what its slots and its settings say.
#[derive(Debug, Clone)]
pub struct LogLook {
    /// By the wall clock, in microseconds since the Unix epoch.
    pub now_micros: u64,
    /// Bytes in a segment.
    pub segment_bytes: u64,
    /// The slots.
    pub slots: Vec<SlotInfo>,
    /// The settings.
    pub settings: Vec<SettingInfo>,
}

/// What there is to be said of this look at a log, what matters most first. Empty: there is nothing to change.
pub fn of_log(look: &LogLook) -> Vec<Finding> {
    sorted(
        look.slots
            .iter()
            .filter_map(|slot| behind(look, slot))
            .collect(),
    )
}

/// A seventh of the time after which slots are given up, in whole hours or minutes; a day where they never are. `None`: no sooner.
fn sooner(idle: Option<Duration>) -> Option<Duration> {
    let Some(idle) = idle else {
        return Some(Duration::from_secs(86_400));
    };
    let seconds = idle.as_secs() / 7;
    let whole = [3600, 60].into_iter().find(|unit| seconds >= *unit)?;
    Some(Duration::from_secs(seconds / whole * whole))
}

fn behind(look: &LogLook, slot: &SlotInfo) -> Option<Finding> {
    let setting = |name: &str| {
        let found = look.settings.iter().find(|info| info.name == name);
        found.map_or("", |info| info.value.as_str())
    };
    let name = &slot.name;
    let drop = format!("`afterimage log slots DIR --drop {name}`, if nobody reads there any more");
    match slot.state {
        SlotState::Lost { why, .. } => {
            return Some(Finding {
                rule: "lost-slot",
                severity: Severity::Alarm,
                evidence: format!("slot {name} was given up: {why}; its reader has to begin anew"),
                setting: "max_slot_wal_keep_size",
                now: setting("max_slot_wal_keep_size").to_owned(),
                proposed: drop,
                value: None,
                effect: "a slot of that name can be made again".to_owned(),
            });
        }
        SlotState::Active => {}
        _ => {
            return Some(Finding {
                rule: "damaged-slot",
                severity: Severity::Alarm,
                evidence: format!(
                    "the position of slot {name} cannot be read: it holds back everything"
                ),
                setting: "max_slot_wal_keep_size",
                now: setting("max_slot_wal_keep_size").to_owned(),
                proposed: drop,
                value: None,
                effect: "the log can be used again".to_owned(),
            });
        }
    }
    // The segment in which it stands is kept in any case.
    let kept = slot.kept_bytes.saturating_sub(look.segment_bytes);
    let segments = kept / look.segment_bytes.max(1);
    let still = Duration::from_micros(look.now_micros.saturating_sub(slot.moved_at_micros));
    let limit = parse_size(setting("max_slot_wal_keep_size")).ok();
    let near = limit.is_some_and(|limit| kept * 2 > limit);
    let is_dead = still >= STILL && segments > 0;
    if segments <= SEGMENTS_MAX && !near && !is_dead {
        return None;
    }
    let evidence = format!(
        "slot {name} holds {} segments back, {}, and has not moved for {}",
        count(segments),
        size(kept),
        duration(still)
    );
    if is_dead {
        let idle = setting("idle_replication_slot_timeout");
        let proposed = match sooner(parse_duration(idle).ok()) {
            Some(sooner) => format!(
                "{drop}; or {}, to give such slots up sooner",
                write_duration(sooner)
            ),
            None => drop,
        };
        return Some(Finding {
            rule: "dead-slot",
            severity: Severity::Warning,
            evidence,
            setting: "idle_replication_slot_timeout",
            now: idle.to_owned(),
            proposed,
            value: None,
            effect: "the log can be used again".to_owned(),
        });
    }
    Some(Finding {
        rule: "slot-behind",
        severity: Severity::Warning,
        evidence,
        setting: "max_slot_wal_keep_size",
        now: setting("max_slot_wal_keep_size").to_owned(),
        proposed: format!("a faster reader; or {drop}"),
        value: None,
        effect: format!(
            "the log can be used again, and the slot is not given up at {}",
            setting("max_slot_wal_keep_size")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_given_up_sooner_after_a_time_that_can_be_read() {
        let of = |idle: &str| sooner(parse_duration(idle).ok()).map(write_duration);
        for (idle, expected) in [
            ("off", Some("24h")),
            ("168h", Some("24h")),
            ("100h", Some("14h")),
            ("1h", Some("8min")),
            ("5min", None),
        ] {
            assert_eq!(of(idle).as_deref(), expected, "{idle}");
        }
    }
}
