//! `afterimage top`: what the live page shows, in a terminal: of a directory by its status file, or of a server by its URL.
//!
//! `feed` gets the numbers, `frame` makes lines of them, `screen` is the terminal. Rates and the sentence on top are made by
//! `afterimage-server`, so that terminal, page and JSON say the same.

mod feed;
mod frame;
#[cfg(unix)]
mod screen;

use crate::failure::Failure;
use crate::out::Out;
use feed::Feed;
use frame::{Frame, ROWS};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// How long `--once` waits for a first rate.
const FIRST_RATE: Duration = Duration::from_secs(3);

/// What `top` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Reads the status file of DIR, which the process that has the database open rewrites twice a second; or asks the server
of a live page (`afterimage serve`, `demo --http`), which knows the last ten minutes already.

Keys: q ends; the up and down arrows choose the number that is drawn large below; p stops the picture and lets it go on.

Examples:
  afterimage top bank
  afterimage top --url http://127.0.0.1:8080
  afterimage top bank --once                one picture, as text
  afterimage top bank --once --json | jq .verdict")]
pub struct Args {
    /// The database directory
    #[arg(required_unless_present = "url", conflicts_with = "url")]
    dir: Option<PathBuf>,
    /// A server of the live page, in place of a directory
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The server's token; AFTERIMAGE_TOKEN in the environment unless given
    #[arg(long, value_name = "T", requires = "url")]
    token: Option<String>,
    /// Print one picture, and end
    #[arg(long)]
    once: bool,
}

/// Shows it until `q`, or once.
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let mut feed = match (&args.dir, &args.url) {
        (Some(dir), _) => Feed::of_directory(dir)?,
        (None, Some(url)) => Feed::of_url(url, args.token.as_deref())?,
        (None, None) => unreachable!("one of them is required"),
    };
    if args.once || out.is_json() {
        return once(&mut feed, out);
    }
    live(&mut feed)
}

fn once(feed: &mut Feed, out: &mut Out) -> Result<(), Failure> {
    let begun = Instant::now();
    let seen = loop {
        let seen = feed.look()?;
        if !seen.points.is_empty() || !seen.is_running() || begun.elapsed() > FIRST_RATE {
            break seen;
        }
        thread::sleep(EVERY / 10);
    };
    if out.is_json() {
        return out.document(&seen.document);
    }
    let frame = Frame {
        width: 100,
        height: usize::MAX,
        colours: false,
        chosen: None,
    };
    let lines = frame.lines(&seen);
    lines.iter().try_for_each(|line| out.line(line))
}

#[cfg(not(unix))]
fn live(_feed: &mut Feed) -> Result<(), Failure> {
    Err(
        Failure::refused("the live view is not there on this system")
            .advise("--once prints one picture"),
    )
}

#[cfg(unix)]
fn live(feed: &mut Feed) -> Result<(), Failure> {
    use screen::{Key, Screen};
    let stop = super::serve::on_signal()?;
    let mut screen = Screen::open()?;
    let (mut chosen, mut paused) = (0, false);
    let mut seen = feed.look()?;
    let mut due = Instant::now() + EVERY;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let (width, height) = screen.size();
        let frame = Frame {
            width,
            height,
            colours: true,
            chosen: Some(chosen),
        };
        screen.show(&frame.lines(&seen))?;
        match screen.key(due.saturating_duration_since(Instant::now()))? {
            Some(Key::Quit) => return Ok(()),
            Some(Key::Up) => chosen = chosen.saturating_sub(1),
            Some(Key::Down) => chosen = (chosen + 1).min(ROWS.len() - 1),
            Some(Key::Pause) => paused = !paused,
            None => {}
        }
        if Instant::now() >= due {
            due = Instant::now() + EVERY;
            if !paused {
                match feed.look() {
                    Ok(now) => seen = now,
                    // A server that has gone may come back; the person sees since when it is silent.
                    Err(failure) => seen.silent(&failure),
                }
            }
        }
    }
    Ok(())
}
