//! `afterimage scan`: a part of a table, forwards or backwards, read without changing a byte.

use crate::commands::rows::Rows;
use crate::failure::Failure;
use crate::open::{self, from_engine};
use crate::out::Out;
use crate::settings::Settings;
use std::ffi::OsString;
use std::ops::Bound;
use std::path::PathBuf;

/// What `scan` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Keys are compared byte by byte. --from is the first key wanted, --to the first one not wanted.
Keys are written as they are printed: a tab is \\t, a newline \\n, a backslash \\\\.

Examples:
  afterimage scan bank accounts --limit 10
  afterimage scan bank accounts --prefix 000 --reverse
  afterimage scan bank accounts --from 00100 --to 00200")]
pub struct Args {
    /// The database directory
    dir: PathBuf,
    /// The table
    table: String,
    /// Only keys that begin with this
    #[arg(long, value_name = "P")]
    prefix: Option<OsString>,
    /// Only keys from this one on
    #[arg(long, value_name = "K")]
    from: Option<OsString>,
    /// Only keys before this one
    #[arg(long, value_name = "K")]
    to: Option<OsString>,
    /// At most this many rows
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Greatest key first
    #[arg(long)]
    reverse: bool,
}

/// Prints the rows asked for.
pub fn run(args: &Args, settings: &Settings, out: &mut Out) -> Result<(), Failure> {
    let told = |e| from_engine(e, &args.dir);
    let range = range(args)?;
    let db = open::for_reading(&args.dir, settings)?;
    let table = open::existing_table(&db, &args.dir, &args.table)?;
    let mut rows = Rows::start(out, &args.table)?;
    if !is_empty(&range) {
        let mut tx = db.begin();
        let scan = tx.scan(&table, range).map_err(told)?;
        let limit = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let mut print = |row: afterimage::Result<(Vec<u8>, Vec<u8>)>| {
            let (key, value) = row.map_err(told)?;
            rows.row(&key, &value)
        };
        if args.reverse {
            scan.rev().take(limit).try_for_each(&mut print)?
        } else {
            scan.take(limit).try_for_each(&mut print)?
        }
    }
    rows.end()
}

type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The keys that satisfy `--prefix`, `--from` and `--to` together.
fn range(args: &Args) -> Result<Range, Failure> {
    let key = |name, text: &Option<OsString>| {
        text.as_ref()
            .map(|text| open::argument(name, text))
            .transpose()
    };
    let prefix = key("prefix", &args.prefix)?;
    let lowest = key("--from key", &args.from)?
        .into_iter()
        .chain(prefix.clone())
        .max();
    let end = key("--to key", &args.to)?
        .into_iter()
        .chain(prefix.as_deref().and_then(after_prefix))
        .min();
    Ok((
        lowest.map_or(Bound::Unbounded, Bound::Included),
        end.map_or(Bound::Unbounded, Bound::Excluded),
    ))
}

/// The least key greater than every key that begins with `prefix`; none if there is no such key.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

fn is_empty(range: &Range) -> bool {
    matches!(range, (Bound::Included(from), Bound::Excluded(to)) if from >= to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_no_key_has_it() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff\xff"), None);
        assert_eq!(after_prefix(b""), None);
    }

    #[test]
    fn prefix_and_bounds_are_taken_together() {
        let args = Args {
            dir: "d".into(),
            table: "t".into(),
            prefix: Some("b".into()),
            from: Some("a".into()),
            to: Some("bm".into()),
            limit: None,
            reverse: false,
        };
        let range = range(&args).expect("plain keys");
        assert_eq!(
            range,
            (
                Bound::Included(b"b".to_vec()),
                Bound::Excluded(b"bm".to_vec())
            )
        );
        assert!(!is_empty(&range));
        assert!(is_empty(&(
            Bound::Included(b"b".to_vec()),
            Bound::Excluded(b"a".to_vec())
        )));
    }
}
