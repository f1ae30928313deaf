//! Keys and values as text: one row a line, key and value parted by a tab, with `\t`, `\n` and `\\` escaped.
//!
//! The escapes are the least that make any bytes a line: every other byte, also one that is not UTF-8, stands for
//! itself. `load` reads what `export` and `scan` write; keys and values on the command line are written the same way.

use serde_json::{Value, json};
use std::fmt;

/// Why a text is not an escaped key, value or row.
#[derive(Debug, PartialEq, Eq)]
pub enum BadText {
    /// A row without the tab that parts key and value.
    NoTab,
    /// A row with a second tab: one inside a value is written `\t`.
    SecondTab,
    /// A backslash followed by something other than `t`, `n` or a backslash, or by nothing.
    UnknownEscape(Option<u8>),
}

impl fmt::Display for BadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadText::NoTab => write!(f, "there is no tab between key and value"),
            BadText::SecondTab => write!(
                f,
                "there is a second tab; one inside a key or value is written \\t"
            ),
            BadText::UnknownEscape(Some(byte)) => {
                write!(
                    f,
                    "\\{} is not an escape; \\t, \\n and \\\\ are, and a backslash is written \\\\",
                    byte.escape_ascii()
                )
            }
            BadText::UnknownEscape(None) => write!(
                f,
                "it ends in a single backslash; a backslash is written \\\\"
            ),
        }
    }
}

/// Appends `bytes` to `out` with tab, newline and backslash escaped.
pub fn escape_into(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ => out.push(byte),
        }
    }
}

/// The bytes that an escaped `text` stands for.
pub fn unescape(text: &[u8]) -> Result<Vec<u8>, BadText> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'\\') => b'\\',
            other => return Err(BadText::UnknownEscape(other.copied())),
        });
    }
    Ok(out)
}

/// Appends one row, with its newline, to `out`.
pub fn row_into(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    escape_into(key, out);
    out.push(b'\t');
    escape_into(value, out);
    out.push(b'\n');
}

/// The key and value of one line, given without its newline.
pub fn parse_row(line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), BadText> {
    let tab = line
        .iter()
        .position(|&b| b == b'\t')
        .ok_or(BadText::NoTab)?;
    let (key, value) = (&line[..tab], &line[tab + 1..]);
    if value.contains(&b'\t') {
        return Err(BadText::SecondTab);
    }
    Ok((unescape(key)?, unescape(value)?))
}

/// Bytes in a JSON document: a string where they are UTF-8, otherwise `{"hex": "..."}`, so that nothing is lost.
pub fn to_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "hex": hex(bytes) }),
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back() {
        let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        let mut line = Vec::new();
        row_into(&all, b"\t\n\\ \\t", &mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        assert!(!line.contains(&b'\n'));
        assert_eq!(parse_row(&line), Ok((all, b"\t\n\\ \\t".to_vec())));
    }

    #[test]
    fn wrong_rows_say_why() {
        assert_eq!(parse_row(b"no tab"), Err(BadText::NoTab));
        assert_eq!(parse_row(b"a\tb\tc"), Err(BadText::SecondTab));
        assert_eq!(
            parse_row(b"a\\x\tb"),
            Err(BadText::UnknownEscape(Some(b'x')))
        );
        assert_eq!(parse_row(b"a\tb\\"), Err(BadText::UnknownEscape(None)));
        assert_eq!(parse_row(b"\t"), Ok((vec![], vec![])));
    }

    #[test]
    fn json_keeps_bytes_that_are_no_text() {
        assert_eq!(to_json(b"abc"), json!("abc"));
        assert_eq!(to_json(&[0xff, 0x00]), json!({ "hex": "ff00" }));
    }
}
