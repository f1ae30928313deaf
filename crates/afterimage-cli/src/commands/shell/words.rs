//! Bytes as the shell writes and reads them: what is printed can be typed, or pasted, and means the same bytes again.
//!
//! A word is plain (`alice`), in quotes (`"two words"`), or in hex (`0x00ff`). In plain and quoted words `\xNN` is a
//! byte, and `\t`, `\n`, `\r`, `\0`, `\\`, `\"`, `\'` are what they are elsewhere.

use std::fmt::Write as _;

/// Words that mean something where a key could stand: written in quotes where a key is meant.
pub const KEYWORDS: [&str; 5] = ["prefix", "from", "to", "limit", "reverse"];

/// A word of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What it stands for.
    pub bytes: Vec<u8>,
    /// Written plainly: it may be a keyword.
    pub plain: bool,
}

impl Word {
    /// The keyword it is, if it is one.
    pub fn keyword(&self) -> Option<&'static str> {
        let known = KEYWORDS.iter().find(|name| self.is(name));
        known.copied()
    }

    /// Is it this word, plainly written, in small or capital letters?
    pub fn is(&self, name: &str) -> bool {
        self.plain && self.bytes.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The statements of a line, parted by `;`, each as its words. A `#` that begins a word begins a remark.
pub fn statements(line: &[u8]) -> Result<Vec<Vec<Word>>, String> {
    let mut all = vec![Vec::new()];
    let mut rest = line;
    while let Some((&first, behind)) = rest.split_first() {
        match first {
            b' ' | b'\t' | b'\r' | b'\n' => rest = behind,
            b'#' => break,
            b';' => {
                rest = behind;
                all.push(Vec::new());
            }
            _ => {
                let statement = all.last_mut().expect("one from the beginning");
                let word = if first == b'"' || first == b'\'' {
                    quoted(&mut rest)?
                } else {
                    // `\timing` is a command, not a tab.
                    plain(&mut rest, first == b'\\' && statement.is_empty())?
                };
                statement.push(word);
            }
        }
    }
    all.retain(|statement| !statement.is_empty());
    Ok(all)
}

fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b';')
}

fn quoted(rest: &mut &[u8]) -> Result<Word, String> {
    let quote = rest[0];
    *rest = &rest[1..];
    let mut bytes = Vec::new();
    loop {
        let Some((&byte, behind)) = rest.split_first() else {
            return Err(format!("a quote {} is not closed", char::from(quote)));
        };
        if byte == quote {
            *rest = behind;
            break;
        }
        bytes.push(take_byte(rest)?);
    }
    if rest.first().is_some_and(|&byte| !ends_word(byte)) {
        return Err("something follows a closing quote without a space".to_owned());
    }
    Ok(Word {
        bytes,
        plain: false,
    })
}

fn plain(rest: &mut &[u8], command: bool) -> Result<Word, String> {
    let mut bytes = Vec::new();
    let mut escaped = false;
    while let Some(&byte) = rest.first()
        && !ends_word(byte)
    {
        if matches!(byte, b'"' | b'\'') {
            return Err("a quote inside a word: write the whole word in quotes".to_owned());
        }
        if byte == b'\\' && !command {
            escaped = true;
            bytes.push(take_byte(rest)?);
        } else {
            bytes.push(byte);
            *rest = &rest[1..];
        }
    }
    if !escaped && let Some(digits) = bytes.strip_prefix(b"0x") {
        let bytes = from_hex(digits).ok_or(
            "0x is followed by pairs of hex digits; a word that only looks so is written in quotes",
        )?;
        return Ok(Word {
            bytes,
            plain: false,
        });
    }
    Ok(Word {
        bytes,
        plain: !escaped,
    })
}

/// One byte, its escape undone.
fn take_byte(rest: &mut &[u8]) -> Result<u8, String> {
    let (&byte, behind) = rest.split_first().ok_or("nothing there")?;
    *rest = behind;
    if byte != b'\\' {
        return Ok(byte);
    }
    let Some((&kind, behind)) = rest.split_first() else {
        return Err("it ends in a single backslash; a backslash is written \\\\".to_owned());
    };
    *rest = behind;
    Ok(match kind {
        b't' => b'\t',
        b'n' => b'\n',
        b'r' => b'\r',
        b'0' => 0,
        b'\\' | b'"' | b'\'' => kind,
        b'x' => {
            let digits = rest.get(..2).and_then(from_hex);
            let byte = digits.ok_or("\\x is followed by two hex digits")?[0];
            *rest = &rest[2..];
            byte
        }
        other => {
            return Err(format!(
                "\\{} is not an escape; \\xNN, \\t, \\n, \\r, \\0, \\\\, \\\" and \\' are",
                other.escape_ascii()
            ));
        }
    })
}

fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

/// How bytes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// What is text as text, other bytes as `\xNN`.
    Text,
    /// All bytes in hex.
    Hex,
    /// ASCII as it is, all other bytes as `\xNN`.
    Escape,
}

/// The bytes as a word that reads back as the same bytes.
pub fn show(bytes: &[u8], format: Format) -> String {
    match format {
        Format::Hex => bytes.iter().fold("0x".to_owned(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }),
        Format::Text | Format::Escape => {
            let text = show_text(bytes, format == Format::Text);
            if needs_quotes(bytes) {
                format!("\"{text}\"")
            } else {
                text
            }
        }
    }
}

/// The first `most` bytes, or all, with the length where some are left out. It does not read back: `…` says so.
pub fn show_short(bytes: &[u8], format: Format, most: usize) -> String {
    if bytes.len() <= most {
        return show(bytes, format);
    }
    // Not in the middle of a character.
    let within = (most.saturating_sub(3)..=most).rev();
    let cut = within.into_iter().find(|&at| bytes[at] & 0xc0 != 0x80);
    let length = crate::units::count(bytes.len() as u64);
    let shown = show(&bytes[..cut.unwrap_or(most)], format);
    format!("{shown}… ({length} bytes)")
}

fn show_text(bytes: &[u8], text: bool) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => shown.extend(['\\', c]),
                '\t' => shown.push_str("\\t"),
                '\n' => shown.push_str("\\n"),
                '\r' => shown.push_str("\\r"),
                ' '..='~' => shown.push(c),
                _ if text && is_visible(c) => shown.push(c),
                _ => escape_all(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut shown),
            }
        }
        escape_all(chunk.invalid(), &mut shown);
    }
    shown
}

fn escape_all(bytes: &[u8], shown: &mut String) {
    for byte in bytes {
        let _ = write!(shown, "\\x{byte:02x}");
    }
}

/// Leaves a mark on a screen, and no other trace there.
fn is_visible(c: char) -> bool {
    // Behind a letter, so that a combining mark counts.
    let text = ['a', c].iter().collect::<String>();
    text.escape_debug().count() == 2 && !c.is_whitespace()
}

fn needs_quotes(bytes: &[u8]) -> bool {
    let Some(&first) = bytes.first() else {
        return true;
    };
    let is_keyword = |name: &str| bytes.eq_ignore_ascii_case(name.as_bytes());
    first == b'#'
        || bytes.starts_with(b"0x")
        || bytes
            .iter()
            .any(|&byte| matches!(byte, b' ' | b';' | b'"' | b'\''))
        || KEYWORDS.into_iter().any(is_keyword)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Word> {
        let mut all = statements(format!("put {text}").as_bytes()).expect(text);
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0).split_off(1)
    }

    #[test]
    fn what_is_printed_reads_back() {
        let all: Vec<u8> = (0..=255).collect();
        let mut samples: Vec<Vec<u8>> = all.iter().map(|&byte| vec![byte]).collect();
        samples.extend(all.windows(2).map(<[u8]>::to_vec));
        samples.extend(
            [
                "",
                "0x",
                "0xyz",
                "0x61",
                "prefix",
                "LIMIT",
                "# no",
                "a;b",
                "it's",
                "\\timing",
                "é",
                "e\u{301}",
                "\u{202e}x",
                "a\u{a0}b",
                "日本",
            ]
            .map(|text| text.as_bytes().to_vec()),
        );
        samples.push(all);
        for bytes in samples {
            for format in [Format::Text, Format::Hex, Format::Escape] {
                let shown = show(&bytes, format);
                assert!(shown.chars().all(|c| !c.is_control()), "{shown}");
                let words = read(&shown);
                assert_eq!(words.len(), 1, "{shown}");
                assert_eq!(words[0].bytes, bytes, "{shown}");
                assert_eq!(words[0].keyword(), None, "{shown}");
            }
        }
    }

    #[test]
    fn text_is_shown_as_text_and_the_rest_is_not() {
        let show = |text: &str| show(text.as_bytes(), Format::Text);
        assert_eq!(show("alice"), "alice");
        assert_eq!(show("two words"), "\"two words\"");
        assert_eq!(show("é日本e\u{301}"), "é日本e\u{301}");
        assert_eq!(show("a\u{202e}\u{1b}[2J"), "a\\xe2\\x80\\xae\\x1b[2J");
        assert_eq!(
            super::show(b"\x00\xff\x01", Format::Text),
            "\\x00\\xff\\x01"
        );
        assert_eq!(super::show("é".as_bytes(), Format::Escape), "\\xc3\\xa9");
        assert_eq!(super::show(b"\x00\xff", Format::Hex), "0x00ff");
        let long = "é".repeat(1000);
        assert_eq!(
            show_short(long.as_bytes(), Format::Text, 5),
            "éé… (2,000 bytes)"
        );
        assert_eq!(show_short(b"abcde", Format::Text, 5), "abcde");
    }

    #[test]
    fn lines_are_parted_into_statements() {
        let all = statements(b"begin; put t \"a;b\" 'c d' ;; commit # done").expect("whole");
        let texts: Vec<Vec<&[u8]>> = all
            .iter()
            .map(|s| s.iter().map(|word| &word.bytes[..]).collect())
            .collect();
        let put: Vec<&[u8]> = vec![b"put", b"t", b"a;b", b"c d"];
        assert_eq!(texts, [vec![&b"begin"[..]], put, vec![b"commit"]]);
        assert_eq!(
            statements(b"\\timing").expect("whole")[0][0].bytes,
            b"\\timing"
        );
        assert!(statements(b" # only a remark").expect("whole").is_empty());
        for bad in [
            "put \"a",
            "put a\"b",
            "put \"a\"b",
            "put \\q",
            "put 0x1",
            "put \\x4",
            "put a\\",
        ] {
            assert!(statements(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
