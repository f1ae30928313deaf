//! Numbers as people read and write them: sizes with units, durations in the unit that fits, counts with commas.
//!
//! Everything printed for a person goes through here, so a duration never appears as a bare number; everything
//! parsed from the command line as a size or a duration does too, so `16MiB` and `200ms` mean the same everywhere.

use std::time::Duration;

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

fn long_duration(seconds: u64) -> String {
    match seconds {
        s if s < 3600 => format!("{} min {} s", s / 60, s % 60),
        s if s < 86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        s => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
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

/// Reads a size such as `16MiB`, `64 KiB`, `1GiB` or `8192` (bytes).
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => KIB,
        "mib" | "m" => MIB,
        "gib" | "g" => GIB,
        "kb" | "mb" | "gb" => {
            return Err(format!("`{text}`: write KiB, MiB or GiB (powers of 1024)"));
        }
        _ => {
            return Err(format!(
                "`{text}` is not a size; write for example 64KiB, 16MiB, 1GiB"
            ));
        }
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a size; write for example 64KiB, 16MiB, 1GiB"))?;
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("`{text}` is too large"))
}

/// Reads a duration such as `1ms`, `200 us`, `5min`, `1.5s` or `0`; a bare number other than 0 is refused, because its unit would be a guess.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write for example 500us, 1ms, 10s, 5min");
    let (number, unit) = split_unit(text);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit.to_ascii_lowercase().as_str() {
        "" if number == 0.0 => 1.0,
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(parse_size("16MiB"), Ok(16 << 20));
        assert_eq!(parse_size("64 KiB"), Ok(64 << 10));
        assert_eq!(parse_size("8192"), Ok(8192));
        assert!(parse_size("16MB").is_err());
        assert!(parse_size("lots").is_err());
        assert!(parse_size("99999999999GiB").is_err());
        assert_eq!(parse_duration("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("5min"), Ok(Duration::from_secs(300)));
        assert!(parse_duration("5").is_err());
        assert!(parse_duration("soon").is_err());
    }
}
