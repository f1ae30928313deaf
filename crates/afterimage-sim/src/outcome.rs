//! Running a piece of a simulated life, and what can come of it: an answer, the simulated power cut, or a panic, which is a finding.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// How a piece of a simulated life ended.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It came to its end.
    Done(T),
    /// The world lost its power under it.
    Crashed,
    /// It panicked: the message and the place.
    Panicked(String),
}

/// Runs `life`; a simulated crash and a panic come back as values, without a word on stderr.
pub fn run<T>(life: impl FnOnce() -> T) -> Outcome<T> {
    install_hook();
    let before = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(life));
    QUIET.set(before);
    match result {
        Ok(value) => Outcome::Done(value),
        Err(payload) if afterimage_io::sim::is_crash(payload.as_ref()) => Outcome::Crashed,
        Err(payload) => {
            let told = LAST_PANIC.with_borrow_mut(Option::take);
            Outcome::Panicked(told.unwrap_or_else(|| text_of(payload.as_ref())))
        }
    }
}

/// The text that a panic's payload carries.
#[must_use]
pub fn text_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_string())
}

/// Keeps the message and the place of a panic that is being caught; others are printed as ever. Simulated threads count as caught.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                return previous(info);
            }
            let place = info
                .location()
                .map_or_else(String::new, |l| format!(" at {}:{}", l.file(), l.line()));
            LAST_PANIC
                .with_borrow_mut(|p| *p = Some(format!("{}{place}", text_of(info.payload()))));
        }));
    });
}

/// Runs the body of a simulated thread: a panic is told to `report`, with its place, and ends the thread.
pub fn run_thread(body: impl FnOnce(), report: impl FnOnce(&str)) {
    match run(body) {
        Outcome::Done(()) | Outcome::Crashed => {}
        Outcome::Panicked(text) => report(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_comes_back_with_its_place() {
        let Outcome::Panicked(text) = run(|| -> u32 { panic!("PAGE-1: no") }) else {
            panic!("it panicked")
        };
        assert!(
            text.contains("PAGE-1: no at ") && text.contains("outcome.rs"),
            "{text}"
        );
        assert!(matches!(run(|| 3), Outcome::Done(3)));
    }
}
