//! A look at a database as one JSON document: every number by its own name, flat; then the histograms, the records by kind, the
//! settings and the pins. Names are kept once they are there.

use afterimage::{Histogram, Pin, PinHolder, Stats, StatusFile};
use serde_json::{Map, Value, json};

/// All of it.
pub fn status(status: &StatusFile) -> Value {
    let stats = &status.stats;
    let mut document = json!({
        "pid": status.pid,
        "written_at_micros": status.written_at_micros,
        "closed": status.closed,
        "failed": status.failed,
        "checkpoint_age_percent": checkpoint_age_percent(stats),
        "buffer_hit_rate": stats.buffer_hit_rate(),
        "commits_per_sync": stats.commits_per_sync(),
    });
    for (name, value) in stats.fields() {
        document[name] = json!(value);
    }
    let histograms = stats.histograms().into_iter();
    let histograms = histograms.map(|(name, times)| (name.to_owned(), histogram(times)));
    document["histograms"] = Value::Object(histograms.collect());
    let records = stats
        .records
        .iter()
        .map(|kind| json!({ "kind": kind.kind, "records": kind.records, "bytes": kind.bytes }));
    document["records"] = records.collect();
    let at_last_set = status.at_last_set.iter();
    let at_last_set: Map<String, Value> = at_last_set
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    document["at_last_set"] = Value::Object(at_last_set);
    let settings = status.settings.iter();
    let settings: Map<String, Value> = settings
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    document["settings"] = Value::Object(settings);
    document["pins"] = pins(&status.pins);
    document
}

/// The checkpoint age in percent of `max_wal_size`.
pub fn checkpoint_age_percent(stats: &Stats) -> f64 {
    stats.checkpoint_age as f64 * 100.0 / stats.max_wal_size.max(1) as f64
}

/// How many, how long in all, how they are spread. The buckets that count something: the longest time in each, in microseconds, and
/// how many there are; those of two looks at the same thing subtract.
pub fn histogram(times: &Histogram) -> Value {
    let micros = |permille| times.permille(permille).as_micros() as u64;
    let buckets = times.buckets().map(|(upper, count)| json!([upper, count]));
    json!({
        "count": times.count(),
        "total_micros": times.total().as_micros() as u64,
        "max_micros": times.max().as_micros() as u64,
        "p50_micros": micros(500),
        "p90_micros": micros(900),
        "p99_micros": micros(990),
        "p999_micros": micros(999),
        "buckets": buckets.collect::<Vec<_>>(),
    })
}

/// Who holds the log back, oldest need first.
pub fn pins(pins: &[Pin]) -> Value {
    pins.iter().map(pin).collect()
}

fn pin(pin: &Pin) -> Value {
    let mut value = json!({ "lsn": pin.lsn, "bytes": pin.bytes });
    match &pin.holder {
        PinHolder::Transaction {
            label,
            age,
            own_bytes,
        } => {
            value["holder"] = json!("transaction");
            value["label"] = json!(label);
            value["age_seconds"] = json!(age.as_secs_f64());
            value["own_bytes"] = json!(own_bytes);
        }
        PinHolder::DirtyPage { page } => {
            value["holder"] = json!("dirty page");
            value["page"] = json!(page);
        }
        PinHolder::Checkpoint => value["holder"] = json!("checkpoint"),
        _ => value["holder"] = json!("unknown"),
    }
    value
}
