//! The results file of a rig: one JSON line a piece of work, so that a second call goes on behind it.

use crate::job::Counts;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One piece of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// What chose everything.
    pub seed: u64,
    /// How long it took.
    pub seconds: f64,
    /// How often what happened.
    pub counts: Counts,
    /// What went wrong.
    pub failed: Option<String>,
}

/// All pieces of a rig.
pub struct Results {
    path: PathBuf,
    /// In order.
    pub pieces: Vec<Piece>,
}

impl Results {
    /// Reads the file, or begins it; anew where `fresh`. A line that a kill cut off is left out.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(path: &Path, fresh: bool) -> Result<Results, String> {
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        let text = match std::fs::read_to_string(path) {
            Ok(text) if !fresh => text,
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(told(error)),
            _ => String::new(),
        };
        let pieces: Vec<Piece> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let results = Results {
            path: path.to_path_buf(),
            pieces,
        };
        let lines: Vec<String> = results.pieces.iter().map(line_of).collect();
        std::fs::write(path, lines.concat()).map_err(told)?;
        Ok(results)
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, piece: Piece) -> Result<(), String> {
        let file = OpenOptions::new().append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(line_of(&piece).as_bytes()))
            .map_err(|error| format!("{}: {error}", self.path.display()))?;
        self.pieces.push(piece);
        Ok(())
    }

    /// All counts together.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for piece in &self.pieces {
            for (name, count) in &piece.counts {
                crate::job::count(&mut counts, name, *count);
            }
        }
        counts
    }

    /// One count, all together.
    pub fn count(&self, name: &str) -> u64 {
        self.counts().get(name).copied().unwrap_or(0)
    }

    /// Wall time, all together.
    pub fn seconds(&self) -> f64 {
        self.pieces.iter().map(|piece| piece.seconds).sum()
    }

    /// The first failure.
    pub fn failed(&self) -> Option<&Piece> {
        self.pieces.iter().find(|piece| piece.failed.is_some())
    }
}

fn line_of(piece: &Piece) -> String {
    // Numbers, words and a map of both: there is nothing in it that JSON could not say.
    let line = serde_json::to_string(piece).unwrap_or_default();
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_call_goes_on() {
        let path = std::env::temp_dir().join(format!("rigs-results-{}", std::process::id()));
        let piece = |cuts: u64| Piece {
            seed: 1,
            seconds: 0.5,
            counts: Counts::from([("cuts".to_owned(), cuts)]),
            failed: None,
        };
        let mut results = Results::open(&path, true).expect("a new file");
        results.add(piece(3)).expect("there is room");
        results.add(piece(4)).expect("there is room");
        let mut text = std::fs::read(&path).expect("it was written");
        text.extend(br#"{"seed":1,"sec"#);
        std::fs::write(&path, text).expect("there is room");
        let again = Results::open(&path, false).expect("it is there");
        assert_eq!((again.count("cuts"), again.pieces.len()), (7, 2));
        let fresh = Results::open(&path, true).expect("it is there");
        assert_eq!(fresh.count("cuts"), 0);
        std::fs::remove_file(&path).expect("it is ours");
    }
}
