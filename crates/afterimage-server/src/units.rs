//! Numbers as people read and write them: sizes with units, durations in the unit that fits, counts with commas.
//!
//! Everything printed for a person goes through here, so a duration never appears as a bare number. What is read is read
//! as the settings are, so `16MiB` and `200ms` mean the same everywhere.

use std::time::Duration;

use afterimage_log::units::parse_duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A count with commas between thousands: `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A rate, or a mean of counts: whole with commas from a hundred on, else with a decimal where it has one: `31,200`, `1.9`.
pub fn number(n: f64) -> String {
    if n < 100.0 {
        let text = format!("{n:.1}");
        return text.strip_suffix(".0").map_or(text.clone(), str::to_owned);
    }
    count(n.round() as u64)
}

/// A count and its noun, in the singular where it is one: `1 page`, `2,000 pages`.
pub fn counted(n: u64, singular: &str, plural: &str) -> String {
    format!("{} {}", count(n), if n == 1 { singular } else { plural })
}

/// A number of bytes in the largest binary unit that keeps at least one digit before the point: `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        b if b >= GIB => (GIB, "GiB"),
        b if b >= MIB => (MIB, "MiB"),
        b if b >= KIB => (KIB, "KiB"),
        _ => return format!("{bytes} B"),
    };
    if bytes.is_multiple_of(unit) {
        format!("{} {name}", count(bytes / unit))
    } else {
        format!("{:.1} {name}", bytes as f64 / unit as f64)
    }
}

/// A duration with three significant digits or so, in the unit that fits: `140 µs`, `41.2 ms`, `2.71 s`, `3 min 5 s`.
pub fn duration(d: Duration) -> String {
    let nanos = d.as_nanos() as f64;
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e5 => format!("{:.1} µs", n / 1e3),
        n if n < 1e6 => format!("{:.0} µs", n / 1e3),
        n if n < 1e7 => format!("{:.2} ms", n / 1e6),
        n if n < 1e9 => format!("{:.1} ms", n / 1e6),
        n if n < 6e10 => format!("{:.2} s", n / 1e9),
        _ => long_duration(d.as_secs()),
    }
}

/// A number of seconds as it is said in a sentence, with two digits or so: `140 µs`, `4.1 ms`, `62 ms`, `2.7 s`, `3 min 5 s`.
pub fn about(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 0.01 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 60.0 => format!("{s:.0} s"),
        s => long_duration(s as u64),
    }
}

fn long_duration(seconds: u64) -> String {
    match seconds {
        s if s < 3600 => format!("{} min {} s", s / 60, s % 60),
        s if s < 86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        s => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

/// A number of bytes as disks and archives are sold, in powers of 1000 with three digits: `10.0 GB`, `1.68 TB`.
pub fn decimal_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match value {
        _ if unit == 0 => format!("{bytes} B"),
        v if v < 9.995 => format!("{v:.2} {}", UNITS[unit]),
        v if v < 99.95 => format!("{v:.1} {}", UNITS[unit]),
        v => format!("{v:.0} {}", UNITS[unit]),
    }
}

/// As durations of settings are read, and also in days: `7d`.
///
/// # Errors
///
/// What is wrong with the text, and how a duration is written.
pub fn parse_long_duration(text: &str) -> Result<Duration, String> {
    let Some(days) = text.trim().strip_suffix('d') else {
        return parse_duration(text);
    };
    let days: f64 = days
        .trim()
        .parse()
        .map_err(|_| format!("`{text}` is not a duration; write for example 12h, 7d"))?;
    Duration::try_from_secs_f64(days * 86_400.0)
        .map_err(|_| format!("`{text}` is not a duration; write for example 12h, 7d"))
}

/// How many a second, with commas, or with a decimal where it is small; `-` when no time has passed.
pub fn rate(n: u64, over: Duration) -> String {
    let seconds = over.as_secs_f64();
    if seconds <= 0.0 {
        return "-".to_string();
    }
    let rate = n as f64 / seconds;
    if rate < 100.0 {
        format!("{rate:.1}")
    } else {
        count(rate.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!(number(0.0), "0");
        assert_eq!(number(1.94), "1.9");
        assert_eq!(number(31_200.4), "31,200");
        assert_eq!(number(1_000_000.0), "1,000,000");
        assert_eq!(about(0.000_140), "140 µs");
        assert_eq!(about(0.0041), "4.1 ms");
        assert_eq!(about(0.062), "62 ms");
        assert_eq!(about(2.71), "2.7 s");
        assert_eq!(about(185.0), "3 min 5 s");
    }

    #[test]
    fn counts_have_commas() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(12_345_678), "12,345,678");
        assert_eq!(counted(1, "page", "pages"), "1 page");
        assert_eq!(counted(2_000, "page", "pages"), "2,000 pages");
    }

    #[test]
    fn sizes_of_archives_are_decimal_and_times_are_also_in_days() {
        assert_eq!(decimal_size(999), "999 B");
        assert_eq!(decimal_size(10_008_000_000), "10.0 GB");
        assert_eq!(decimal_size(1_681_344_000_000), "1.68 TB");
        assert_eq!(decimal_size(999_600_000), "1.00 GB");
        assert_eq!(decimal_size(168_134_400_000), "168 GB");
        assert_eq!(decimal_size(u64::MAX), "18.4 EB");
        let days = |days: f64| Ok(Duration::from_secs_f64(days * 86_400.0));
        assert_eq!(parse_long_duration("7d"), days(7.0));
        assert_eq!(parse_long_duration("1.5 d"), days(1.5));
        assert_eq!(parse_long_duration("12h"), days(0.5));
        for wrong in ["d", "-1d", "7", "x d"] {
            assert!(parse_long_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_durations_carry_units() {
        assert_eq!(size(812), "812 B");
        assert_eq!(size(16 << 20), "16 MiB");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(duration(Duration::from_nanos(140_000)), "140 µs");
        assert_eq!(duration(Duration::from_micros(41_200)), "41.2 ms");
        assert_eq!(duration(Duration::from_millis(2_710)), "2.71 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 5 s");
        assert_eq!(duration(Duration::from_secs(90_000)), "1 d 1 h");
        assert_eq!(rate(50, Duration::from_secs(2)), "25.0");
        assert_eq!(rate(5_000_000, Duration::from_secs(2)), "2,500,000");
        assert_eq!(rate(1, Duration::ZERO), "-");
    }
}
