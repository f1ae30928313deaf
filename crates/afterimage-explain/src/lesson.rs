//! A script, explained: laid out, crashed, and recovered by the engine, as often as the script has it.

use std::sync::Arc;

use afterimage::inspect::DumpLine;
use afterimage::stage::{self, Homes};
use afterimage::{Database, Lsn};
use afterimage_io::sim::{Image, Sim, Survival};

use crate::Trouble;
use crate::layout::{self, Laid, Layout, Named, key};
use crate::meaning;
use crate::narrate::{Names, Narrator, listed, position, words};
use crate::script;
use crate::story::{Recovery, Rows, State, Story};
use crate::watch::Watch;

/// How one recovery ended.
enum Ended {
    /// What a crash would leave, what is in the database, and which pages cannot be read, with the reason.
    Open(Image, Vec<(String, Rows)>, Vec<String>),
    Crashed(Image),
    Refused(String),
}

/// Explains a script. `crash_after`: the power goes once more when so many CLRs are durable.
///
/// # Errors
///
/// A mistake in the script; what the engine says of rows that no page can take.
pub fn explain(text: &str, crash_after: Option<usize>) -> Result<Story, Trouble> {
    // A byte order mark is no part of the first line.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = script::read(text)?;
    let meaning = meaning::read(&lines)?;
    let mut layout = layout::lay(&meaning)?;
    let mut image = std::mem::take(&mut layout.image);
    let mut names = Labels {
        layout,
        next: meaning.next_label,
    };
    let mut story = Story {
        title: title(text),
        script: text.to_owned(),
        log: names.log(),
        ..Story::default()
    };
    let mut crash_after = crash_after;
    let mut left = meaning.crashes;
    let mut unreadable = Vec::new();
    while left > 0 {
        let sim = Sim::from_image(2, &image);
        let before = names.homes(&sim);
        if story.recoveries.is_empty() {
            story.homes = names.homes_in_words(&before);
        }
        let (mut recovery, ended) = recover(&sim, &mut names, before, crash_after.take());
        let again = match ended {
            Ended::Open(next, values, damaged) => {
                "open".clone_into(&mut recovery.outcome);
                (story.values, unreadable) = (values, damaged);
                left -= 1;
                Some(next)
            }
            Ended::Crashed(next) => {
                "crashed".clone_into(&mut recovery.outcome);
                Some(next)
            }
            Ended::Refused(why) => {
                recovery.outcome = format!("refused: {why}");
                None
            }
        };
        story.recoveries.push(recovery);
        match again {
            Some(next) => image = next,
            None => break,
        }
    }
    let result = Some(names.result(&story.values)).filter(|result| !result.is_empty());
    let result: Vec<_> = result.into_iter().chain(unreadable).collect();
    story.result = result.join("; ");
    Ok(story)
}

/// The first line that is for people.
pub(crate) fn title(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let first = first.trim();
    let title = first.strip_prefix('#').or_else(|| first.strip_prefix("//"));
    title
        .map(|title| title.trim().to_owned())
        .unwrap_or_default()
}

fn recover(
    sim: &Sim,
    names: &mut Labels,
    before: State,
    crash_after: Option<usize>,
) -> (Recovery, Ended) {
    let watch = Arc::new(match crash_after {
        Some(clrs) => Watch::with_crash(sim.clone(), clrs),
        None => Watch::new(usize::MAX),
    });
    let options = stage::options(sim.io())
        .create(false)
        .observer(watch.clone());
    let opened = sim.catch(|| options.open(stage::DIRECTORY));
    let mut narrator = Narrator::new(names, before);
    for event in watch.events() {
        narrator.tell(&event);
    }
    if let (Some(clrs), Ok(Ok(_))) = (crash_after, &opened) {
        narrator.no_crash(clrs);
    }
    let recovery = narrator.finish(String::new());
    let ended = match opened {
        Err(_) => Ended::Crashed(sim.snapshot().crash(&Survival::None)),
        Ok(Err(error)) => Ended::Refused(error.to_string()),
        Ok(Ok(db)) => {
            // Before anything is closed: what a crash at this moment would leave.
            let image = sim.snapshot().crash(&Survival::None);
            let (values, unreadable) = names.values(&db);
            Ended::Open(image, values, unreadable)
        }
    };
    (recovery, ended)
}

fn rows(db: &Database, page: &Laid) -> afterimage::Result<Rows> {
    let table = db.table(&page.name)?;
    let rows = page.objects.iter().map(|object| {
        let value = db.get(&table, &key(object))?;
        let value = value.map(|value| String::from_utf8_lossy(&value).into_owned());
        Ok((object.name.clone(), value))
    });
    rows.collect()
}

/// The script's labels.
struct Labels {
    layout: Layout,
    /// The next one that is free.
    next: u64,
}

impl Labels {
    fn named(&self, lsn: Lsn) -> Option<&Named> {
        self.layout.records.get(&lsn)
    }

    /// The log, a line a record.
    fn log(&self) -> Vec<(String, String, String, String)> {
        let shown = self
            .layout
            .records
            .iter()
            .filter(|(_, named)| named.label.is_some() && !named.more);
        let lines = shown.map(|(lsn, named)| {
            let remark = match (named.in_script, named.lost) {
                (false, _) => "not in this excerpt",
                (true, true) => "not synced: lost in the crash",
                (true, false) => "",
            };
            let prev = named.prev.map(|prev| self.lsn(prev)).unwrap_or_default();
            (self.lsn(*lsn), named.text.clone(), prev, remark.to_owned())
        });
        lines.collect()
    }

    /// The pages as they are on the disk.
    fn homes(&self, sim: &Sim) -> State {
        let homes = Homes::new(&sim.io()).ok();
        let pages = self.layout.pages.iter().map(|page| {
            let lsn = homes.as_ref().and_then(|homes| homes.lsn(page.number));
            let shown = match lsn {
                Some(lsn) => self.lsn(lsn),
                None => "torn".to_owned(),
            };
            let rows = lsn.and_then(|lsn| self.version(page.number, lsn));
            (page.name.clone(), (shown, rows.unwrap_or_default()))
        });
        State {
            pages: pages.collect(),
            ..State::default()
        }
    }

    fn homes_in_words(&self, state: &State) -> Vec<(String, String, String)> {
        let pages = self.layout.pages.iter().filter_map(|page| {
            let (lsn, rows) = state.pages.get(&page.name)?;
            let rows = match (lsn.as_str(), rows.is_empty()) {
                ("torn", _) => "half of it new, half of it nothing".to_owned(),
                (_, true) => "as before its recLSN".to_owned(),
                _ => words(rows),
            };
            Some((page.name.clone(), lsn.clone(), rows))
        });
        pages.collect()
    }

    /// What the database holds, and which of its pages cannot be read.
    fn values(&self, db: &Database) -> (Vec<(String, Rows)>, Vec<String>) {
        let (mut values, mut unreadable) = (Vec::new(), Vec::new());
        for page in &self.layout.pages {
            match rows(db, page) {
                Ok(rows) => values.push((page.name.clone(), rows)),
                Err(error) => {
                    unreadable.push(format!("page {} cannot be read: {error}", page.name));
                }
            }
        }
        (values, unreadable)
    }

    /// The values on one line: rows of tables in braces.
    fn result(&self, values: &[(String, Rows)]) -> String {
        let mut words = Vec::new();
        for (page, rows) in values {
            let prefix = format!("{page}/");
            let is_table = rows.iter().all(|(name, _)| name.starts_with(&prefix));
            if is_table && !rows.is_empty() {
                let rows = rows.iter().filter_map(|(name, value)| {
                    Some(format!("{}: {}", &name[prefix.len()..], value.as_ref()?))
                });
                words.push(format!(
                    "{page} {{{}}}",
                    rows.collect::<Vec<_>>().join(", ")
                ));
            } else if !rows.is_empty() {
                words.push(crate::narrate::words(rows));
            }
        }
        words.join(" ")
    }
}

impl Names for Labels {
    fn lsn(&self, lsn: Lsn) -> String {
        match self.named(lsn).and_then(|named| named.label) {
            Some(label) => label.to_string(),
            None => {
                let first = self.layout.records.first_key_value();
                let beyond = self.layout.records.last_key_value();
                match (first, beyond) {
                    (_, Some((last, _))) if lsn > *last => "beyond the log".to_owned(),
                    _ => "earlier".to_owned(),
                }
            }
        }
    }

    fn record(&self, record: &DumpLine) -> String {
        match self.named(position(record.lsn)) {
            Some(named) if named.in_script => named.text.clone(),
            Some(named) => format!("{} (not in this excerpt)", named.text),
            None => record.kind.clone(),
        }
    }

    fn txn(&self, txn: Lsn) -> String {
        let name = self.layout.txns.get(&txn).cloned();
        name.unwrap_or_else(|| "an earlier transaction".to_owned())
    }

    fn page(&self, page: u64) -> String {
        let found = self.layout.pages.iter().find(|laid| laid.number == page);
        found.map_or_else(|| format!("page {page}"), |laid| laid.name.clone())
    }

    fn row(&self, page: u64, record: &DumpLine) -> String {
        let found = self.layout.pages.iter().find(|laid| laid.number == page);
        let wanted = record.key.clone().unwrap_or_default();
        let object =
            found.and_then(|laid| laid.objects.iter().find(|object| key(object) == wanted));
        match object {
            Some(object) => object.name.clone(),
            None => String::from_utf8_lossy(&wanted).into_owned(),
        }
    }

    fn version(&self, page: u64, lsn: Lsn) -> Option<Rows> {
        let laid = self.layout.pages.iter().find(|laid| laid.number == page)?;
        let version = laid.versions.range(..=lsn).next_back();
        match version {
            Some((_, rows)) => Some(listed(rows)),
            None => laid.base.as_ref().map(listed),
        }
    }

    fn value(&self, value: &[u8]) -> String {
        String::from_utf8_lossy(value).into_owned()
    }

    fn is_before(&self, lsn: Lsn) -> bool {
        self.named(lsn).is_some_and(|named| !named.in_script)
    }

    fn left_out(&self, lsn: Lsn) -> bool {
        self.named(lsn).is_none_or(|named| named.label.is_none())
    }

    fn is_about(&self, page: u64) -> bool {
        self.layout.pages.iter().any(|laid| laid.number == page)
    }

    fn written(&mut self, lsn: Lsn, text: String) {
        if self.layout.records.contains_key(&lsn) {
            return;
        }
        let label = Some(self.next);
        self.next += 1;
        let named = Named::new(label, text, true);
        self.layout.records.insert(lsn, named);
    }

    fn tail(&self, tail: &str) -> String {
        match tail.starts_with("a torn tail") {
            true => "torn: what stands here is a write that did not finish. Nothing proves that it was ever durable, so it is cut off".to_owned(),
            false => tail.to_owned(),
        }
    }
}
