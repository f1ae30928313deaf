//! The table that a call ends with, as text and as JSON.

use crate::job::Counts;
use serde::Serialize;

/// What came of a rig.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Its aim is reached, and nothing went wrong.
    Passed,
    /// Nothing went wrong so far; another call goes on.
    Unfinished,
    /// It cannot run here, and why.
    Skipped(String),
    /// What went wrong.
    Failed(String),
}

/// A rig's line.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The rig.
    pub name: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// What is counted.
    pub unit: &'static str,
    /// So many until it has passed.
    pub aim: u64,
    /// How often what happened, all calls together.
    pub counts: Counts,
    /// Wall time, all calls together.
    pub seconds: f64,
}

/// For people.
pub fn text(rows: &[Row]) -> String {
    let mut text = format!(
        "\n{:<16} {:<10} {:>8} {:>8} {:>8}  also\n",
        "rig", "result", "done", "aim", "seconds"
    );
    for row in rows {
        let (word, why) = match &row.outcome {
            Outcome::Passed => ("passed", in_part(&row.counts)),
            Outcome::Unfinished => ("unfinished", "nothing wrong so far; call again\n".into()),
            Outcome::Skipped(why) => ("skipped", format!("skipped: {why}\n")),
            Outcome::Failed(why) => ("FAILED", format!("FAILED: {why}\n")),
        };
        let done = row.counts.get(row.unit).copied().unwrap_or(0);
        let others: Vec<String> = row
            .counts
            .iter()
            .filter(|(name, _)| *name != row.unit)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        let name = row.name;
        text.push_str(&format!(
            "{name:<16} {word:<10} {done:>8} {:>8} {:<7} {:>7.0}  {}\n",
            row.aim,
            row.unit,
            row.seconds,
            others.join(", ")
        ));
        if !why.is_empty() {
            text.push_str(&format!("{:<16} {why}", ""));
        }
    }
    text
}

/// What a rig says, by counting with these words, that it did without: it has passed, and not everywhere.
pub const WITHOUT: &str = "pieces without ";

fn in_part(counts: &Counts) -> String {
    let without: Vec<&str> = counts
        .keys()
        .filter_map(|name| name.strip_prefix(WITHOUT))
        .collect();
    match without.is_empty() {
        true => String::new(),
        false => format!(
            "in part: not, or not always, on {}, which this machine lacked\n",
            without.join(", ")
        ),
    }
}

/// For programs.
pub fn json(rows: &[Row]) -> String {
    serde_json::to_string_pretty(rows).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_in_part_does_not_look_whole() {
        let row = |counts: &[(&str, u64)]| Row {
            name: "fsyncgate",
            outcome: Outcome::Passed,
            unit: "rounds",
            aim: 12,
            counts: counts.iter().map(|(n, c)| (n.to_string(), *c)).collect(),
            seconds: 1.0,
        };
        let whole = text(&[row(&[("rounds", 12), ("ext4", 12)])]);
        assert!(whole.contains("passed") && !whole.contains("in part"));
        let part = text(&[row(&[("rounds", 12), ("pieces without xfs", 1)])]);
        assert!(
            part.contains("in part: not, or not always, on xfs"),
            "{part}"
        );
    }
}
