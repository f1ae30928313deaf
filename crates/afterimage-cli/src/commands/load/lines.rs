//! The rows of an input, a line each: `key<TAB>value`, with escapes.

use crate::escape::parse_row;
use crate::failure::Failure;
use crate::units;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// A line longer than this is no row that a page could take; it bounds what a wrong file makes us hold in memory.
const LINE_MAX: u64 = 1 << 20;

/// Key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// The file, or standard input, and what to call it.
pub fn input(file: Option<&Path>) -> Result<(Box<dyn BufRead>, String), Failure> {
    match file {
        Some(path) if path != Path::new("-") => {
            let file = File::open(path).map_err(|e| {
                Failure::usage(format!("the input cannot be opened: {e}")).at(path.display())
            })?;
            Ok((
                Box::new(BufReader::with_capacity(1 << 16, file)),
                path.display().to_string(),
            ))
        }
        _ => Ok((Box::new(io::stdin().lock()), "standard input".to_string())),
    }
}

/// The rows of an input, with the line number for messages.
pub struct Lines {
    input: Box<dyn BufRead>,
    name: String,
    number: u64,
    line: Vec<u8>,
}

impl Lines {
    pub fn new(input: Box<dyn BufRead>, name: String) -> Self {
        Self {
            input,
            name,
            number: 0,
            line: Vec::new(),
        }
    }

    /// The next row; `None` at the end.
    pub fn next_row(&mut self) -> Result<Option<Row>, Failure> {
        self.line.clear();
        self.number += 1;
        let read = (&mut self.input)
            .take(LINE_MAX)
            .read_until(b'\n', &mut self.line);
        let read = read.map_err(|e| {
            Failure::refused(format!("the input cannot be read: {e}")).at(&self.name)
        })?;
        if read == 0 {
            return Ok(None);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if read as u64 == LINE_MAX {
            return Err(self.wrong(&format!(
                "the line is longer than {}",
                units::size(LINE_MAX)
            )));
        }
        parse_row(&self.line)
            .map(Some)
            .map_err(|bad| self.wrong(&bad.to_string()))
    }

    /// Where the row that was read last stands.
    pub fn place(&self) -> String {
        format!("{}, line {}", self.name, self.number)
    }

    fn wrong(&self, why: &str) -> Failure {
        Failure::data(format!("a row cannot be read: {why}")).at(self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_row_names_its_line() {
        let text: &[u8] = b"a\t1\nwrong\n";
        let mut lines = Lines::new(Box::new(text), "test".to_string());
        let row = lines.next_row().expect("a row");
        assert_eq!(row, Some((b"a".to_vec(), b"1".to_vec())));
        let failure = lines.next_row().expect_err("no tab");
        assert!(failure.to_string().contains("test, line 2"), "{failure}");
    }
}
