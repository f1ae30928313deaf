//! The picture, as SVG: a panel a point, a bar an engine, as long as its figure; and the seconds of each surge.
//!
//! Each panel has a scale of its own, which its longest bar fills: what is compared is the engines, not the points. Its
//! colours go with the reader's, light or dark.

use crate::Result;
use crate::plan::{About, Plan, Point, Work, is_ours};
use crate::results::Head;
use crate::summary::{Line, Summary};
use crate::table::rate;
use std::fmt::{self, Write};
use std::path::Path;

const STYLE: &str = "\
text{font:13px system-ui,'Segoe UI',Roboto,sans-serif;fill:#24262b}\
.t{font-size:20px;font-weight:600}.p{font-weight:600}.n{fill:#5d636e}\
.o{font-weight:600}.bo{fill:#d65d1e}.bp{fill:#8aa5c2}.l{stroke:#b9bec7}\
.g{stroke:#5d636e;stroke-dasharray:4 4}.bg{fill:#fff}\
@media(prefers-color-scheme:dark){text{fill:#e8e9ec}.n{fill:#a3a9b4}.bg{fill:#16181d}.bp{fill:#5c7896}\
.bo{fill:#ee7d3c}.l{stroke:#4a4f59}.g{stroke:#a3a9b4}}";

const MARGIN: usize = 28;
/// Panels side by side, and how wide one is.
const ACROSS: usize = 2;
const PANEL: usize = 440;
const ROW: usize = 19;
/// Where the bars begin and how long the longest is, within a panel.
const BAR_AT: usize = 92;
const BAR_LONGEST: usize = 196;
/// How high a surge is drawn, without its titles, and with them.
const CURVE: usize = 110;
const CURVE_PANEL: usize = CURVE + 64;
const HEAD: usize = 96;

/// Draws the points into a file: of logs those with sync, of stores all, and how the surge went.
pub fn write(path: &Path, head: &Head, engines: &[About], summary: &Summary) -> Result<()> {
    let mut svg = String::new();
    draw(&mut svg, head, engines, summary)?;
    Ok(std::fs::write(path, svg)?)
}

fn draw(svg: &mut String, head: &Head, engines: &[About], summary: &Summary) -> fmt::Result {
    let of_stores = head.plan.store.is_some();
    let measured = |point: &Point| summary.points.iter().any(|line| line.point == *point);
    let surges_here = |work: Work| matches!(work, Work::Surge | Work::SurgeTenth);
    let points: Vec<Point> = (head.plan.points().into_iter())
        .filter(|point| of_stores || point.work.commits())
        .filter(|point| measured(point) && !surges_here(point.work))
        .collect();
    let shown: Vec<&About> = engines
        .iter()
        .filter(|about| summary.points.iter().any(|line| line.engine == about.name))
        .collect();
    let surges: Vec<&Line> = summary
        .points
        .iter()
        .filter(|line| surges_here(line.point.work) && line.rounds > 0)
        .collect();
    let panel_height = (shown.len() + 2) * ROW + 8;
    let curves_at = HEAD + points.len().div_ceil(ACROSS) * panel_height;
    let height = curves_at + surges.len().div_ceil(ACROSS) * CURVE_PANEL + MARGIN;
    let width = ACROSS * PANEL + 2 * MARGIN;
    write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-label=\"Afterimage beside others\"><style>{STYLE}</style>\
         <rect class=\"bg\" width=\"{width}\" height=\"{height}\"/>"
    )?;
    heading(svg, head, summary)?;
    for (index, point) in points.iter().enumerate() {
        let left = MARGIN + index % ACROSS * PANEL;
        let top = HEAD + index / ACROSS * panel_height;
        panel(svg, (left, top), point, &shown, summary)?;
    }
    for (index, line) in surges.iter().enumerate() {
        let left = MARGIN + index % ACROSS * PANEL;
        let top = curves_at + index / ACROSS * CURVE_PANEL;
        curve(svg, (left, top), &head.plan, line)?;
    }
    writeln!(svg, "</svg>")
}

fn heading(svg: &mut String, head: &Head, summary: &Summary) -> fmt::Result {
    let title = match head.plan.store {
        Some(_) => "The same work at the same durability",
        None => "Records made durable a second",
    };
    text(svg, (MARGIN, 38), "t", title)?;
    let single = format!(
        "x = multiples of one durable write of 4 KiB here: {}, {}/s",
        summary.single_method,
        rate(summary.single_per_s)
    );
    text(svg, (MARGIN, 60), "n", &single)?;
    let place = format!(
        "{} processors, {}; {} ({} plan); longer is better unless it says otherwise",
        head.machine.cpus,
        head.machine.file_system.split(' ').next().unwrap_or(""),
        rounds(summary),
        head.plan.name
    );
    text(svg, (MARGIN, 78), "n", &place)
}

/// How often the points were measured.
fn rounds(summary: &Summary) -> String {
    let measured = || summary.points.iter().map(|line| line.rounds);
    match (measured().filter(|n| *n > 0).min(), measured().max()) {
        (Some(1), Some(1)) | (None, _) => "single rounds".into(),
        (Some(least), Some(most)) if least < most => {
            format!("medians of {least} to {most} rounds")
        }
        (Some(least), _) => format!("medians of {least} rounds"),
    }
}

fn text(svg: &mut String, (x, y): (usize, usize), class: &str, text: &str) -> fmt::Result {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    write!(
        svg,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>"
    )
}

fn bar_class(engine: &str) -> &'static str {
    if is_ours(engine) { "bo" } else { "bp" }
}

fn panel(
    svg: &mut String,
    (left, top): (usize, usize),
    point: &Point,
    engines: &[&About],
    summary: &Summary,
) -> fmt::Result {
    let (figure, more_is_better) = point.work.headline();
    let of = |about: &About, name: &str| {
        let line = summary.line(about.name, point)?;
        let value = line.values.get(name).copied();
        value.filter(|value| value.is_finite())
    };
    let most = engines
        .iter()
        .filter_map(|about| of(about, figure))
        .fold(f64::MIN_POSITIVE, f64::max);
    let name = point.to_string();
    let name = name.trim_start_matches("append + sync, ");
    let note = if more_is_better {
        ""
    } else {
        " (less is better)"
    };
    text(svg, (left, top + ROW), "p", &format!("{name}{note}"))?;
    for (index, about) in engines.iter().enumerate() {
        let y = top + (index + 2) * ROW;
        let class = if is_ours(about.name) { "o" } else { "n" };
        text(svg, (left, y), class, about.name)?;
        let x = left + BAR_AT;
        let Some(value) = of(about, figure) else {
            text(svg, (x, y), "n", "-")?;
            continue;
        };
        let length = ((value / most * BAR_LONGEST as f64).round() as usize).max(1);
        rectangle(svg, (x, y - 11), (length, 13), bar_class(about.name))?;
        let label = match (figure, of(about, "per_s")) {
            ("singles", Some(per_second)) => format!("{value:.2} x, {}/s", rate(per_second)),
            ("rows_per_s", _) => format!("{} rows/s", rate(value)),
            ("first_read_cold_s", _) => format!("{value:.2} s"),
            ("device_bytes_each", _) => format!("{value:.0} bytes"),
            _ => format!("{}/s", rate(value)),
        };
        text(svg, (x + length + 6, y), class, &label)?;
    }
    Ok(())
}

fn rectangle(
    svg: &mut String,
    (x, y): (usize, usize),
    (wide, high): (usize, usize),
    class: &str,
) -> fmt::Result {
    write!(
        svg,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\"/>"
    )
}

/// Commits in each second of a surge, as high as their number, and, dashed, what was asked for.
fn curve(svg: &mut String, (left, top): (usize, usize), plan: &Plan, line: &Line) -> fmt::Result {
    let seconds: Vec<f64> = line
        .values
        .range("second_".to_owned()..="second_9999".to_owned())
        .map(|(_, count)| *count)
        .collect();
    let value = |name: &str| line.values.get(name).copied().unwrap_or(f64::NAN);
    let offered = value("offered_per_s");
    let most = seconds.iter().copied().fold(offered, f64::max);
    let tenth = match line.point.work {
        Work::SurgeTenth => ", 10 times the cache",
        _ => "",
    };
    let title = format!("surge of 50 times{tenth}: {}", line.engine);
    text(svg, (left, top + ROW), "p", &title)?;
    let told = format!(
        "{}/s asked for; worst second {:.0} %; p99.9 {:.1} ms",
        rate(offered),
        100.0 * value("worst_share"),
        value("p999_us") / 1e3
    );
    text(svg, (left, top + 2 * ROW - 2), "n", &told)?;
    let (bottom, width) = (top + 2 * ROW + 8 + CURVE, PANEL - 2 * MARGIN);
    let high = |count: f64| (count / most * CURVE as f64).round() as usize;
    let at = |second: usize| left + second * width / seconds.len().max(1);
    for (second, count) in seconds.iter().enumerate() {
        let (x, next, high) = (at(second), at(second + 1), high(*count));
        let wide = (next - x).max(1);
        rectangle(
            svg,
            (x, bottom - high),
            (wide, high),
            bar_class(&line.engine),
        )?;
    }
    let mut rule = |class: &str, from: usize, to: usize, y: usize| {
        write!(
            svg,
            "<line class=\"{class}\" x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\"/>"
        )
    };
    rule("l", left, left + width, bottom)?;
    if let Some(store) = &plan.store {
        let (begin, end) = (store.surge_calm_s, store.surge_calm_s + store.surge_s);
        rule(
            "g",
            at(begin as usize),
            at(end as usize),
            bottom - high(offered),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Values;

    fn line(engine: &str, rows_per_s: f64) -> Line {
        Line {
            point: Point {
                work: Work::Scan,
                bytes: 100,
                width: 1,
            },
            engine: engine.into(),
            rounds: 1,
            slow: 0,
            values: Values::from([("rows_per_s".to_owned(), rows_per_s)]),
            durable: None,
            error: None,
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_figure() {
        let about = |name| About {
            name,
            version: "",
            settings: "",
            built: true,
            cannot: Vec::new(),
        };
        let summary = Summary {
            single_method: String::new(),
            single_per_s: 1.0,
            singles: Values::new(),
            points: vec![line("afterimage", 3e6), line("other", 6e6)],
        };
        let (ours, other, none) = (about("afterimage"), about("other"), about("<none>"));
        let mut svg = String::new();
        let drawn = panel(
            &mut svg,
            (0, 0),
            &summary.points[0].point,
            &[&ours, &other, &none],
            &summary,
        );
        assert!(drawn.is_ok());
        let bar = |class: &str, wide: usize| {
            let rectangle = format!("<rect class=\"{class}\" x=\"{BAR_AT}\"");
            let found = svg.split(&rectangle).nth(1).unwrap_or_default();
            assert!(found.contains(&format!("width=\"{wide}\"")), "{svg}");
        };
        bar("bo", BAR_LONGEST / 2);
        bar("bp", BAR_LONGEST);
        assert!(svg.contains("&lt;none>"), "{svg}");
    }
}
