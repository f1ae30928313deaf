//! How the shell says things: rows in columns for a person, one a line with a tab for a script, or as JSON.
//!
//! Results go to stdout. What is only a remark (how many rows, how long it took) goes there too at a prompt, and to
//! stderr otherwise, so that a pipe carries results alone.

use super::words::{Format, show, show_short};
use crate::escape;
use crate::failure::Failure;
use crate::out::{self, Out};
use serde_json::{Value, json};
use std::fmt;

/// Rows that are lined up together: what comes later may be wider.
const BLOCK: usize = 100;
/// Text that gathers at most before it is shown.
const BLOCK_BYTES: usize = 1 << 16;
/// Bytes of a value in a listing, and of a value alone, at a prompt.
const IN_LISTING: usize = 60;
const ALONE: usize = 4096;

/// How wide a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    /// What fits a screen, at a prompt; everything otherwise.
    Usual,
    At(usize),
    All,
}

/// Where results and remarks go, and how bytes look.
pub struct Show<'a> {
    out: &'a mut Out,
    /// Somebody sits there.
    prompt: bool,
    /// How bytes are shown.
    pub format: Format,
    /// Say how long everything took.
    pub timing: bool,
    width: Width,
}

impl<'a> Show<'a> {
    /// Results to `out`.
    pub fn new(out: &'a mut Out, prompt: bool, format: Format) -> Self {
        Self {
            out,
            prompt,
            format,
            timing: false,
            width: Width::Usual,
        }
    }

    /// Shows at most so many bytes of a value; none for all.
    pub fn set_width(&mut self, bytes: Option<usize>) {
        self.width = bytes.map_or(Width::All, Width::At);
    }

    /// Something said about a result.
    pub fn remark(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        if self.prompt && !self.out.is_json() {
            return self.out.line(text);
        }
        out::note(text);
        Ok(())
    }

    /// Something said only to somebody who sits there.
    pub fn aside(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        if self.prompt {
            self.remark(text)
        } else {
            Ok(())
        }
    }

    /// A result that is text anyway.
    pub fn lines(&mut self, lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        lines.into_iter().try_for_each(|line| self.out.line(line))
    }

    /// A result: as one line of JSON where that is wanted, else as `text`.
    pub fn result(
        &mut self,
        document: &Value,
        text: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.out.is_json() {
            return self.out.line(document);
        }
        text(self)
    }

    /// The value of one key.
    pub fn value(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let document = || json!({ "key": escape::to_json(key), "value": escape::to_json(value) });
        if self.out.is_json() {
            return self.out.line(document());
        }
        let text = self.short(value, ALONE);
        self.out.line(text)
    }

    fn short(&self, value: &[u8], usual: usize) -> String {
        match self.width {
            Width::Usual if self.prompt => show_short(value, self.format, usual),
            Width::At(most) => show_short(value, self.format, most),
            Width::Usual | Width::All => show(value, self.format),
        }
    }

    /// Begins a listing of rows.
    pub fn listing(&mut self) -> Listing<'_, 'a> {
        Listing {
            show: self,
            rows: Vec::new(),
            bytes: 0,
            key_width: 0,
        }
    }

    /// Hands everything to the reader.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush()
    }
}

/// Rows on their way.
pub struct Listing<'s, 'a> {
    show: &'s mut Show<'a>,
    rows: Vec<(String, String)>,
    bytes: usize,
    key_width: usize,
}

impl Listing<'_, '_> {
    /// Shows one row, soon.
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        if self.show.out.is_json() {
            return self.show.value(key, value);
        }
        let key = show(key, self.show.format);
        let value = self.show.short(value, IN_LISTING);
        if !self.show.prompt {
            return self.show.out.line(format_args!("{key}\t{value}"));
        }
        self.bytes += key.len() + value.len();
        self.rows.push((key, value));
        if self.rows.len() >= BLOCK || self.bytes >= BLOCK_BYTES {
            self.block()?;
        }
        Ok(())
    }

    fn block(&mut self) -> Result<(), Failure> {
        let width = |(key, _): &(String, String)| key.chars().count();
        let widest = self.rows.iter().map(width).max().unwrap_or(0);
        self.key_width = self.key_width.max(widest);
        self.bytes = 0;
        for (key, value) in self.rows.drain(..) {
            let line = format!("{key:<width$}  {value}", width = self.key_width);
            self.show.out.line(line)?;
        }
        self.show.out.flush()
    }

    /// Shows what is left.
    pub fn end(mut self) -> Result<(), Failure> {
        self.block()
    }
}
