//! A small Rust lexer: enough to tell code from comments and literals, and to know each token's line.
//!
//! The rules of tidy look at paths and items only. Searching the raw text would trip over documentation and strings, and
//! a full parser would be a heavy dependency for a dozen rules.

/// One token of code. Comments and blanks are gone; literals keep no contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or keyword, without `r#`.
    Word(String),
    /// `::`
    PathSep,
    /// Any other single character of punctuation.
    Mark(char),
    /// A string, character or number.
    Literal,
    /// `'a`
    Lifetime,
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its line, from 1.
    pub line: usize,
}

impl Token {
    /// Whether it is this identifier or keyword.
    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(own) if own == word)
    }

    /// Whether it is this punctuation.
    pub fn is_mark(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

/// Splits Rust source into tokens. Source that does not compile may give odd tokens, but always ends.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        rest: source.chars().collect(),
        at: 0,
        line: 1,
        found: Vec::new(),
    };
    while lexer.step() {}
    lexer.found
}

struct Lexer {
    rest: Vec<char>,
    at: usize,
    line: usize,
    found: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn bump(&mut self) -> char {
        let next = self.peek(0);
        self.at += 1;
        if next == '\n' {
            self.line += 1;
        }
        next
    }

    fn done(&self) -> bool {
        self.at >= self.rest.len()
    }

    fn push(&mut self, kind: Kind, line: usize) {
        self.found.push(Token { kind, line });
    }

    /// Reads one token or one stretch of nothing; false at the end.
    fn step(&mut self) -> bool {
        if self.done() {
            return false;
        }
        let line = self.line;
        match (self.peek(0), self.peek(1)) {
            (blank, _) if blank.is_whitespace() => {
                self.bump();
            }
            ('/', '/') => self.line_comment(),
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(line),
            ('\'', _) => self.quote(line),
            (':', ':') => {
                self.at += 2;
                self.push(Kind::PathSep, line);
            }
            (digit, _) if digit.is_ascii_digit() => self.number(line),
            (first, _) if first.is_alphabetic() || first == '_' => self.word(line),
            _ => {
                let mark = self.bump();
                self.push(Kind::Mark(mark), line);
            }
        }
        true
    }

    fn line_comment(&mut self) {
        while !self.done() && self.peek(0) != '\n' {
            self.bump();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while !self.done() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.bump();
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self, line: usize) {
        self.bump();
        while !self.done() {
            match self.bump() {
                '\\' => {
                    self.bump();
                }
                '"' => break,
                _ => {}
            }
        }
        self.push(Kind::Literal, line);
    }

    /// `r"..."`, `r#"..."#` and so on: the hashes are at `self.at`.
    fn raw_string(&mut self, line: usize) {
        let mut hashes = 0;
        while self.peek(0) == '#' {
            hashes += 1;
            self.bump();
        }
        self.bump();
        while !self.done() {
            if self.bump() == '"' && (0..hashes).all(|ahead| self.peek(ahead) == '#') {
                self.at += hashes;
                break;
            }
        }
        self.push(Kind::Literal, line);
    }

    /// `'a'` or `'a`.
    fn quote(&mut self, line: usize) {
        self.bump();
        let is_char = self.peek(0) == '\\' || self.peek(1) == '\'';
        if !is_char {
            while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
                self.bump();
            }
            return self.push(Kind::Lifetime, line);
        }
        while !self.done() {
            match self.bump() {
                '\\' => {
                    self.bump();
                }
                '\'' => break,
                _ => {}
            }
        }
        self.push(Kind::Literal, line);
    }

    fn number(&mut self, line: usize) {
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            self.bump();
        }
        self.push(Kind::Literal, line);
    }

    fn word(&mut self, line: usize) {
        let mut word = String::new();
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            word.push(self.bump());
        }
        let raw = matches!(word.as_str(), "r" | "br" | "cr");
        match self.peek(0) {
            '"' if raw => self.raw_string(line),
            '"' if matches!(word.as_str(), "b" | "c") => self.string(line),
            '\'' if word == "b" => self.quote(line),
            '#' if raw && matches!(self.peek(1), '#' | '"') => self.raw_string(line),
            '#' if word == "r" && self.peek(1).is_alphabetic() => {
                self.bump();
                self.word(line);
            }
            _ => self.push(Kind::Word(word), line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        let word = |token: Token| match token.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        };
        tokens(source).into_iter().filter_map(word).collect()
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let source = "a // b\n/* c /* d */ e */ f \"g \\\" h\" r#\"i \" j\"# b\"k\" 'l' '\\'' m";
        assert_eq!(words(source), ["a", "f", "m"]);
    }

    #[test]
    fn lifetimes_do_not_swallow_code() {
        assert_eq!(words("fn f<'a>(x: &'a str) {}"), ["fn", "f", "x", "str"]);
    }

    #[test]
    fn raw_identifiers_lose_their_prefix() {
        assert_eq!(words("r#type br\"x\" r\"y\" z"), ["type", "z"]);
    }

    #[test]
    fn lines_are_counted_through_literals() {
        let found = tokens("\"one\ntwo\"\nthree");
        assert_eq!(found.last().map(|token| token.line), Some(3));
    }

    #[test]
    fn unfinished_source_ends() {
        for source in ["\"abc", "/* abc", "r#\"abc", "'\\", "'"] {
            let _ = tokens(source);
        }
    }
}
