//! From a failing seed to a regression test: the episode is recorded, its choices are shrunk, and what is left becomes a file of at most twenty lines in
//! `tests/found/`.

use super::episode_of;
use crate::choices::{Choices, Strings};
use crate::failure::{Failure, Mismatch};
use crate::shrink::{Shrunk, shrink};
use crate::watchdog;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one failure is made smaller.
pub const LIMIT: Duration = Duration::from_secs(60);
/// The most lines of a test.
const LINES: usize = 20;
/// Lines of the story in it.
const STORY: usize = 5;
/// Characters in a line.
const WIDTH: usize = 110;

/// A failing episode that was made small.
#[derive(Debug)]
pub struct Found {
    /// What fails now.
    pub failure: Box<Failure>,
    /// The choices of it.
    pub shrunk: Shrunk,
    /// What it was before: the name of the episode, and how many bytes its choices had.
    pub from: (String, usize),
    /// How long it took to make it small.
    pub took: Duration,
}

/// Runs the episode that these bytes are, given as hexadecimal digits: a test that was found. It must hold; and it must still do something, or it has become
/// another episode since, and is worth nothing.
///
/// # Panics
/// If it does not hold, or does nothing any more.
pub fn found(hex: &str) {
    let choices = from_hex(hex).unwrap_or_else(|| panic!("not hexadecimal digits: {hex}"));
    let digits: String = hex.split_whitespace().collect();
    match episode_of(choices, &format!("--bytes {digits}")) {
        Ok(tally) => assert!(
            tally.crashes + tally.stops > 0 && tally.verified > 0,
            "the episode holds, and does nothing: its bytes mean something else now\n{tally}"
        ),
        Err(failure) => panic!("{failure}"),
    }
}

/// The choices that hexadecimal digits are.
#[must_use]
pub fn from_hex(hex: &str) -> Option<Choices> {
    Strings::from_hex(hex).map(|strings| Choices::from_strings(&strings))
}

/// Makes the episode of `seed` small, if it fails.
pub fn from_seed(seed: u64, limit: Duration) -> Option<Found> {
    from_choices(Choices::new(seed), &format!("seed {seed}"), limit)
}

/// Makes the episode of these choices small, if it fails: `name` is what they are called.
///
/// # Panics
/// If the episode does not repeat itself.
pub fn from_choices(choices: Choices, name: &str, limit: Duration) -> Option<Found> {
    let (choices, record) = choices.recorded();
    let failure = episode_of(choices, name).err()?;
    let symptom = symptom(&failure.mismatch);
    let started = Instant::now();
    // What goes astray on the way must not take all the time there is.
    let patience = watchdog::patience();
    watchdog::set_patience(3);
    let strings = record.strings();
    let mut fails = |strings: &Strings| {
        let (choices, record) = Choices::from_strings(strings).recorded();
        let failure = episode_of(choices, "").err()?;
        (self::symptom(&failure.mismatch) == symptom).then(|| record.spans())
    };
    let shrunk = shrink(&strings, limit, &mut fails);
    watchdog::set_patience(patience.as_secs());
    let name_now = format!("--bytes {}", shrunk.strings.to_hex());
    let last = episode_of(Choices::from_strings(&shrunk.strings), &name_now);
    Some(Found {
        failure: last.expect_err("what has failed fails again"),
        from: (name.to_string(), strings.len()),
        shrunk,
        took: started.elapsed(),
    })
}

/// What makes two failures the same: who saw it, and how its words begin, but for numbers.
fn symptom(mismatch: &Mismatch) -> String {
    let words = mismatch.what.chars().filter(|c| !c.is_ascii_digit());
    format!("{} {}", mismatch.layer, words.take(30).collect::<String>())
}

impl Found {
    /// A name for the test, from what it does.
    #[must_use]
    pub fn name(&self) -> String {
        let hash = self.shrunk.strings.to_hex().bytes().fold(0u32, |h, b| {
            h.rotate_left(5) ^ u32::from(b).wrapping_mul(0x9E37_79B9)
        });
        format!("{}_{hash:08x}", self.failure.mismatch.layer)
    }

    /// Puts the test into the directory of those that were found, and names it in the `main.rs` there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, directory: &Path) -> std::io::Result<PathBuf> {
        let (name, main) = (self.name(), directory.join("main.rs"));
        let path = directory.join(format!("{name}.rs"));
        std::fs::write(&path, self.test())?;
        let (list, line) = (std::fs::read_to_string(&main)?, format!("mod {name};\n"));
        if !list.contains(&line) {
            std::fs::write(&main, list + &line)?;
        }
        Ok(path)
    }

    /// The file.
    #[must_use]
    pub fn test(&self) -> String {
        let (mut text, (from, before)) = (String::new(), &self.from);
        let what = self.failure.mismatch.what.lines().next().unwrap_or("");
        let layer = self.failure.mismatch.layer;
        let _ = writeln!(
            text,
            "//! An episode that failed once ({layer}), made small.\n//!"
        );
        for line in wrapped(what, 2) {
            let _ = writeln!(text, "//! {line}");
        }
        let now = self.shrunk.strings.len();
        let _ = writeln!(
            text,
            "//!\n//! From {from}: {now} of {before} bytes of choices are left."
        );
        for line in wrapped(&self.failure.place, STORY) {
            let _ = writeln!(text, "//! {line}");
        }
        let hex = self.shrunk.strings.to_hex();
        let room = LINES - text.lines().count() - 8;
        let width = WIDTH.max(hex.len().div_ceil(room.max(1)));
        let digits: Vec<&str> = (0..hex.len())
            .step_by(width)
            .map(|at| &hex[at..hex.len().min(at + width)])
            .collect();
        let digits = match digits[..] {
            [] | [_] => format!("\"{hex}\""),
            _ => format!("\n        \"{}\",\n    ", digits.join("\n         ")),
        };
        let name = self.name();
        let _ = write!(
            text,
            "\nuse afterimage_sim::random::found;\n\n#[test]\nfn {name}() {{\n    found({digits});\n}}\n"
        );
        text
    }
}

/// The first lines of a text that is broken between words.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().filter(|l| l.len() + word.len() < WIDTH);
        match last {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_string()),
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            last.push_str(" ...");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Layer;

    #[test]
    fn a_test_has_twenty_lines_at_most_however_much_is_left() {
        for len in [0, 10, 60, 600, 4000] {
            let long = "a story of many words and no end ".repeat(60);
            let found = Found {
                failure: Box::new(Failure {
                    mismatch: Mismatch::new(Layer::Model, long.clone()),
                    place: long,
                    replay: String::new(),
                }),
                shrunk: Shrunk {
                    strings: Strings(vec![vec![0xAB; len]; 3]).trimmed(),
                    tried: 1,
                    finished: true,
                },
                from: ("seed 7".to_string(), 5000),
                took: Duration::ZERO,
            };
            let test = found.test();
            assert!(test.lines().count() <= LINES, "{test}");
            let hex: String = test.split('"').nth(1).unwrap_or_default().to_string();
            assert_eq!(
                Strings::from_hex(&hex),
                Some(found.shrunk.strings.clone()),
                "{test}"
            );
        }
    }
}
