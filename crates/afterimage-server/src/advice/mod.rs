//! Advice: rules over one look at a database, or at the slots of a log. Each says what it has seen, which setting that hangs on, its
//! value now, the one proposed, and what to expect of it; or nothing. They only reckon: what they look at is given to them.

mod look;
mod rules;
mod slots;

use std::fmt;

use afterimage::StatusFile;
use serde_json::{Value, json};

pub use slots::{LogLook, of_log};

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// To be known; perhaps it is meant so.
    Note,
    /// It costs something.
    Warning,
    /// It is what people complain of.
    Alarm,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Alarm => "alarm",
        })
    }
}

/// What a rule has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which rule: `forced-checkpoints`, `sync-latency`, ... Kept once it is there.
    pub rule: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What was seen, with the numbers.
    pub evidence: String,
    /// What it hangs on: a setting, mostly.
    pub setting: &'static str,
    /// Its value now.
    pub now: String,
    /// What to do, in words: the value proposed, or what else.
    pub proposed: String,
    /// The value that `setting` is to have, as it is written, where that is what is proposed.
    pub value: Option<String>,
    /// What to expect of that.
    pub effect: String,
}

impl Finding {
    /// What is proposed can be set as it stands.
    fn settable(self) -> Finding {
        Finding {
            value: Some(self.proposed.clone()),
            ..self
        }
    }

    /// Where more is said of it, in the documentation of this version.
    pub fn link(&self) -> String {
        format!("docs/tuning.md#{}", self.setting)
    }

    /// It as a document.
    pub fn json(&self) -> Value {
        json!({
            "rule": self.rule,
            "severity": self.severity.to_string(),
            "evidence": self.evidence,
            "setting": self.setting,
            "now": self.now,
            "proposed": self.proposed,
            "value": self.value,
            "effect": self.effect,
            "link": self.link(),
        })
    }
}

/// What there is to be said of this look at a database, what matters most first. Empty: there is nothing to change.
pub fn of_database(status: &StatusFile) -> Vec<Finding> {
    let look = look::Look::new(status);
    let found = rules::RULES.iter().filter_map(|rule| rule(&look));
    sorted(found.collect())
}

fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    // Stable: the rules stand in an order that makes sense.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}
