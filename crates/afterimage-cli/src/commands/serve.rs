//! `afterimage serve`: one page that shows what a database is doing and why, in a browser; and the same numbers for programs.
//!
//! Opens the database, if nobody has; if somebody has, it looks on by the status file. Everything else is `afterimage-server`.

use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::out::{self, Out};
use crate::remote::TOKEN;
use crate::settings::Settings;
use afterimage::{Database, Error};
use afterimage_explain::{Story, open_explained};
use afterimage_server::http::{Access, Server};
use afterimage_server::live::Source;
use serde_json::json;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What `serve` takes.
#[derive(clap::Args)]
#[command(after_help = "\
The page shows commits and their latency, syncs, the log, checkpoints, pages, waits by cause, who holds the log back,
what would better be set otherwise, and recovery step by step. Nothing on it comes from elsewhere, and no request
changes anything. /metrics is for Prometheus, /api/stats for programs.

A database that another process has open is watched by its status file. A program can serve the page itself, from the
crate afterimage-server.

Loopback by default, answered under loopback's names alone. Any other address needs a token, of 16 letters and digits
or more: --token, or AFTERIMAGE_TOKEN in the environment, where other users of the machine do not see it. The browser
is sent to http://ADDRESS/?token=TOKEN once; programs send `Authorization: Bearer TOKEN`. There is no encryption.

Ends with Ctrl-C or SIGTERM, and closes the database.

Examples:
  afterimage serve bank
  afterimage serve bank --http 127.0.0.1:9000 --set max_wal_size=4GiB
  AFTERIMAGE_TOKEN=$(openssl rand -hex 16) afterimage serve bank --http 0.0.0.0:8080")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: String,
    /// What a browser or program must show: needed for any address but loopback
    #[arg(long, value_name = "T")]
    token: Option<String>,
}

/// What commands take that work, and serve the page meanwhile.
#[derive(clap::Args)]
pub struct Page {
    /// Serve the live page meanwhile, for example at 127.0.0.1:8080
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// What a browser must show: needed for any address but loopback
    #[arg(long, value_name = "T", requires = "http")]
    pub token: Option<String>,
}

impl Page {
    /// Serves the page of `db`, if it is wanted, until what is returned is dropped.
    pub fn serve(&self, db: &Database) -> Result<Option<Server>, Failure> {
        let Some(http) = &self.http else {
            return Ok(None);
        };
        start(Source::from(db.clone()), http, self.token.as_deref()).map(Some)
    }
}

/// Serves until a signal asks for the end.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    open::must_be_database(&args.dir)?;
    let stop = on_signal()?;
    let db = match open_unless_in_use(args, settings)? {
        Ok(db) => Some(db),
        Err(holder) => {
            out::note(format!("{holder}: watching it by its status file"));
            None
        }
    };
    let (db, story) = db.unzip();
    let source = match &db {
        Some(db) => Source::from((db.clone(), story.flatten())),
        None => Source::Directory(args.dir.clone()),
    };
    let server = start(source, &args.http, args.token.as_deref())?;
    let url = url(&server);
    if out.is_json() {
        out.document(&json!({ "url": url, "pid": std::process::id(), "opened": db.is_some() }))?;
    } else {
        out.line(&url)?;
    }
    out.flush()?;
    while !stop.load(Ordering::Relaxed) && !out.reader_has_gone() {
        thread::sleep(Duration::from_millis(50));
    }
    drop(server);
    db.map_or(Ok(()), |db| {
        db.close().map_err(|e| from_engine(e, &args.dir))
    })
}

/// The database, and what its recovery did; or in words who has it.
fn open_unless_in_use(
    args: &Args,
    settings: &Settings,
) -> Result<Result<(Database, Option<Story>), String>, Failure> {
    match open_explained(settings.options()?.create(false), &args.dir) {
        Ok(opened) => Ok(Ok(opened)),
        Err(Error::InUse { pid, .. }) => Ok(Err(pid.map_or_else(
            || "another process has the database open".to_owned(),
            |pid| format!("process {pid} has the database open"),
        ))),
        Err(error) => Err(from_engine(error, &args.dir)),
    }
}

/// Serves the page of `source` at the address that the person named.
fn start(source: Source, address: &str, token: Option<&str>) -> Result<Server, Failure> {
    let no_address = || {
        Failure::usage(format!("{address} is no address to listen at"))
            .advise("write for example 127.0.0.1:8080")
    };
    let mut found = address.to_socket_addrs().map_err(|_| no_address())?;
    let at: SocketAddr = found.next().ok_or_else(no_address)?;
    let given = token
        .map(str::to_owned)
        .or_else(|| std::env::var(TOKEN).ok());
    let access = match given {
        Some(token) => Access::token(&token).ok_or_else(|| {
            Failure::usage(
                "that token is too easily guessed, or has characters that an address cannot hold",
            )
            .advise("16 letters and digits or more, for example from `openssl rand -hex 16`")
        })?,
        None => Access::loopback(),
    };
    if !at.ip().is_loopback() {
        if !access.has_token() {
            return Err(Failure::usage(format!(
                "{at} can be reached from other machines, and there is no token"
            ))
            .advise(format!(
                "give one by --token or {TOKEN}, or listen at 127.0.0.1"
            )));
        }
        out::note(format!(
            "{at} can be reached from other machines: whoever has the token sees the page, and what is sent is not encrypted"
        ));
    }
    Server::start(source, at, access).map_err(|error| {
        let failure = Failure::refused(format!("cannot listen: {error}")).at(at);
        match error.kind() {
            std::io::ErrorKind::AddrInUse => failure.advise(
                "another program listens there: choose another port, or 0 for any that is free",
            ),
            _ => failure,
        }
    })
}

/// What to type into a browser.
pub fn url(server: &Server) -> String {
    format!("http://{}/", server.address())
}

/// Set once a signal asks for the end; a second one ends the process at once.
pub fn on_signal() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in signal_hook::consts::TERM_SIGNALS {
        signal_hook::flag::register_conditional_shutdown(*signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(*signal, Arc::clone(&stop)))
            .map_err(|e| Failure::refused(format!("signals cannot be heard: {e}")))?;
    }
    Ok(stop)
}
