//! The picture: a panel a point, a bar an engine, as long as its multiple of the single durable write.
//!
//! Each panel has a scale of its own, which its longest bar fills: what is compared is the engines, not the points.

mod font;

use crate::Result;
use crate::engines::{Kind, OURS};
use crate::plan::{Point, Work};
use crate::results::Head;
use crate::summary::Summary;
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
/// Panels side by side.
const ACROSS: usize = 2;

/// Draws the synced points into a file.
pub fn write(path: &Path, head: &Head, engines: &[Kind], summary: &Summary) -> Result<()> {
    let measured = |point: &Point| summary.points.iter().any(|line| line.point == *point);
    let points: Vec<Point> = head
        .plan
        .points()
        .into_iter()
        .filter(|point| matches!(point.work, Work::Sync | Work::Tickets) && measured(point))
        .collect();
    let built: Vec<&Kind> = engines.iter().filter(|kind| kind.open.is_some()).collect();
    let panel_height = (built.len() + 2) * ROW;
    let head_height = 3 * ROW + MARGIN;
    let height = head_height + points.len().div_ceil(ACROSS) * panel_height + MARGIN;
    let mut picture = Picture::new(ACROSS * PANEL + 2 * MARGIN, height);
    picture.text(
        MARGIN,
        MARGIN,
        INK,
        "log append + sync: records made durable a second",
    );
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
    picture.write(path)
}

fn panel(
    picture: &mut Picture,
    (left, top): (usize, usize),
    point: &Point,
    engines: &[&Kind],
    summary: &Summary,
) {
    let of = |kind: &Kind, name: &str| {
        let line = summary.line(kind.name, point)?;
        line.values
            .get(name)
            .copied()
            .filter(|value| value.is_finite())
    };
    let most = engines
        .iter()
        .filter_map(|kind| of(kind, "singles"))
        .fold(f64::MIN_POSITIVE, f64::max);
    let name = point.to_string();
    picture.text(
        left,
        top + ROW / 2,
        INK,
        name.trim_start_matches("append + sync, "),
    );
    for (index, kind) in engines.iter().enumerate() {
        let y = top + ROW / 2 + (index + 1) * ROW;
        let ours = kind.name == OURS;
        picture.text(left, y, if ours { INK } else { PALE }, kind.name);
        let x = left + BAR_AT;
        match (of(kind, "singles"), of(kind, "appends_per_s")) {
            (Some(singles), Some(per_second)) => {
                let length = (singles / most * BAR_LONGEST as f64).round() as usize;
                let colour = if ours { OURS_BAR } else { PEER_BAR };
                picture.fill((x, y - 3), (length.max(1), HEIGHT * SCALE + 6), colour);
                let label = format!("{singles:.2}x {}/s", rate(per_second));
                picture.text(x + length + 8, y, if ours { INK } else { PALE }, &label);
            }
            _ => picture.text(x, y, PALE, "-"),
        }
    }
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
