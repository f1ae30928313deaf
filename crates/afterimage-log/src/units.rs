//! Sizes and durations as settings are written: `16MiB`, `200ms`. What is written here is read here, exactly.
//!
//! A number without a unit is refused, because its unit would be a guess; only `0` needs none.

use std::time::Duration;

const SIZES: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];
const DURATIONS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a size such as `16MiB`, `64 KiB`, `8192B` or `0`, in bytes.
///
/// # Errors
///
/// What is wrong with the text, and how a size is written.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; write for example 64KiB, 16MiB, 1GiB");
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" if number == 0 => 1,
        "" => {
            return Err(format!(
                "`{text}` has no unit; write {number}B, or a number of KiB, MiB or GiB"
            ));
        }
        "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" | "mb" | "gb" | "tb" => {
            return Err(format!(
                "`{text}`: write KiB, MiB, GiB or TiB (powers of 1024)"
            ));
        }
        _ => return Err(wrong()),
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("`{text}` is too large"))
}

/// Reads a duration such as `200ms`, `500 us`, `5min`, `1.5s` or `0`.
///
/// # Errors
///
/// What is wrong with the text, and how a duration is written.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write for example 500us, 1ms, 10s, 5min");
    let (number, unit) = split_unit(text);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit.to_ascii_lowercase().as_str() {
        "" if number == 0.0 => 1.0,
        "" => {
            return Err(format!(
                "`{text}` has no unit; write us, ms, s, min or h after the number"
            ));
        }
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

/// Writes a size in the largest unit that divides it: `16MiB`, `5000B`, `0`.
#[must_use]
pub fn write_size(bytes: u64) -> String {
    write_whole(bytes, &SIZES)
}

/// Writes a duration in the largest unit that divides it: `200ms`, `90s`, `0`.
#[must_use]
pub fn write_duration(duration: Duration) -> String {
    write_whole(nanos(duration), &DURATIONS)
}

/// A duration in nanoseconds; one of more than 584 years is as long as that.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn write_whole(n: u64, units: &[(&str, u64)]) -> String {
    let fits = units.iter().find(|(_, factor)| n.is_multiple_of(*factor));
    match fits {
        Some((unit, factor)) if n > 0 => format!("{}{unit}", n / factor),
        _ => "0".to_owned(),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// A duration in whole microseconds.
pub(crate) fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("16MiB"), Ok(16 << 20));
        assert_eq!(parse_size("64 KiB"), Ok(64 << 10));
        assert_eq!(parse_size("8192B"), Ok(8192));
        assert_eq!(parse_size("0"), Ok(0));
        for wrong in ["8192", "16MB", "lots", "-1", "", "1.5GiB", "99999999TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("5 min"), Ok(Duration::from_secs(300)));
        for wrong in ["5", "soon", "-1s", "", "5d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for bytes in [0, 1, 5000, 1 << 10, 3 << 20, 1 << 30, 5 << 40] {
            assert_eq!(parse_size(&write_size(bytes)), Ok(bytes));
        }
        assert_eq!(write_size(16 << 20), "16MiB");
        for nanos in [0, 1, 1_500, 200_000_000, 90_000_000_000, 86_400_000_000_000] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse_duration(&write_duration(duration)), Ok(duration));
        }
        assert_eq!(write_duration(Duration::from_secs(300)), "5min");
    }
}
