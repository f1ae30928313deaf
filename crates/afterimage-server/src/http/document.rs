//! The JSON of `/api/stats`: where the numbers come from, the numbers, what is to be said about them; and the points of the
//! charts, from the one that was asked for on.

use crate::advice::{Finding, of_database};
use crate::json::status;
use crate::live::Watch;
use afterimage::StatusFile;
use serde_json::{Value, json};

/// What `/api/stats` answers, of a look taken now; with points if `since` says from which on.
///
/// # Errors
///
/// What keeps it from looking.
pub fn stats_document(watch: &Watch, since: Option<u64>) -> afterimage::Result<Value> {
    let look = watch.look()?;
    let look = look.as_ref();
    let mut document = json!({
        "server": {
            "version": env!("CARGO_PKG_VERSION"),
            "began_micros": watch.began_micros(),
        },
        "database": {
            "directory": watch.source().directory().display().to_string(),
            "source": watch.source().words(),
            "pid": look.map(|look| look.status.pid),
            "state": look.map(|look| look.state.words()),
        },
        "verdict": watch.verdict(look),
        "status": look.map(|look| status(&look.status)),
        "advice": look.map(|look| advice(&look.status)),
    });
    if let Some(since) = since {
        let (points, next) = watch.points_since(since);
        document["points"] = json!(points);
        document["next"] = json!(next);
    }
    Ok(document)
}

fn advice(status: &StatusFile) -> Vec<Value> {
    of_database(status).iter().map(Finding::json).collect()
}
