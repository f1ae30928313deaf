//! Panics of this process: whichever thread has one, and whoever catches it, a rig must know.

use std::sync::Mutex;

static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Remembers the first panic from now on, and shows each as before.
pub fn watch() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if let Ok(mut first) = FIRST.lock() {
            first.get_or_insert_with(|| info.to_string());
        }
        before(info);
    }));
}

/// The first panic since the last question.
pub fn first() -> Option<String> {
    FIRST.lock().ok()?.take()
}
