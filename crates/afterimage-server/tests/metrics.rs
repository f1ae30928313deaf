//! The OpenMetrics text, read by a parser that keeps to the standard: it is one, its numbers are those of the database, and each
//! histogram agrees with itself.

use afterimage::{Durability, Options, StatusFile};
use afterimage_io::sim::Sim;
use afterimage_server::metrics;
use openmetrics_parser::openmetrics::parse_openmetrics;
use openmetrics_parser::{
    HistogramValue, MetricFamily, MetricsExposition, OpenMetricsType, OpenMetricsValue,
};

type Exposition = MetricsExposition<OpenMetricsType, OpenMetricsValue>;
type Family = MetricFamily<OpenMetricsType, OpenMetricsValue>;

/// A database that has done a little of everything.
fn worked() -> StatusFile {
    let sim = Sim::new(9);
    let options = Options::new().io(sim.io()).background(false);
    let db = options
        .buffer_pool_size(64 * 8192)
        .open("db")
        .expect("opens");
    let table = db.table("t").expect("creates");
    for n in 0..200_u32 {
        db.put(&table, &n.to_be_bytes(), &[1; 300]).expect("puts");
    }
    let mut tx = db.begin();
    tx.set_durability(Durability::Memory);
    tx.put(&table, b"a", b"1").expect("puts");
    tx.commit().expect("commits");
    db.checkpoint().expect("takes one");
    db.status()
}

fn family<'a>(all: &'a Exposition, name: &str) -> &'a Family {
    let family = all.families.get(&format!("afterimage_{name}"));
    family.unwrap_or_else(|| panic!("no {name} in {:?}", all.families.keys()))
}

fn number(value: &OpenMetricsValue) -> f64 {
    match value {
        OpenMetricsValue::Counter(counter) => counter.value.as_f64(),
        OpenMetricsValue::Gauge(gauge) => gauge.as_f64(),
        other => panic!("a number: {other:?}"),
    }
}

fn only(family: &Family) -> &OpenMetricsValue {
    let mut samples = family.iter_samples();
    let sample = samples.next().expect("there is one");
    assert!(samples.next().is_none(), "{}", family.family_name);
    &sample.value
}

fn histogram<'a>(family: &'a Family, label: Option<&str>) -> &'a HistogramValue {
    let found = match label {
        None => only(family),
        Some(label) => {
            let found = family.get_sample_by_label_values(&[label.to_owned()]);
            &found.expect("it is told").value
        }
    };
    match found {
        OpenMetricsValue::Histogram(histogram) => histogram,
        other => panic!("a histogram: {other:?}"),
    }
}

#[test]
fn it_is_openmetrics_and_its_numbers_are_those_of_the_database() {
    let status = worked();
    let (stats, text) = (&status.stats, metrics::text(&status));
    assert!(text.ends_with("# EOF\n"), "{text}");
    let all = parse_openmetrics(&text).expect("it is OpenMetrics");
    for (name, expected) in [
        ("wal_records", stats.wal_records as f64),
        ("wal_bytes", stats.wal_bytes as f64),
        ("wal_syncs", stats.wal_syncs as f64),
        ("commits", stats.commits as f64),
        ("checkpoints_manual", 1.0),
        ("checkpoint_age_bytes", stats.checkpoint_age as f64),
        ("max_wal_size_bytes", f64::from(1 << 30)),
        (
            "estimated_recovery_seconds",
            stats.estimated_recovery_micros as f64 / 1e6,
        ),
        (
            "checkpoint_sync_seconds",
            stats.checkpoint_sync_micros as f64 / 1e6,
        ),
        ("buffers_dirty", stats.pool_dirty as f64),
        ("wal_segment", stats.wal_segment as f64),
    ] {
        let told = number(only(family(&all, name)));
        assert!((told - expected).abs() < 1e-6, "{name}: {told}, {expected}");
    }
    for family in all.families.values() {
        let name = &family.family_name;
        assert!(
            !family.help.is_empty() && name.starts_with("afterimage_"),
            "{name}"
        );
        if !family.unit.is_empty() {
            assert!(name.ends_with(&family.unit), "{name} in {}", family.unit);
        }
    }
    let levels = family(&all, "commits_by_level");
    assert_eq!(levels.family_type, OpenMetricsType::Counter);
    let at = |level: &str| {
        let sample = levels.get_sample_by_label_values(&[level.to_owned()]);
        number(&sample.expect("each is told").value)
    };
    assert_eq!((at("disk"), at("memory"), at("os")), (200.0, 1.0, 0.0));
    let kinds = family(&all, "wal_kind_records").iter_samples();
    let told: f64 = kinds.map(|sample| number(&sample.value)).sum();
    assert_eq!(told, stats.wal_records as f64);
}

#[test]
fn each_histogram_agrees_with_itself_and_with_the_database() {
    let status = worked();
    let stats = &status.stats;
    let all = parse_openmetrics(&metrics::text(&status)).expect("it is OpenMetrics");
    let wait = family(&all, "wait_seconds");
    let of = |name: &'static str| match name {
        "sync" => histogram(family(&all, "wal_sync_seconds"), None),
        "commit" => histogram(family(&all, "commit_seconds"), None),
        "checkpoint" => histogram(family(&all, "checkpoint_seconds"), None),
        "checkpoint_interval" => histogram(family(&all, "checkpoint_interval_seconds"), None),
        wait_for => histogram(wait, wait_for.strip_prefix("wait_")),
    };
    let mut counted = 0;
    for (name, times) in stats.histograms() {
        let told = of(name);
        assert_eq!(told.count, Some(times.count()), "{name}");
        let sum = told.sum.as_ref().expect("a sum").as_f64();
        assert!((sum - times.total().as_secs_f64()).abs() < 1e-9, "{name}");
        let (mut before, mut least) = ((f64::NEG_INFINITY, 0.0), 0.0);
        for bucket in &told.buckets {
            let (upper, count) = (bucket.upper_bound, bucket.count.as_f64());
            assert!(upper > before.0 && count >= before.1, "{name}: {told:?}");
            if before.0 > 0.0 {
                least += (count - before.1) * before.0;
            }
            before = (upper, count);
        }
        assert_eq!(before, (f64::INFINITY, times.count() as f64), "{name}");
        assert!(
            sum >= least,
            "{name}: {sum} s, but the buckets say {least} s"
        );
        counted += times.count();
    }
    assert!(stats.commit.count() == 200 && counted > 600, "{counted}");
}
