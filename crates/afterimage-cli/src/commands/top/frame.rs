//! One picture of `top`, as lines of text: the sentence, the numbers each with its last seconds as a row of bars, who holds the
//! log; and below, as large as there is room, the number that was chosen.

use super::feed::Seen;
use crate::units::{duration, number, size};
use afterimage_server::live::{Level, Point};
use serde_json::Value;
use std::time::Duration;

/// Eighths of a character's height.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns before the bars.
const LABEL: usize = 24;
const VALUE: usize = 12;
/// Lines that the large picture needs to be worth it.
const LARGE_MIN: usize = 4;

/// A number: its name, its value, and how it is written.
pub struct Row {
    name: &'static str,
    value: fn(&Point) -> Option<f64>,
    text: fn(f64) -> String,
}

fn time(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn bytes(n: f64) -> String {
    size(n.round() as u64)
}

fn percent(part: f64) -> String {
    // What is nearly all must not look like all.
    let hundred = (part * 1000.0).floor() / 10.0;
    format!("{hundred} %")
}

fn waiting(point: &Point, cause: &str) -> Option<f64> {
    Some(point.waiting.get(cause).copied().unwrap_or(0.0))
}

macro_rules! row {
    ($name:literal, $value:expr, $text:expr) => {
        Row {
            name: $name,
            value: $value,
            text: $text,
        }
    };
}

/// All that is shown, in this order.
pub const ROWS: &[Row] = &[
    row!("commits/s", |p| Some(p.commits), number),
    row!("commit latency, p50", |p| p.commit_p50, time),
    row!("commit latency, p99", |p| p.commit_p99, time),
    row!("commits per sync", |p| p.commits_per_sync, number),
    row!("sync latency, p50", |p| p.sync_p50, time),
    row!("sync latency, p99", |p| p.sync_p99, time),
    row!("log written/s", |p| Some(p.log_bytes), bytes),
    row!("checkpoint age", |p| Some(p.checkpoint_age as f64), bytes),
    row!("recovery, if killed", |p| Some(p.recovery), time),
    row!("log segments", |p| Some(p.segments as f64), number),
    row!("dirty pages", |p| Some(p.dirty as f64), number),
    row!("buffer hit rate", |p| p.hit_rate, percent),
    row!("pages read/s", |p| Some(p.pages_read), number),
    row!("pages written/s", |p| Some(p.pages_written), number),
    row!("waiting: disk sync", |p| waiting(p, "sync"), number),
    row!("waiting: locks", |p| waiting(p, "lock"), number),
    row!("waiting: page reads", |p| waiting(p, "page_read"), number),
    row!("waiting: log space", |p| waiting(p, "log_space"), number),
    row!("waiting: throttle", |p| waiting(p, "throttle"), number),
    row!(
        "waiting: clean frames",
        |p| waiting(p, "clean_frame"),
        number
    ),
    row!("waiting: log buffer", |p| waiting(p, "log_buffer"), number),
];

/// How a picture is to be.
pub struct Frame {
    /// Columns.
    pub width: usize,
    /// Lines.
    pub height: usize,
    /// Whether a terminal shows it.
    pub colours: bool,
    /// The row that is drawn large.
    pub chosen: Option<usize>,
}

impl Frame {
    /// The picture; no line is longer, and there are no more, than there is room.
    pub fn lines(&self, seen: &Seen) -> Vec<String> {
        let mut lines = vec![self.title(seen)];
        let mark = match seen.verdict.level {
            Level::Good => self.paint("32", "●"),
            Level::Warning => self.paint("33;1", "▲"),
            Level::Bad => self.paint("31;1", "■"),
        };
        let headline = cut(&seen.verdict.headline, self.width.saturating_sub(2));
        lines.push(format!("{mark} {}", self.paint("1", &headline)));
        let detail = cut(&seen.verdict.detail, self.width.saturating_sub(2));
        lines.push(self.paint("2", &format!("  {detail}")));
        lines.push(String::new());
        lines.extend((0..ROWS.len()).map(|index| self.row(index, &seen.points)));
        lines.push(String::new());
        lines.extend(self.holders(&seen.document));
        if let Some(chosen) = self.chosen {
            let left = self.height.saturating_sub(lines.len() + 3);
            if left >= LARGE_MIN {
                lines.extend(self.large(&ROWS[chosen], &seen.points, left));
            }
            lines.truncate(self.height.saturating_sub(1));
            let keys = cut(
                "q ends   ↑ ↓ choose a number   p stops the picture",
                self.width,
            );
            lines.push(self.paint("2", &keys));
        }
        lines
    }

    fn title(&self, seen: &Seen) -> String {
        let database = &seen.document["database"];
        let text = |name: &str| database[name].as_str().unwrap_or_default().to_owned();
        let pid = database["pid"]
            .as_u64()
            .map_or_else(String::new, |pid| format!(", process {pid}"));
        let title = format!(
            "{}{pid}, {}, seen by {}",
            text("directory"),
            text("state"),
            text("source")
        );
        self.paint("2", &cut(&title, self.width))
    }

    fn row(&self, index: usize, points: &[Point]) -> String {
        let row = &ROWS[index];
        let latest = points.last().and_then(row.value);
        let value = latest.map_or_else(|| "-".to_owned(), row.text);
        let room = self.width.saturating_sub(LABEL + VALUE + 2);
        let bars = bars(&values(row, points, room));
        let (mark, name) = match self.chosen == Some(index) {
            true => (">", self.paint("1", &format!("{:<23}", row.name))),
            false => (" ", format!("{:<23}", row.name)),
        };
        let idle = row.name.starts_with("waiting") && latest.unwrap_or(0.0) == 0.0;
        let style = if idle { "2" } else { "1" };
        let line = format!(
            "{mark}{name}{}  {}",
            self.paint(style, &format!("{value:>VALUE$}")),
            self.paint("36", &bars)
        );
        line.trim_end().to_owned()
    }

    fn holders(&self, document: &Value) -> Vec<String> {
        let pins = document["status"]["pins"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        if pins.is_empty() {
            return vec!["nobody holds the log back".to_owned()];
        }
        let mut lines = vec!["who holds the log".to_owned()];
        lines.extend(pins.iter().take(4).map(|pin| {
            let held = size(pin["bytes"].as_u64().unwrap_or(0));
            cut(&format!("  {held:>10}  {}", holder(pin)), self.width)
        }));
        lines
    }

    /// The chosen number, in as many lines as there is room.
    fn large(&self, row: &Row, points: &[Point], height: usize) -> Vec<String> {
        let width = self.width.saturating_sub(VALUE + 3);
        let values = values(row, points, width);
        let most = values.iter().flatten().copied().fold(0.0, f64::max);
        let mut lines = vec![String::new()];
        for line in (0..height).rev() {
            let label = match line {
                line if line + 1 == height => (row.text)(most),
                0 => "0".to_owned(),
                _ => String::new(),
            };
            let cells = values.iter().map(|value| {
                let eighths =
                    value.unwrap_or(0.0) / most.max(f64::MIN_POSITIVE) * (height * 8) as f64;
                BARS[(eighths.round() as usize).saturating_sub(line * 8).min(8)]
            });
            let cells: String = cells.collect();
            lines.push(format!(
                "{label:>VALUE$} │{}",
                self.paint("36", cells.trim_end())
            ));
        }
        lines
    }

    fn paint(&self, style: &str, text: &str) -> String {
        match self.colours && !text.is_empty() {
            true => format!("\x1b[{style}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// The last values, as many as there is room.
fn values(row: &Row, points: &[Point], room: usize) -> Vec<Option<f64>> {
    let from = points.len().saturating_sub(room);
    points[from..].iter().map(row.value).collect()
}

/// A row of bars, the highest as high as a line.
fn bars(values: &[Option<f64>]) -> String {
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let bar = |value: &Option<f64>| match value {
        None => ' ',
        Some(value) if most <= 0.0 || *value <= 0.0 => '▁',
        Some(value) => BARS[((value / most * 8.0).round() as usize).clamp(1, 8)],
    };
    values.iter().map(bar).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Who holds log, in words.
fn holder(pin: &Value) -> String {
    match pin["holder"].as_str() {
        Some("transaction") => {
            let name = match pin["label"].as_str() {
                None | Some("") => "a transaction without a label".to_owned(),
                Some(label) => format!("transaction \"{label}\""),
            };
            format!(
                "{name}, begun {} ago",
                time(pin["age_seconds"].as_f64().unwrap_or(0.0))
            )
        }
        Some("dirty page") => format!("page {}, dirty for longest", pin["page"]),
        Some("checkpoint") => "the last two checkpoints".to_owned(),
        _ => "something that this version does not know".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use afterimage_server::live::Verdict;
    use serde_json::json;

    fn seen(points: usize) -> Seen {
        let point = |n: usize| Point {
            commits: n as f64,
            commit_p99: Some(0.0123),
            hit_rate: Some(0.99996),
            ..Point::default()
        };
        Seen {
            document: json!({
                "database": { "directory": "bank", "pid": 7, "state": "running", "source": "status file" },
                "status": { "pins": [{ "holder": "transaction", "label": "nightly", "age_seconds": 61.0, "bytes": 3 << 20 }] },
            }),
            verdict: Verdict {
                level: Level::Good,
                about: "healthy".to_owned(),
                headline: "Healthy: 31,200 commits/s, nobody waits".to_owned(),
                detail: "A sync takes 82 µs.".to_owned(),
            },
            points: (0..points).map(point).collect(),
        }
    }

    #[test]
    fn a_picture_fits_its_terminal_whatever_that_is() {
        for (width, height) in [(20, 5), (40, 24), (80, 24), (80, 45), (200, 60)] {
            for points in [0, 1, 700] {
                for chosen in [0, ROWS.len() - 1] {
                    let frame = Frame {
                        width,
                        height,
                        colours: false,
                        chosen: Some(chosen),
                    };
                    let lines = frame.lines(&seen(points));
                    assert!(lines.len() <= height, "{} lines of {height}", lines.len());
                    let wide = |line: &&String| line.chars().count() > width.max(LABEL + VALUE);
                    assert_eq!(lines.iter().find(wide), None, "{width}");
                }
            }
        }
    }

    #[test]
    fn numbers_stand_beside_their_names_and_bars_end_at_the_latest() {
        let frame = Frame {
            width: 60,
            height: usize::MAX,
            colours: false,
            chosen: None,
        };
        let lines = frame.lines(&seen(700));
        let line = |name: &str| {
            lines
                .iter()
                .find(|line| line.trim_start().starts_with(name))
                .expect("it is there")
        };
        assert_eq!(lines[1], "● Healthy: 31,200 commits/s, nobody waits");
        let commits = line("commits/s");
        assert!(
            commits.contains(" 699  ") && commits.ends_with('█'),
            "{commits:?}"
        );
        assert!(line("commit latency, p99").contains("12.3 ms"));
        assert!(line("buffer hit rate").contains("99.9 %"));
        assert!(line("commit latency, p50").ends_with('-'));
        assert!(
            line("3 MiB").ends_with("transaction \"nightly\", begun 1 min 1 s ago"),
            "{lines:?}"
        );
    }
}
