//! A life in a process of its own, which tells what happens line by line on its standard output, and the parent's end of that
//! pipe: a line counts when it is whole.

use crate::books::Books;
use crate::rows::{CLIENTS, Last};
use crate::work::{self, Cut, Plan, Told};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Exit codes of a child.
pub mod exit {
    /// It came to its end, and closed.
    pub const ENDED: u8 = 0;
    /// The engine answered an error.
    pub const ERROR: u8 = 3;
    /// Something is there that may not be.
    pub const WRONG: u8 = 4;
}

/// How a message begins that could not be told.
const UNHEARD: &str = "nobody listens";

/// What `rigs child WORDS` does; returns its exit code.
pub fn serve(words: &[String]) -> u8 {
    let Some(plan) = plan_from(words) else {
        eprintln!("rigs child: not understood: {words:?}");
        return 2;
    };
    let stop = AtomicBool::new(false);
    let tell = |told: Told| say(&line_of(told));
    match work::live(&plan, &stop, &tell) {
        Ok(()) => exit::ENDED,
        Err(cut) => {
            let _ = say(&format!("cut {cut}"));
            match cut {
                Cut::Wrong(what) if !what.starts_with(UNHEARD) => exit::WRONG,
                _ => exit::ERROR,
            }
        }
    }
}

fn say(line: &str) -> Result<(), String> {
    let line = format!("{}\n", line.replace('\n', " "));
    let mut stdout = std::io::stdout().lock();
    let said = stdout.write_all(line.as_bytes());
    said.and_then(|()| stdout.flush())
        .map_err(|e| format!("{UNHEARD}: {e}"))
}

/// The words that give a child its plan.
pub fn words_of(plan: &Plan) -> Vec<String> {
    let numbers = [
        plan.seed,
        plan.clients as u64,
        plan.transactions,
        plan.checkpoint_every,
    ];
    let mut words = vec!["child".to_owned(), plan.dir.display().to_string()];
    words.extend(numbers.map(|number| number.to_string()));
    words
}

fn plan_from(words: &[String]) -> Option<Plan> {
    let number = |at: usize| words.get(at)?.parse::<u64>().ok();
    Some(Plan {
        dir: PathBuf::from(words.first()?),
        seed: number(1)?,
        clients: (number(2)? as usize).min(CLIENTS),
        transactions: number(3)?,
        checkpoint_every: number(4)?.max(1),
        full_is_no_end: false,
    })
}

fn line_of(told: Told) -> String {
    match told {
        Told::Found(last) => {
            let words = last.map(|n| n.to_string());
            format!("found {}", words.join(" "))
        }
        Told::Verified => "verified".to_owned(),
        Told::Acknowledged(client, n) => format!("ack {client} {n}"),
        Told::Checkpoint => "checkpoint".to_owned(),
        Told::Full => "full".to_owned(),
        Told::Closed => "closed".to_owned(),
    }
}

/// What a child said, all lives together.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// What the outside knows.
    pub books: Books,
    /// Lives that came through recovery.
    pub opened: u64,
    /// Lives that were verified.
    pub verified: u64,
    /// Checkpoints that were asked for.
    pub checkpoints: u64,
    /// The error that ended this life.
    pub cut: Option<String>,
    /// What is wrong, whatever was done.
    pub wrong: Option<String>,
}

impl Heard {
    /// Takes in one line.
    pub fn line(&mut self, line: &str) {
        if let Err(wrong) = self.take(line) {
            self.wrong.get_or_insert(wrong);
        }
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        let not_understood = || format!("the rig is wrong: a child says {line:?}");
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let numbers = || -> Option<Vec<u64>> {
            rest.split_whitespace()
                .map(|word| word.parse().ok())
                .collect()
        };
        match word {
            "found" => {
                self.opened += 1;
                let last: Option<Last> = numbers().and_then(|all| all.try_into().ok());
                self.books.found(&last.ok_or_else(not_understood)?)
            }
            "ack" => match numbers().ok_or_else(not_understood)?[..] {
                [client, n] => self.books.acknowledged(client as usize, n),
                _ => Err(not_understood()),
            },
            "verified" => {
                self.verified += 1;
                Ok(())
            }
            "checkpoint" => {
                self.checkpoints += 1;
                Ok(())
            }
            "full" | "closed" => Ok(()),
            "cut" if rest.starts_with("WRONG") && !rest.contains(UNHEARD) => Err(rest.to_owned()),
            "cut" => {
                self.cut = Some(rest.to_owned());
                Ok(())
            }
            _ => Err(not_understood()),
        }
    }
}

/// A child that lives.
pub struct Life {
    child: Child,
    listener: JoinHandle<Heard>,
    opened: Receiver<()>,
}

impl Life {
    /// Starts a child; `with` goes before its command line (an injector), `heard` is what the lives before it have said.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin(with: &[String], plan: &Plan, heard: Heard) -> Result<Life, String> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut words = with.to_vec();
        words.push(program.display().to_string());
        words.extend(words_of(plan));
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .envs(crate::job::of_children())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{} cannot be started: {e}", words[0]))?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let (announce, opened) = channel();
        let listener = std::thread::spawn(move || listen(stdout, heard, &announce));
        Ok(Life {
            child,
            listener,
            opened,
        })
    }

    /// Waits until it has opened the database and judged it, or has ended, or `limit` is over; true if it has opened.
    pub fn wait_until_open(&self, limit: Duration) -> bool {
        !matches!(
            self.opened.recv_timeout(limit),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)
        )
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits for its end, for `limit` at most, and hears it out.
    ///
    /// # Errors
    /// When it does not end: it is killed then.
    pub fn end(mut self, limit: Duration) -> Result<(ExitStatus, Heard, String), String> {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                break status;
            }
            if Instant::now() > deadline {
                self.kill();
                let _ = self.child.wait();
                let _ = self.listener.join();
                return Err(format!("HANG: the worker did not end within {limit:?}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let heard = self.listener.join().map_err(|_| "the listener panicked")?;
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = std::io::Read::read_to_string(&mut stderr, &mut said);
        }
        Ok((status, heard, said))
    }
}

fn listen(
    stdout: impl std::io::Read,
    mut heard: Heard,
    announce: &std::sync::mpsc::Sender<()>,
) -> Heard {
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    loop {
        line.clear();
        match stdout.read_line(&mut line) {
            // A line without its end was never finished, and does not count.
            Ok(_) if line.ends_with('\n') => heard.line(line.trim_end()),
            _ => return heard,
        }
        if line.starts_with("verified") {
            let _ = announce.send(());
        }
    }
}

/// The judgement of an ended life. What the engine answered is right only where something was done to it.
///
/// # Errors
/// What is wrong.
pub fn judge(status: ExitStatus, heard: &Heard, said: &str, was_cut: bool) -> Result<(), String> {
    if let Some(wrong) = &heard.wrong {
        return Err(wrong.clone());
    }
    if said.contains("panicked at") {
        return Err(format!("PANIC: {said}"));
    }
    match status.code() {
        Some(0) => Ok(()),
        Some(3) | None if was_cut => Ok(()),
        Some(3) => Err(format!(
            "nothing was done to it, and it ended: {}",
            heard.cut.as_deref().unwrap_or("without a word")
        )),
        _ => Err(format!("the worker ended with {status}: {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_heard_as_they_were_told() {
        let mut heard = Heard::default();
        for told in [
            Told::Found([0; CLIENTS]),
            Told::Verified,
            Told::Acknowledged(2, 1),
            Told::Checkpoint,
            Told::Closed,
        ] {
            heard.line(&line_of(told));
        }
        assert_eq!((heard.wrong.clone(), heard.books.acknowledged), (None, 1));
        heard.line("found 0 0 0 0");
        assert!(heard.wrong.is_some_and(|wrong| wrong.contains("LOST")));
    }

    #[test]
    fn a_plan_survives_its_words() {
        let plan = Plan {
            dir: "/x".into(),
            seed: 7,
            clients: 3,
            transactions: u64::MAX,
            checkpoint_every: 9,
            full_is_no_end: false,
        };
        let again = plan_from(&words_of(&plan)[1..]).expect("it was made of one");
        assert_eq!(format!("{plan:?}"), format!("{again:?}"));
    }
}
