//! `--set name=value`: the settings on the command line, by the names and units that `docs/settings.md` uses.
//!
//! A name that neither a database nor a log takes is refused before anything is opened: a misspelt limit must not look
//! like a limit.

use crate::failure::Failure;
use afterimage::{Error, Options};
use afterimage_log::LogOptions;

/// Settings given on the command line, in the order given; the last one of a name counts.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    given: Vec<String>,
    pairs: Vec<(String, String)>,
}

impl Settings {
    /// Takes `name=value` texts, and refuses any that is not a setting.
    pub fn new(given: Vec<String>) -> Result<Self, Failure> {
        let pairs = given.iter().map(|text| pair(text));
        let settings = Self {
            pairs: pairs.collect::<Result<_, _>>()?,
            given,
        };
        for (name, value) in &settings.pairs {
            let of_a_log = LogOptions::default().set(name, value).is_ok();
            if !of_a_log {
                Options::new().set(name, value).map_err(refused)?;
            }
        }
        Ok(settings)
    }

    /// The texts as given, for a child process that is to have the same settings.
    pub fn given(&self) -> &[String] {
        &self.given
    }

    /// Names and values.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The engine's defaults with these settings over them.
    pub fn options(&self) -> Result<Options, Failure> {
        let mut pairs = self.pairs.iter();
        pairs
            .try_fold(Options::new(), |options, (name, value)| {
                options.set(name, value)
            })
            .map_err(refused)
    }
}

fn pair(text: &str) -> Result<(String, String), Failure> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Failure::usage(format!("`--set {text}` has no value"))
            .advise("write for example --set buffer_pool_size=64MiB")
    })?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// A setting that is refused is a mistake of usage, and the list of them is one command away.
fn refused(error: Error) -> Failure {
    Failure::usage(error).advise("`afterimage settings` lists them, with their bounds")
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
            "wal_buffers=1MiB",
        ] {
            assert!(given(good).is_ok(), "{good}");
        }
        let refused = given("bufer_pool_size=1MiB").expect_err("misspelt");
        assert!(
            refused
                .to_string()
                .contains("there is no setting bufer_pool_size; did you mean buffer_pool_size?"),
            "{refused}"
        );
        assert!(given("buffer_pool_size=64MB").is_err());
        assert!(given("buffer_pool_size=64").is_err());
        assert!(given("buffer_pool_size").is_err());
        assert!(given("synchronous_commit=replica").is_err());
    }
}
