//! A line of a script in pieces: words, numbers, quoted strings, and the few signs between them, each with its column.

use crate::mistake::Mistake;

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Counted in characters, from 1.
    pub(crate) column: usize,
}

/// What a piece is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name, a number, a value, a keyword.
    Word(String),
    /// A value in quotes.
    Quoted(String),
    Equals,
    Comma,
    Colon,
    Open,
    Close,
    /// `->`
    Arrow,
}

impl Token {
    /// As a person would have to look for it.
    pub(crate) fn shown(&self) -> String {
        match &self.kind {
            Kind::Word(word) => format!("\"{word}\""),
            Kind::Quoted(text) => format!("\"{text}\" in quotes"),
            Kind::Equals => "\"=\"".to_owned(),
            Kind::Comma => "\",\"".to_owned(),
            Kind::Colon => "\":\"".to_owned(),
            Kind::Open => "\"{\"".to_owned(),
            Kind::Close => "\"}\"".to_owned(),
            Kind::Arrow => "\"->\"".to_owned(),
        }
    }
}

/// Takes a line apart. What follows `#` or `//` is for people.
pub(crate) fn tokens(line: usize, text: &str) -> Result<Vec<Token>, Mistake> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(&c) = chars.get(at) {
        let column = at + 1;
        let next = chars.get(at + 1).copied();
        let sign = match c {
            '=' => Some(Kind::Equals),
            ',' | ';' => Some(Kind::Comma),
            ':' => Some(Kind::Colon),
            '{' => Some(Kind::Open),
            '}' => Some(Kind::Close),
            _ => None,
        };
        if c == '#' || c == '/' && next == Some('/') {
            break;
        } else if c.is_whitespace() {
            at += 1;
        } else if let Some(kind) = sign {
            tokens.push(Token { kind, column });
            at += 1;
        } else if c == '-' && next == Some('>') || c == '\u{2192}' {
            tokens.push(Token {
                kind: Kind::Arrow,
                column,
            });
            at += if c == '-' { 2 } else { 1 };
        } else if c == '"' || c == '\'' {
            let end = chars[at + 1..].iter().position(|found| *found == c);
            let Some(len) = end else {
                return Err(Mistake::at(line, column)
                    .found("a quote that is not closed")
                    .expected(format!("another {c} on this line")));
            };
            let text = chars[at + 1..at + 1 + len].iter().collect();
            tokens.push(Token {
                kind: Kind::Quoted(text),
                column,
            });
            at += len + 2;
        } else {
            let ends = |from: usize, found: &char| {
                found.is_whitespace()
                    || "=,;:{}\"'#\u{2192}".contains(*found)
                    || *found == '-' && chars.get(from + 1) == Some(&'>')
                    || *found == '/' && chars.get(from + 1) == Some(&'/')
            };
            let len = (chars[at..].iter().enumerate())
                .position(|(n, found)| n > 0 && ends(at + n, found))
                .unwrap_or(chars.len() - at);
            let word: String = chars[at..at + len].iter().collect();
            tokens.push(Token {
                kind: Kind::Word(word),
                column,
            });
            at += len;
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_has_its_column() {
        let found = tokens(1, "LSN=200 T1 UPDATE A.x 'a b'->_ # why").expect("legal");
        let shown: Vec<_> = found.iter().map(|t| (t.column, t.shown())).collect();
        let expected = [
            (1, "\"LSN\""),
            (4, "\"=\""),
            (5, "\"200\""),
            (9, "\"T1\""),
            (12, "\"UPDATE\""),
            (19, "\"A.x\""),
            (23, "\"a b\" in quotes"),
            (28, "\"->\""),
            (30, "\"_\""),
        ];
        let expected: Vec<_> = expected.map(|(c, s)| (c, s.to_owned())).into();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_quote_must_end() {
        let mistake = tokens(7, "T1 INSERT A value=\"x").expect_err("refused");
        assert_eq!((mistake.line, mistake.column), (7, 19));
    }
}
