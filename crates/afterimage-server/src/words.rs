//! Numbers as people read them in a sentence: `31,200`, `1.9`, `4.1 ms`, `12.5 MiB`.

/// A rate or count: whole with commas from a hundred on, else with a decimal where it has one.
pub fn count(n: f64) -> String {
    if n < 100.0 {
        let text = format!("{n:.1}");
        return text.strip_suffix(".0").map_or(text.clone(), str::to_owned);
    }
    let digits = format!("{n:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time in the unit that fits.
pub fn seconds(s: f64) -> String {
    match s {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 0.01 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 60.0 => format!("{s:.0} s"),
        s if s < 3600.0 => format!("{:.0} min {:.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
        s => format!(
            "{:.0} h {:.0} min",
            (s / 3600.0).floor(),
            (s % 3600.0 / 60.0).floor()
        ),
    }
}

/// A number of bytes in the largest binary unit that keeps a digit before the point.
pub fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = units.iter().find(|(bits, _)| bytes >> bits > 0);
    fits.map_or_else(
        || format!("{bytes} B"),
        |(bits, name)| match bytes.is_multiple_of(1 << bits) {
            true => format!("{} {name}", count((bytes >> bits) as f64)),
            false => format!("{:.1} {name}", bytes as f64 / f64::from(1u32 << bits)),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!(count(0.0), "0");
        assert_eq!(count(1.94), "1.9");
        assert_eq!(count(31_200.4), "31,200");
        assert_eq!(count(1_000_000.0), "1,000,000");
        assert_eq!(seconds(0.000_140), "140 µs");
        assert_eq!(seconds(0.0041), "4.1 ms");
        assert_eq!(seconds(0.062), "62 ms");
        assert_eq!(seconds(2.71), "2.7 s");
        assert_eq!(seconds(185.0), "3 min 5 s");
        assert_eq!(seconds(90_000.0), "25 h 0 min");
        assert_eq!(size(812), "812 B");
        assert_eq!(size(16 << 20), "16 MiB");
        assert_eq!(size(1536), "1.5 KiB");
    }
}
