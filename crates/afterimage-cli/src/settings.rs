//! `--set name=value`: the engine's settings on the command line, by the names and units that its documentation uses.
//!
//! A setting that is not known here is refused by name, never ignored: a misspelt limit must not look like a limit.

use crate::failure::Failure;
use crate::units::{parse_duration, parse_size};
use afterimage::{Durability, Options};

/// The names that `--set` takes, in the order in which they are told.
const NAMES: &[&str] = &[
    "page_size",
    "buffer_pool_size",
    "wal_segment_size",
    "max_wal_size",
    "checkpoint_timeout",
    "wal_writer_delay",
    "synchronous_commit",
];

/// Settings given on the command line, in the order given; the last one of a name counts.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    given: Vec<String>,
}

impl Settings {
    /// Takes `name=value` texts, and refuses any that is not a setting.
    pub fn new(given: Vec<String>) -> Result<Self, Failure> {
        let settings = Self { given };
        settings.options()?;
        Ok(settings)
    }

    /// The texts as given, for a child process that is to have the same settings.
    pub fn given(&self) -> &[String] {
        &self.given
    }

    /// The engine's defaults with these settings over them.
    pub fn options(&self) -> Result<Options, Failure> {
        self.given
            .iter()
            .try_fold(Options::new(), |options, text| apply(options, text))
    }
}

fn apply(options: Options, text: &str) -> Result<Options, Failure> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Failure::usage(format!("`--set {text}` has no value"))
            .advise("write for example --set buffer_pool_size=64MiB")
    })?;
    let wrong = |why: String| Failure::usage(format!("setting {name}: {why}"));
    Ok(match name {
        "page_size" => {
            let bytes = parse_size(value).map_err(wrong)?;
            options.page_size(
                usize::try_from(bytes).map_err(|_| wrong(format!("`{value}` is too large")))?,
            )
        }
        "buffer_pool_size" => options.buffer_pool_size(parse_size(value).map_err(wrong)?),
        "wal_segment_size" => options.wal_segment_size(parse_size(value).map_err(wrong)?),
        "max_wal_size" => options.max_wal_size(parse_size(value).map_err(wrong)?),
        "checkpoint_timeout" => options.checkpoint_timeout(parse_duration(value).map_err(wrong)?),
        "wal_writer_delay" => options.wal_writer_delay(parse_duration(value).map_err(wrong)?),
        "synchronous_commit" => options.synchronous_commit(durability(value).map_err(wrong)?),
        _ => {
            return Err(Failure::usage(format!("there is no setting {name}"))
                .advise(format!("there are {}", NAMES.join(", "))));
        }
    })
}

fn durability(value: &str) -> Result<Durability, String> {
    match value.to_ascii_lowercase().as_str() {
        "disk" | "on" => Ok(Durability::Disk),
        "memory" | "off" => Ok(Durability::Memory),
        _ => Err(format!("`{value}` is not a level; disk and memory are")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_settings_are_taken_and_others_refused_by_name() {
        let given = |text: &str| Settings::new(vec![text.to_string()]);
        for good in [
            "page_size=8KiB",
            "max_wal_size=1GiB",
            "checkpoint_timeout=5min",
            "wal_writer_delay=200ms",
            "synchronous_commit=memory",
        ] {
            assert!(given(good).is_ok(), "{good}");
        }
        let refused = given("bufer_pool_size=1MiB").expect_err("misspelt");
        assert!(
            refused
                .to_string()
                .contains("there is no setting bufer_pool_size"),
            "{refused}"
        );
        assert!(given("buffer_pool_size=64MB").is_err());
        assert!(given("buffer_pool_size").is_err());
        assert!(given("synchronous_commit=replica").is_err());
    }
}
