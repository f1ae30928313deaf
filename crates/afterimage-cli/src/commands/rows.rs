//! Rows to stdout, as text lines or as one JSON document, streamed: what `scan` and `export` share.

use crate::escape;
use crate::failure::Failure;
use crate::out::Out;
use serde_json::json;

/// Writes rows one after the other; however many there are, one at a time is in memory.
pub struct Rows<'a> {
    out: &'a mut Out,
    line: Vec<u8>,
    /// Rows written so far.
    pub count: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl<'a> Rows<'a> {
    /// Starts a listing of `table`.
    pub fn start(out: &'a mut Out, table: &str) -> Result<Self, Failure> {
        if out.is_json() {
            out.bytes(format!("{{\n  \"table\": {},\n  \"rows\": [", json!(table)).as_bytes())?;
        }
        Ok(Self {
            out,
            line: Vec::new(),
            count: 0,
            bytes: 0,
        })
    }

    /// Writes one row.
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.line.clear();
        if self.out.is_json() {
            let comma = if self.count == 0 { "" } else { "," };
            let row = json!({ "key": escape::to_json(key), "value": escape::to_json(value) });
            self.line
                .extend_from_slice(format!("{comma}\n    {row}").as_bytes());
        } else {
            escape::row_into(key, value, &mut self.line);
        }
        self.count += 1;
        self.bytes += (key.len() + value.len()) as u64;
        self.out.bytes(&self.line)
    }

    /// Ends the listing.
    pub fn end(self) -> Result<(), Failure> {
        if self.out.is_json() {
            self.out
                .bytes(format!("\n  ],\n  \"count\": {}\n}}\n", self.count).as_bytes())?;
        }
        Ok(())
    }
}
