//! The picture: a panel a point, a bar an engine, as long as its figure; and the seconds of each surge.
//!
//! Each panel has a scale of its own, which its longest bar fills: what is compared is the engines, not the points.

mod font;

use crate::Result;
use crate::plan::{About, Point, Work, is_ours};
use crate::results::Head;
use crate::summary::{Line, Summary};
use crate::table::rate;
use font::{HEIGHT, WIDTH, glyph};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

type Colour = [u8; 3];
const PAPER: Colour = [255, 255, 255];
const INK: Colour = [40, 40, 48];
const PALE: Colour = [120, 120, 130];
const OURS_BAR: Colour = [214, 93, 30];
const PEER_BAR: Colour = [126, 154, 186];

/// Dots of the picture for one of a letter.
const SCALE: usize = 2;
const LETTER: usize = (WIDTH + 1) * SCALE;
const ROW: usize = 26;
const MARGIN: usize = 24;
/// Where the bars begin and how long the longest is, within a panel.
const BAR_AT: usize = 16 * LETTER;
const BAR_LONGEST: usize = 200;
const PANEL: usize = BAR_AT + BAR_LONGEST + 19 * LETTER;
/// How high a surge is drawn, with its title.
const CURVE_PANEL: usize = 8 * ROW;
/// Panels side by side.
const ACROSS: usize = 2;

/// Draws the points into a file: of logs those with sync, of stores all, and how the surge went.
pub fn write(path: &Path, head: &Head, engines: &[About], summary: &Summary) -> Result<()> {
    let of_stores = head.plan.store.is_some();
    let measured = |point: &Point| summary.points.iter().any(|line| line.point == *point);
    let points: Vec<Point> = head
        .plan
        .points()
        .into_iter()
        .filter(|point| (of_stores || point.work.commits()) && measured(point))
        .collect();
    let built: Vec<&About> = engines
        .iter()
        .filter(|about| summary.points.iter().any(|line| line.engine == about.name))
        .collect();
    let surges: Vec<&Line> = summary
        .points
        .iter()
        .filter(|line| matches!(line.point.work, Work::Surge | Work::SurgeTenth) && line.rounds > 0)
        .collect();
    let panel_height = (built.len() + 2) * ROW;
    let head_height = 3 * ROW + MARGIN;
    let curves_at = head_height + points.len().div_ceil(ACROSS) * panel_height;
    let height = curves_at + surges.len().div_ceil(ACROSS) * CURVE_PANEL + MARGIN;
    let mut picture = Picture::new(ACROSS * PANEL + 2 * MARGIN, height);
    let title = if of_stores {
        "stores: the same work at the same durability"
    } else {
        "log append + sync: records made durable a second"
    };
    picture.text(MARGIN, MARGIN, INK, title);
    let single = format!(
        "x = multiples of one durable 4 KiB write here: {}, {}/s",
        summary.single_method,
        rate(summary.single_per_s)
    );
    picture.text(MARGIN, MARGIN + ROW, PALE, &single);
    let place = format!(
        "{}, {} cpus, {}; medians of {} rounds ({} plan)",
        head.machine.kernel,
        head.machine.cpus,
        head.machine.file_system.split(' ').next().unwrap_or(""),
        head.plan.rounds,
        head.plan.name
    );
    picture.text(MARGIN, MARGIN + 2 * ROW, PALE, &place);
    for (index, point) in points.iter().enumerate() {
        let left = MARGIN + index % ACROSS * PANEL;
        let top = head_height + index / ACROSS * panel_height;
        panel(&mut picture, (left, top), point, &built, summary);
    }
    for (index, line) in surges.iter().enumerate() {
        let left = MARGIN + index % ACROSS * PANEL;
        let top = curves_at + index / ACROSS * CURVE_PANEL;
        curve(&mut picture, (left, top), line);
    }
    picture.write(path)
}

fn panel(
    picture: &mut Picture,
    (left, top): (usize, usize),
    point: &Point,
    engines: &[&About],
    summary: &Summary,
) {
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
    picture.text(left, top + ROW / 2, INK, &format!("{name}{note}"));
    for (index, about) in engines.iter().enumerate() {
        let y = top + ROW / 2 + (index + 1) * ROW;
        let ours = is_ours(about.name);
        picture.text(left, y, if ours { INK } else { PALE }, about.name);
        let x = left + BAR_AT;
        let Some(value) = of(about, figure) else {
            picture.text(x, y, PALE, "-");
            continue;
        };
        let length = (value / most * BAR_LONGEST as f64).round() as usize;
        let colour = if ours { OURS_BAR } else { PEER_BAR };
        picture.fill((x, y - 3), (length.max(1), HEIGHT * SCALE + 6), colour);
        let label = match (figure, of(about, "per_s")) {
            ("singles", Some(per_second)) => format!("{value:.2}x {}/s", rate(per_second)),
            ("rows_per_s", _) => format!("{} rows/s", rate(value)),
            ("first_read_cold_s", _) => format!("{value:.2} s"),
            ("p999_us", _) => format!("p99.9 {:.1} ms", value / 1e3),
            _ => format!("{}/s", rate(value)),
        };
        picture.text(x + length + 8, y, if ours { INK } else { PALE }, &label);
    }
}

/// Commits in each second of a surge, as high as their number.
fn curve(picture: &mut Picture, (left, top): (usize, usize), line: &Line) {
    let seconds: Vec<f64> = line
        .values
        .range("second_".to_owned()..="second_9999".to_owned())
        .map(|(_, count)| *count)
        .collect();
    let most = seconds.iter().copied().fold(1.0, f64::max);
    let tenth = if line.point.work == Work::SurgeTenth {
        " (10 times the cache)"
    } else {
        ""
    };
    let title = format!("surge, {}{tenth}: {}/s at most", line.engine, rate(most));
    picture.text(left, top + ROW / 2, INK, &title);
    let (bottom, room) = (top + CURVE_PANEL - ROW / 2, CURVE_PANEL - 2 * ROW);
    let width = PANEL - 2 * LETTER;
    let colour = if is_ours(&line.engine) {
        OURS_BAR
    } else {
        PEER_BAR
    };
    for (second, count) in seconds.iter().enumerate() {
        let high = (count / most * room as f64).round() as usize;
        let x = left + second * width / seconds.len();
        let wide = (width / seconds.len()).max(1);
        picture.fill((x, bottom - high), (wide, high), colour);
    }
    picture.fill((left, bottom), (width, 1), PALE);
}

/// Dots, row by row.
struct Picture {
    width: usize,
    dots: Vec<Colour>,
}

impl Picture {
    fn new(width: usize, height: usize) -> Picture {
        Picture {
            width,
            dots: vec![PAPER; width * height],
        }
    }

    /// A filled rectangle; what lies outside the picture is left out.
    fn fill(&mut self, (left, top): (usize, usize), (wide, high): (usize, usize), colour: Colour) {
        for y in top..top + high {
            for x in left..(left + wide).min(self.width) {
                if let Some(dot) = self.dots.get_mut(y * self.width + x) {
                    *dot = colour;
                }
            }
        }
    }

    fn text(&mut self, left: usize, top: usize, colour: Colour, text: &str) {
        for (index, letter) in text.chars().enumerate() {
            for (column, bits) in glyph(letter).into_iter().enumerate() {
                for row in (0..HEIGHT).filter(|row| bits >> row & 1 == 1) {
                    let x = left + index * LETTER + column * SCALE;
                    self.fill((x, top + row * SCALE), (SCALE, SCALE), colour);
                }
            }
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let height = self.dots.len() / self.width;
        let file = BufWriter::new(File::create(path)?);
        let mut encoder =
            png::Encoder::new(file, u32::try_from(self.width)?, u32::try_from(height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()?
            .write_image_data(self.dots.as_flattened())?;
        Ok(())
    }
}
