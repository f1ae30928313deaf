//! Panics: how one is reported to who joined the thread, and whether one is under way.

use std::any::Any;
use std::fmt;

/// A thread ended by a panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked {
    message: String,
}

impl Panicked {
    pub(crate) fn new(payload: &(dyn Any + Send)) -> Panicked {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Panicked {
            message: text.unwrap_or("a panic without a message").to_owned(),
        }
    }

    /// What the panic said.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a thread panicked: {}", self.message)
    }
}

impl std::error::Error for Panicked {}

/// Is this thread unwinding, from a panic or from the crash of its simulated world? For guards that must know, when they
/// are dropped, whether their work was done.
pub fn is_unwinding() -> bool {
    std::thread::panicking()
}
