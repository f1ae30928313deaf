//! Imports run one way: between crates, and between the modules of a crate.
//!
//! Cargo keeps crates acyclic, but not in our order; nothing keeps modules so. The engine's modules have one fixed order,
//! so that each can be read knowing only those to its left; in the other crates any order will do that has no circle.

use super::paths::{FileFacts, facts};
use super::{Finding, Source, text};
use std::collections::{BTreeMap, BTreeSet};

/// Crates, lowest first. One may depend on those of a lower number only.
const CRATES: [(&str, u8); 7] = [
    ("afterimage-io", 0),
    ("afterimage-log", 1),
    ("afterimage", 2),
    ("afterimage-sim", 3),
    ("afterimage-explain", 3),
    ("afterimage-server", 4),
    ("afterimage-cli", 5),
];

/// The engine's modules, lowest first. A new one needs its place here, and a line in ARCHITECTURE.md.
const ENGINE: [&str; 21] = [
    "ids",
    "interval",
    "queue",
    "limits",
    "models",
    "codec",
    "page",
    "record",
    "error",
    "observe",
    "options",
    "settings",
    "buffer",
    "tree",
    "transaction",
    "checkpoint",
    "recovery",
    "database",
    "inspect",
    "stage",
    "fuzz",
];

/// A crate with its modules read.
#[derive(Debug)]
pub struct House {
    /// The package's name.
    pub name: String,
    /// Every `.rs` file under `src`, but not `src/bin`.
    pub modules: Vec<Module>,
}

/// A file as part of its crate.
#[derive(Debug)]
pub struct Module {
    /// Path from the workspace's root.
    pub file: String,
    /// Where it stands in the crate; empty for the root.
    pub path: Vec<String>,
    /// What it names.
    pub facts: FileFacts,
    /// It holds tests alone.
    pub test: bool,
}

/// Reads every crate under `crates/`.
pub fn crates(sources: &[Source]) -> Vec<House> {
    let mut houses: BTreeMap<String, Vec<Module>> = BTreeMap::new();
    for source in sources {
        let Some((name, inside)) = source
            .file
            .strip_prefix("crates/")
            .and_then(|rest| rest.split_once("/src/"))
        else {
            continue;
        };
        if inside.ends_with(".rs") && !inside.starts_with("bin/") {
            let path = module_path(inside);
            let test = text::is_test_file(&source.file);
            let module = Module {
                file: source.file.clone(),
                facts: facts(&source.text, &path),
                path,
                test,
            };
            houses.entry(name.to_owned()).or_default().push(module);
        }
    }
    houses
        .into_iter()
        .map(|(name, modules)| House {
            name,
            modules: mark_tests(modules),
        })
        .collect()
}

fn module_path(inside: &str) -> Vec<String> {
    let mut path: Vec<String> = inside
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    let root = path.len() == 1 && matches!(path[0].as_str(), "lib" | "main");
    if root || path.last().is_some_and(|last| last == "mod") {
        path.pop();
    }
    path
}

/// A file is a test if a parent declares it so.
fn mark_tests(mut modules: Vec<Module>) -> Vec<Module> {
    let declared = |module: &Module| -> Vec<Vec<String>> {
        let names = module.facts.test_modules.iter();
        names
            .map(|name| module.path.iter().chain([name]).cloned().collect())
            .collect()
    };
    let tests: Vec<Vec<String>> = modules.iter().flat_map(declared).collect();
    for module in &mut modules {
        module.test |= tests.iter().any(|test| module.path.starts_with(test));
    }
    modules
}

/// Dependencies between our crates that do not run downwards, tests' dependencies included.
pub fn manifests(sources: &[Source]) -> Vec<Finding> {
    let rank = |name: &str| {
        CRATES
            .iter()
            .find(|entry| entry.0 == name)
            .map(|entry| entry.1)
    };
    let mut findings = Vec::new();
    for source in sources {
        let Some(name) = source
            .file
            .strip_prefix("crates/")
            .and_then(|rest| rest.strip_suffix("/Cargo.toml"))
        else {
            continue;
        };
        let Some(own) = rank(name) else {
            let what = format!(
                "the crate `{name}` has no place in the order: give it one in xtask/src/tidy/order.rs"
            );
            findings.push(Finding::error(&source.file, 0, what));
            continue;
        };
        for (line, dependency) in dependencies(&source.text) {
            if rank(&dependency).is_some_and(|other| other >= own) {
                let what = format!(
                    "import runs back: {name} -> {dependency} (order: io, log, engine, then sim and cli)"
                );
                findings.push(Finding::error(&source.file, line, what));
            }
        }
    }
    findings
}

/// Names in the dependency sections of a manifest, with their lines.
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section.ends_with("dependencies");
            if let Some((_, name)) = section.rsplit_once("dependencies.") {
                found.push((index + 1, name.to_owned()));
            }
        } else if inside && !line.starts_with('#') {
            let name: String = line
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || "-_".contains(*letter))
                .collect();
            if !name.is_empty() {
                found.push((index + 1, name));
            }
        }
    }
    found
}

/// One import from a top-level module to another, and where it stands.
#[derive(Debug, Clone)]
struct Edge {
    from: String,
    to: String,
    path: String,
    file: String,
    line: usize,
}

/// Imports between the modules of a crate that run back.
pub fn modules(house: &House) -> Vec<Finding> {
    let edges = edges(house);
    if house.name == "afterimage" {
        fixed(house, &edges)
    } else {
        circles(&edges)
    }
}

fn edges(house: &House) -> Vec<Edge> {
    let known: BTreeSet<&str> = house
        .modules
        .iter()
        .filter_map(|module| module.path.first())
        .map(String::as_str)
        .collect();
    let root = house.modules.iter().find(|module| module.path.is_empty());
    let mut edges = Vec::new();
    for module in house.modules.iter().filter(|module| !module.test) {
        let Some(from) = module.path.first() else {
            continue;
        };
        for named in module.facts.named.iter().filter(|named| !named.test) {
            let Some(to) = target(&named.segments, &known, root) else {
                continue;
            };
            if to != *from {
                let path = named.segments.join("::");
                edges.push(Edge {
                    from: from.clone(),
                    to,
                    path,
                    file: module.file.clone(),
                    line: named.line,
                });
            }
        }
    }
    edges
}

/// The top-level module that a path of this crate leads into, through the root's re-exports if need be.
fn target(segments: &[String], known: &BTreeSet<&str>, root: Option<&Module>) -> Option<String> {
    if segments.first()? != "crate" {
        return None;
    }
    let first = segments.get(1)?;
    if known.contains(first.as_str()) {
        return Some(first.clone());
    }
    let meaning = root?.facts.reexports.get(first)?;
    let home = meaning.iter().find(|segment| *segment != "crate")?;
    known.contains(home.as_str()).then(|| home.clone())
}

fn fixed(house: &House, edges: &[Edge]) -> Vec<Finding> {
    let rank = |module: &str| ENGINE.iter().position(|name| *name == module);
    let mut findings = Vec::new();
    for module in house.modules.iter().filter(|module| !module.test) {
        if let Some(name) = module.path.first().filter(|name| rank(name).is_none()) {
            let what = format!(
                "the module `{name}` has no place in the order: give it one in xtask/src/tidy/order.rs"
            );
            findings.push(Finding::error(&module.file, 0, what));
        }
    }
    for edge in edges {
        if let (Some(from), Some(to)) = (rank(&edge.from), rank(&edge.to))
            && to > from
        {
            let what = format!(
                "import runs back: {} -> {} (`{}`); the order is {}",
                edge.from,
                edge.to,
                edge.path,
                ENGINE.join(" ")
            );
            findings.push(Finding::error(&edge.file, edge.line, what));
        }
    }
    findings
}

/// Edges from which a way leads back to where they start.
fn circles(edges: &[Edge]) -> Vec<Finding> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for edge in edges {
        next.entry(&edge.from).or_default().insert(&edge.to);
    }
    let reaches = |start: &str, goal: &str| {
        let (mut left, mut seen) = (vec![start], BTreeSet::new());
        while let Some(module) = left.pop() {
            if module == goal {
                return true;
            }
            if seen.insert(module) {
                left.extend(next.get(module).into_iter().flatten());
            }
        }
        false
    };
    let mut seen = BTreeSet::new();
    let mut back: Vec<&Edge> = edges
        .iter()
        .filter(|edge| reaches(&edge.to, &edge.from))
        .collect();
    back.retain(|edge| seen.insert((&edge.from, &edge.to)));
    let finding = |edge: &Edge| {
        let what = format!(
            "imports run in a circle: {} -> {} (`{}`) -> ... -> {}",
            edge.from, edge.to, edge.path, edge.from
        );
        Finding::error(&edge.file, edge.line, what)
    };
    back.into_iter().map(finding).collect()
}
