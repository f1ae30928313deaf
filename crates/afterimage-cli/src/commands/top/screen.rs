//! The terminal of `top`: raw, on its second screen, and as it was before when this is dropped, whatever happens.

use crate::failure::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, IsTerminal, Read, Write};
use std::time::Duration;

/// The second screen, no cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// How soon a new size of the terminal, or a signal, is noticed.
const LOOK: Duration = Duration::from_millis(200);

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Quit,
    Up,
    Down,
    Pause,
}

/// The terminal, while it is ours.
pub struct Screen {
    before: Termios,
}

impl Screen {
    /// Takes the terminal.
    pub fn open() -> Result<Screen, Failure> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(Failure::usage("there is no terminal to show it on")
                .advise("--once prints one picture"));
        }
        let failed =
            |e: rustix::io::Errno| Failure::refused(format!("the terminal does not obey: {e}"));
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        let screen = Screen { before };
        write(ENTER)?;
        Ok(screen)
    }

    /// Columns and lines.
    pub fn size(&self) -> (usize, usize) {
        let size = tcgetwinsize(io::stdout());
        let size = size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        size.ok()
            .filter(|(width, height)| *width > 0 && *height > 0)
            .unwrap_or((80, 24))
    }

    /// Shows these lines in place of what was there, in one write: nothing flickers.
    pub fn show(&mut self, lines: &[String]) -> Result<(), Failure> {
        let body: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
        write(&format!("\x1b[H{}\x1b[J", body.join("\r\n")))
    }

    /// A key, if one is pressed before `wait` is over; none too when the picture should be drawn anew.
    pub fn key(&mut self, wait: Duration) -> Result<Option<Key>, Failure> {
        let stdin = io::stdin();
        let mut asked = [PollFd::new(&stdin, PollFlags::IN)];
        let wait = wait.min(LOOK);
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: wait.as_nanos() as _,
        };
        match poll(&mut asked, Some(&timeout)) {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
        let mut bytes = [0; 16];
        let read = stdin.lock().read(&mut bytes).map_err(Failure::output)?;
        Ok(match &bytes[..read] {
            // Ctrl-C, Ctrl-D, the escape key alone, and a terminal that has gone.
            [b'q' | b'Q' | 3 | 4 | 27] | [] => Some(Key::Quit),
            [27, b'[' | b'O', b'A', ..] | [b'k'] => Some(Key::Up),
            [27, b'[' | b'O', b'B', ..] | [b'j'] => Some(Key::Down),
            [b'p' | b' '] => Some(Key::Pause),
            _ => None,
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing any more.
        let _ = write(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(Failure::output)
}
