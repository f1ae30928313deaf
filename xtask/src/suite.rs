//! `cargo xtask test`: everything a change must pass, cheapest first, in one fixed order.
//!
//! The tests come last, so that the output ends in the test runner's own closing line. What takes longest (the crash
//! simulation) has a cap on the wall clock; `--quick` leaves it out for the inner loop.

use crate::run::{Failed, Outcome, Program, target_dir};
use crate::{crash, deny, history, schedules, tidy};
use std::path::Path;
use std::time::Instant;

/// How long the simulation runs unless told otherwise, in seconds.
const SIMULATION_SECONDS: u64 = 120;

/// What the person chose on the command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Choices {
    quick: bool,
    seconds: u64,
}

impl Choices {
    /// Reads `[--quick] [--seconds S]`.
    ///
    /// # Errors
    /// `Usage` for anything else.
    pub fn parse(arguments: &[String]) -> Result<Choices, Failed> {
        let mut choices = Choices {
            quick: false,
            seconds: SIMULATION_SECONDS,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--quick" => choices.quick = true,
                "--seconds" => {
                    let value = rest.next().and_then(|value| value.parse().ok());
                    choices.seconds = value
                        .ok_or_else(|| Failed::Usage("--seconds needs a whole number".into()))?;
                }
                other => return Err(Failed::Usage(format!("`test` takes no `{other}`"))),
            }
        }
        Ok(choices)
    }
}

/// One step: its name, and what it does.
type Step<'a> = (&'a str, Box<dyn Fn() -> Outcome + 'a>);

/// Runs every step in order and stops at the first that fails.
///
/// # Errors
/// That step's.
pub fn test(root: &Path, choices: &Choices) -> Outcome {
    let mut steps = checks(root);
    if !choices.quick {
        steps.extend(simulation(root, choices.seconds));
    }
    steps.extend(tests(root));
    let (count, begun) = (steps.len(), Instant::now());
    for (index, (name, step)) in steps.iter().enumerate() {
        println!(
            "\n== {}/{count} {name} ({} s so far)",
            index + 1,
            begun.elapsed().as_secs()
        );
        step()?;
    }
    Ok(())
}

/// What needs no engine to run.
fn checks(root: &Path) -> Vec<Step<'_>> {
    let cargo = |arguments: &'static str| -> Box<dyn Fn() -> Outcome> {
        Box::new(move || Program::cargo(arguments).run(root))
    };
    let documentation =
        Program::cargo("doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings");
    vec![
        ("formatting", cargo("fmt --all --check")),
        ("tidy", Box::new(|| tidy::command(root))),
        (
            "clippy",
            cargo("clippy --workspace --all-targets --quiet -- -D warnings"),
        ),
        ("documentation", Box::new(move || documentation.run(root))),
        ("dependency rules", Box::new(|| deny::check(root))),
        ("the bench, without peers", Box::new(|| bench(root))),
        (
            "the loom build",
            Box::new(|| schedules::build(root, "loom")),
        ),
        (
            "the shuttle build",
            Box::new(|| schedules::build(root, "shuttle")),
        ),
    ]
}

/// The workspace that compares us with others, as far as it is ours: what it calls must still be there.
fn bench(root: &Path) -> Outcome {
    const MANIFEST: &str = "--manifest-path bench-compare/Cargo.toml";
    let target = target_dir(root).join("bench").display().to_string();
    Program::cargo(&format!("fmt {MANIFEST} --check")).run(root)?;
    Program::cargo(&format!("test {MANIFEST} --no-default-features --quiet"))
        .words(["--target-dir", &target])
        .run(root)
}

/// Every crash that fits the time, the proof that the tests would notice a bug, isolation, and the model checkers.
fn simulation(root: &Path, seconds: u64) -> Vec<Step<'_>> {
    vec![
        (
            "crash simulation",
            Box::new(move || crash::ci(root, seconds)),
        ),
        ("planted bugs", Box::new(|| crash::planted(root, &[]))),
        ("histories", Box::new(|| history::quick(root))),
        ("loom's models", Box::new(|| schedules::loom(root))),
        ("shuttle's models", Box::new(|| schedules::shuttle(root))),
    ]
}

/// Documentation's examples before the tests proper, whose last binary always has tests and closes the output. The
/// example programs are built by themselves, for `--tests` leaves them out and some tests run them.
fn tests(root: &Path) -> Vec<Step<'_>> {
    vec![
        (
            "examples in the documentation",
            Box::new(|| Program::cargo("test --workspace --doc --quiet").run(root)),
        ),
        (
            "example programs",
            Box::new(|| Program::cargo("build --workspace --examples --quiet").run(root)),
        ),
        (
            "tests",
            Box::new(|| Program::cargo("test --workspace --lib --bins --tests").run(root)),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn choices_are_read_and_the_rest_is_refused() {
        let all = Choices::parse(&words("--quick --seconds 7")).expect("both are legal");
        assert_eq!(
            all,
            Choices {
                quick: true,
                seconds: 7
            }
        );
        for wrong in ["--seconds", "--seconds many", "--fast"] {
            assert!(
                matches!(Choices::parse(&words(wrong)), Err(Failed::Usage(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_tests_come_last() {
        let root = Path::new(".");
        assert_eq!(tests(root).last().map(|step| step.0), Some("tests"));
        assert!(checks(root).iter().all(|step| step.0 != "tests"));
        assert_eq!(simulation(root, 1).len(), 5);
    }
}
