//! Every path that a Rust file names, made absolute, with its line and whether tests alone use it.
//!
//! `use` trees are spread out, `self`, `super` and `crate` resolved, and a path that begins with an imported name is
//! followed to what the name stands for. What a macro would build is not seen: nobody hides an import that way by accident.

use super::tokens::{Kind, Token, tokens};
use std::collections::BTreeMap;

/// One path as named in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// `["crate", ...]` for this crate; otherwise the first segment is a crate (or a name this file defines).
    pub segments: Vec<String>,
    /// Where it stands, from 1.
    pub line: usize,
    /// In code that `#[cfg(test)]` removes from the product.
    pub test: bool,
}

/// What one file holds, as far as tidy cares.
#[derive(Debug, Default)]
pub struct FileFacts {
    /// All paths, in the order they stand.
    pub named: Vec<Named>,
    /// Names that a `pub use` of this file hands on, and what they stand for.
    pub reexports: BTreeMap<String, Vec<String>>,
    /// Modules declared as `#[cfg(test)] mod name;`: their files are tests.
    pub test_modules: Vec<String>,
    /// First and last line of each `#[cfg(test)]` item.
    pub test_items: Vec<(usize, usize)>,
}

impl FileFacts {
    /// How many lines are tests.
    pub fn test_lines(&self) -> usize {
        self.test_items
            .iter()
            .map(|(first, last)| last + 1 - first)
            .sum()
    }

    /// Whether a line is part of a test.
    pub fn is_test_line(&self, line: usize) -> bool {
        self.test_items
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&line))
    }
}

/// Reads a file that is module `module` of its crate (empty for the crate root).
pub fn facts(source: &str, module: &[String]) -> FileFacts {
    let tokens = tokens(source);
    let mut reader = Reader::new(&tokens, module);
    reader.items();
    let mut facts = reader.facts;
    for named in &mut facts.named {
        if let Some(meaning) = reader.imported.get(&named.segments[0]) {
            let rest = named.segments.split_off(1);
            named.segments = meaning.iter().cloned().chain(rest).collect();
        }
    }
    facts
}

/// Keywords of items, in which a comma (between generics) ends nothing.
const ITEMS: [&str; 8] = [
    "fn", "mod", "struct", "enum", "impl", "trait", "use", "const",
];

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    /// The module we are in, inline modules included.
    module: Vec<String>,
    /// For each open `mod name {`: the depth of braces outside it.
    inline: Vec<usize>,
    depth: usize,
    /// Tokens below this index belong to an item that only tests have.
    test_until: usize,
    imported: BTreeMap<String, Vec<String>>,
    facts: FileFacts,
}

impl<'a> Reader<'a> {
    fn new(tokens: &'a [Token], module: &[String]) -> Reader<'a> {
        Reader {
            tokens,
            at: 0,
            module: module.to_vec(),
            inline: Vec::new(),
            depth: 0,
            test_until: 0,
            imported: BTreeMap::new(),
            facts: FileFacts::default(),
        }
    }

    fn token(&self, index: usize) -> Option<&'a Token> {
        self.tokens.get(index)
    }

    fn word_at(&self, index: usize) -> Option<&'a str> {
        match self.token(index).map(|token| &token.kind) {
            Some(Kind::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn is_mark(&self, index: usize, mark: char) -> bool {
        self.token(index).is_some_and(|token| token.is_mark(mark))
    }

    fn items(&mut self) {
        while let Some(token) = self.token(self.at) {
            match &token.kind {
                Kind::Mark('#') => self.attribute(),
                Kind::Mark('{') => {
                    self.depth += 1;
                    self.at += 1;
                }
                Kind::Mark('}') => self.close(),
                Kind::Word(word) if word == "mod" && self.word_at(self.at + 1).is_some() => {
                    self.mod_item()
                }
                Kind::Word(word) if word == "use" && !self.is_mark(self.at + 1, '<') => {
                    self.use_item()
                }
                Kind::Word(_)
                    if matches!(
                        self.token(self.at + 1).map(|next| &next.kind),
                        Some(Kind::PathSep)
                    ) =>
                {
                    self.path()
                }
                _ => self.at += 1,
            }
        }
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.inline.last() == Some(&self.depth) {
            self.inline.pop();
            self.module.pop();
        }
        self.at += 1;
    }

    /// `#[...]`: an attribute that is `cfg(test)`, or `cfg(all(test, ...))`, marks the item behind it.
    fn attribute(&mut self) {
        let inner = self.is_mark(self.at + 1, '!');
        let open = self.at + if inner { 2 } else { 1 };
        if !self.is_mark(open, '[') {
            self.at += 1;
            return;
        }
        let end = self.matching(open);
        let is_cfg = self.word_at(open + 1) == Some("cfg");
        let body = &self.tokens[open..end.min(self.tokens.len())];
        let has = |word: &str| body.iter().any(|token| token.is_word(word));
        if is_cfg && has("test") && !has("not") {
            let until = if inner {
                self.tokens.len()
            } else {
                self.item_end(end)
            };
            self.test_item(until);
        }
        self.at = end;
    }

    fn test_item(&mut self, until: usize) {
        if until <= self.test_until {
            return;
        }
        let last = self.token(until - 1).map_or(0, |token| token.line);
        let first = self.token(self.at).map_or(last, |token| token.line);
        self.facts.test_items.push((first, last.max(first)));
        self.test_until = until;
    }

    /// Index behind the bracket that closes the one at `open`.
    fn matching(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for index in open..self.tokens.len() {
            match self.tokens[index].kind {
                Kind::Mark('(' | '[' | '{') => depth += 1,
                Kind::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return index + 1;
            }
        }
        self.tokens.len()
    }

    /// Index behind the item that begins at `start`: its body, or its semicolon, or (a field, a match arm) its comma.
    fn item_end(&self, start: usize) -> usize {
        let mut index = start;
        let mut is_item = false;
        while let Some(token) = self.token(index) {
            match &token.kind {
                Kind::Mark('{') => return self.matching(index),
                Kind::Mark('(' | '[') => {
                    index = self.matching(index);
                    continue;
                }
                Kind::Mark(';') => return index + 1,
                Kind::Mark(',') if !is_item => return index + 1,
                Kind::Mark('}') => return index,
                Kind::Word(word) => is_item |= ITEMS.contains(&word.as_str()),
                _ => {}
            }
            index += 1;
        }
        self.tokens.len()
    }

    fn mod_item(&mut self) {
        let name = self.word_at(self.at + 1).unwrap_or_default().to_owned();
        if self.is_mark(self.at + 2, '{') {
            self.inline.push(self.depth);
            self.module.push(name);
            self.depth += 1;
        } else if self.at < self.test_until {
            self.facts.test_modules.push(name);
        }
        self.at += 3;
    }

    fn use_item(&mut self) {
        let public = self.at > 0
            && (self.tokens[self.at - 1].is_word("pub") || self.is_mark(self.at - 1, ')'));
        let line = self.tokens[self.at].line;
        let test = self.at < self.test_until;
        self.at += 1;
        let mut leaves = Vec::new();
        self.use_tree(&mut Vec::new(), &mut leaves);
        for (path, name) in leaves {
            let segments = self.resolve(path);
            if public {
                self.facts.reexports.insert(name.clone(), segments.clone());
            }
            if name != "*" && segments.len() > 1 {
                self.imported.insert(name, segments.clone());
            }
            self.facts.named.push(Named {
                segments,
                line,
                test,
            });
        }
    }

    /// One level of a `use` tree, up to the `,`, `}` or `;` that ends it; each leaf with the name it is known by.
    fn use_tree(&mut self, prefix: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, String)>) {
        let length = prefix.len();
        let mut name: Option<String> = None;
        let mut grouped = false;
        while let Some(token) = self.token(self.at) {
            match &token.kind {
                Kind::Word(word) if word == "as" => {
                    name = self.word_at(self.at + 1).map(str::to_owned);
                    self.at += 2;
                    continue;
                }
                Kind::Word(word) if word == "self" && !prefix.is_empty() => {}
                Kind::Word(word) => prefix.push(word.clone()),
                Kind::Mark('*') => prefix.push("*".to_owned()),
                Kind::Mark('{') => {
                    grouped = true;
                    self.use_group(prefix, leaves);
                    continue;
                }
                Kind::Mark(',' | '}' | ';') => break,
                _ => {}
            }
            self.at += 1;
        }
        if !grouped && let Some(last) = prefix.last() {
            leaves.push((prefix.clone(), name.unwrap_or_else(|| last.clone())));
        }
        prefix.truncate(length);
    }

    fn use_group(&mut self, prefix: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, String)>) {
        self.at += 1;
        while self.token(self.at).is_some() && !self.is_mark(self.at, '}') {
            self.use_tree(prefix, leaves);
            if self.is_mark(self.at, ',') {
                self.at += 1;
            } else if self.is_mark(self.at, ';') {
                return;
            }
        }
        self.at += 1;
    }

    /// `a::b::c` in code.
    fn path(&mut self) {
        let line = self.tokens[self.at].line;
        let test = self.at < self.test_until;
        let mut segments = Vec::new();
        while let Some(word) = self.word_at(self.at) {
            segments.push(word.to_owned());
            self.at += 1;
            if !matches!(
                self.token(self.at).map(|token| &token.kind),
                Some(Kind::PathSep)
            ) {
                break;
            }
            self.at += 1;
        }
        let segments = self.resolve(segments);
        self.facts.named.push(Named {
            segments,
            line,
            test,
        });
    }

    /// Replaces leading `self` and `super` by the module they stand for.
    fn resolve(&self, segments: Vec<String>) -> Vec<String> {
        let supers = segments
            .iter()
            .take_while(|segment| *segment == "super")
            .count();
        let (keep, skip) = match segments.first().map(String::as_str) {
            Some("self") => {
                let supers = segments[1..]
                    .iter()
                    .take_while(|segment| *segment == "super")
                    .count();
                (self.module.len().saturating_sub(supers), 1 + supers)
            }
            Some("super") => (self.module.len().saturating_sub(supers), supers),
            _ => return segments,
        };
        let crate_root = std::iter::once("crate".to_owned());
        crate_root
            .chain(self.module[..keep].iter().cloned())
            .chain(segments[skip..].iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(source: &str, module: &[&str]) -> Vec<String> {
        let module: Vec<String> = module.iter().map(|part| (*part).to_owned()).collect();
        facts(source, &module)
            .named
            .into_iter()
            .map(|named| named.segments.join("::"))
            .collect()
    }

    #[test]
    fn use_trees_are_spread_out() {
        let found = named("use std::{fs, sync::{Arc, Mutex as M, self}, io::*};", &[]);
        assert_eq!(
            found,
            [
                "std::fs",
                "std::sync::Arc",
                "std::sync::Mutex",
                "std::sync",
                "std::io::*"
            ]
        );
    }

    #[test]
    fn super_and_self_are_resolved() {
        let source =
            "use super::frame; use super::super::tree::Tree; fn f() { self::x::y(); super::z(); }";
        let found = named(source, &["buffer", "pool"]);
        assert_eq!(
            found,
            [
                "crate::buffer::frame",
                "crate::tree::Tree",
                "crate::buffer::pool::x::y",
                "crate::buffer::z"
            ]
        );
    }

    #[test]
    fn inline_modules_count_as_a_level() {
        let found = named(
            "mod wire { use super::Page; fn f() { if a { b } } } fn g() { self::c::d() }",
            &["page"],
        );
        assert_eq!(found, ["crate::page::Page", "crate::page::c::d"]);
    }

    #[test]
    fn imported_names_are_followed() {
        let found = named("use std::thread; fn f() { thread::sleep(x); }", &[]);
        assert_eq!(found, ["std::thread", "std::thread::sleep"]);
    }

    #[test]
    fn test_items_are_known() {
        let source = "use a::b;\n#[cfg(test)]\nmod tests {\n use c::d;\n}\nuse e::f;\n#[cfg(test)]\nmod more;\n#[cfg(not(test))]\nuse g::h;\n";
        let facts = facts(source, &[]);
        let tests: Vec<bool> = facts.named.iter().map(|named| named.test).collect();
        assert_eq!(tests, [false, true, false, false]);
        assert_eq!(facts.test_modules, ["more"]);
        assert_eq!(facts.test_lines(), 6);
    }

    #[test]
    fn a_comma_ends_a_field_but_no_item() {
        let source = "struct A { #[cfg(test)] x: a::B, y: c::D }\n#[cfg(test)] fn f<A, B>() { e::g() }\nuse h::i;";
        let tests: Vec<bool> = facts(source, &[])
            .named
            .iter()
            .map(|named| named.test)
            .collect();
        assert_eq!(tests, [true, false, true, false]);
    }

    #[test]
    fn reexports_say_what_they_stand_for() {
        let facts = facts(
            "pub use error::Error; pub use crate::page::{Page, op::PageOp as Op};",
            &[],
        );
        assert_eq!(facts.reexports["Error"], ["error", "Error"]);
        assert_eq!(facts.reexports["Op"], ["crate", "page", "op", "PageOp"]);
    }
}
