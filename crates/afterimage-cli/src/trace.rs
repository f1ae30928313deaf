//! What the engine tells of its work, on stderr, where a person asks for it by `AFTERIMAGE_TRACE`: spans and events of the crate
//! `tracing`. Unless it is asked for nobody listens, and they cost a look at one word.

use crate::failure::Failure;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::FmtSpan;

/// The environment variable: the least that is worth a line.
const TRACE: &str = "AFTERIMAGE_TRACE";

/// Begins to listen, if that is wanted.
pub fn begin() -> Result<(), Failure> {
    let Ok(wanted) = std::env::var(TRACE) else {
        return Ok(());
    };
    let level: LevelFilter = wanted.parse().map_err(|_| {
        Failure::usage(format!("{TRACE}={wanted} is no level"))
            .advise("one of error, warn, info, debug, trace, off")
    })?;
    fmt()
        .with_max_level(level)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    Ok(())
}
