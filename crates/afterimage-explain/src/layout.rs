//! A script as a disk: each line a real record in a real log, each page at home as the script says; then the power goes.

use std::collections::BTreeMap;

use afterimage::stage::{RowChange, Stage};
use afterimage::{Lsn, Result};
use afterimage_io::sim::Image;

use crate::meaning::{Act, ActKind, Meaning, Next, Page};
use crate::script::{Object, Part, Value};

/// The rows of a page, by the names that the script has for them.
pub(crate) type Rows = BTreeMap<String, Value>;

/// What came of a script.
pub(crate) struct Layout {
    pub(crate) image: Image,
    /// What the records are called, by their positions.
    pub(crate) records: BTreeMap<Lsn, Named>,
    /// The transactions' names, by their first records.
    pub(crate) txns: BTreeMap<Lsn, String>,
    pub(crate) pages: Vec<Laid>,
}

/// A record by its name.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// None for a record that the script does not have.
    pub(crate) label: Option<u64>,
    /// As the script has it; for one that it does not have, what it stands for.
    pub(crate) text: String,
    /// A line of the script; else something that was before it.
    pub(crate) in_script: bool,
    /// One more record of the same line.
    pub(crate) more: bool,
    /// It was still in memory when the power went.
    pub(crate) lost: bool,
    /// Its transaction's record before it.
    pub(crate) prev: Option<Lsn>,
}

impl Named {
    pub(crate) fn new(label: Option<u64>, text: String, in_script: bool) -> Named {
        Named {
            label,
            text,
            in_script,
            more: false,
            lost: false,
            prev: None,
        }
    }
}

/// A page as it was laid out.
pub(crate) struct Laid {
    pub(crate) name: String,
    /// Its number in the database.
    pub(crate) number: u64,
    pub(crate) objects: Vec<Object>,
    /// Its rows by the page LSN that goes with them; nothing below the first.
    pub(crate) versions: BTreeMap<Lsn, Rows>,
    /// The rows of the version that the database was made with; `None`: nobody knows them.
    pub(crate) base: Option<Rows>,
}

/// A transaction while it is laid out.
#[derive(Default)]
struct Chain {
    first: Option<Lsn>,
    last: Option<Lsn>,
    undo_next: Option<Lsn>,
}

struct Layer<'a> {
    meaning: &'a Meaning,
    stage: Stage,
    records: BTreeMap<Lsn, Named>,
    /// Positions of the lines that are records; of a checkpoint its begin.
    at: BTreeMap<u64, Lsn>,
    /// Positions of what is before the first line, or between two: a label alone does not say whose it is.
    txn_at: BTreeMap<(String, u64), Lsn>,
    page_at: BTreeMap<(String, u64), Lsn>,
    chains: BTreeMap<String, Chain>,
    now: BTreeMap<String, Rows>,
    versions: BTreeMap<String, BTreeMap<Lsn, Rows>>,
    /// Recorded changes that the script does not have, by page: their labels.
    images: BTreeMap<String, u64>,
    synced: Option<Lsn>,
    /// The begin record of a checkpoint that has not ended.
    begun: Option<Lsn>,
    /// The last complete checkpoint: its begin record, and its dirty pages.
    checkpoint: Option<(Lsn, Vec<(String, u64)>)>,
}

/// Something before the first line, or between two, that the script only hints at.
enum Hidden<'a> {
    Begin(&'a str),
    /// A transaction's record behind its first one.
    Later(&'a str),
    Image(&'a Page),
    Home(&'a Page),
}

/// The table, of no page of a script, that the records of [`Hidden::Later`] are about. No name in a script has a newline.
const ELSEWHERE: &str = "\n";

/// Lays a script out.
pub(crate) fn lay(meaning: &Meaning) -> Result<Layout> {
    let mut layer = Layer::new(meaning)?;
    let hidden = layer.hidden();
    let mut hidden = hidden.into_iter().peekable();
    for (n, act) in meaning.acts.iter().enumerate() {
        // What is in front of the next record is there when the log is synced.
        let next = meaning.acts[n..].iter().find_map(|act| act.label);
        let next = next.unwrap_or(meaning.next_label);
        while let Some((label, what)) = hidden.next_if(|(label, _)| is_below(*label, next)) {
            layer.hide(label, &what)?;
        }
        layer.act(act)?;
        if !meaning.syncs {
            layer.sync()?;
        }
        for page in &meaning.pages {
            // An LSN that another page's record has, or none: the page is taken to have been as it is now.
            if page.disk.as_ref().map(|disk| disk.lsn) == act.label && act.label.is_some() {
                layer.say_home(page)?;
            }
        }
    }
    // The crash may have a label, and so be behind more than the last line.
    while let Some((label, what)) =
        hidden.next_if(|(label, _)| is_below(*label, meaning.next_label))
    {
        layer.hide(label, &what)?;
    }
    let too_early = hidden.filter_map(|(_, what)| match what {
        Hidden::Home(page) => Some(page.name.clone()),
        _ => None,
    });
    let too_early: Vec<String> = too_early.collect();
    layer.homes(&too_early);
    layer.crash()
}

/// Whether something is in front of the record with this label. What has no label comes first.
fn is_below(label: Option<u64>, next: u64) -> bool {
    label.is_none_or(|label| label < next)
}

impl<'a> Layer<'a> {
    fn new(meaning: &'a Meaning) -> Result<Layer<'a>> {
        let mut images = BTreeMap::new();
        let is_line = |label: u64| meaning.acts.iter().any(|act| act.label == Some(label));
        for act in &meaning.acts {
            if let ActKind::Checkpoint { dirty, .. } = &act.kind {
                for (page, rec_lsn) in dirty.iter().filter(|(_, label)| !is_line(*label)) {
                    images.insert(page.clone(), *rec_lsn);
                }
            }
        }
        let (mut tables, mut now) = (BTreeMap::new(), BTreeMap::new());
        for page in &meaning.pages {
            let mut rows = Rows::new();
            let mut stored = Vec::new();
            // What a page was before a change that nobody has written down, nobody knows.
            for row in page
                .rows
                .iter()
                .filter(|_| !images.contains_key(&page.name))
            {
                rows.insert(row.object.name.clone(), row.first.clone());
                stored.extend(
                    row.first
                        .as_ref()
                        .map(|value| (key(&row.object), value.clone().into_bytes())),
                );
            }
            tables.insert(page.name.clone(), stored);
            now.insert(page.name.clone(), rows);
        }
        if meaning.older.iter().any(|(_, labels)| labels.len() > 1) {
            tables.insert(ELSEWHERE.to_owned(), Vec::new());
        }
        Ok(Layer {
            meaning,
            stage: Stage::new(&tables)?,
            records: BTreeMap::new(),
            at: BTreeMap::new(),
            txn_at: BTreeMap::new(),
            page_at: BTreeMap::new(),
            chains: BTreeMap::new(),
            now,
            versions: BTreeMap::new(),
            images,
            synced: None,
            begun: None,
            checkpoint: None,
        })
    }

    /// What comes before the lines, or between them, by label.
    fn hidden(&self) -> Vec<(Option<u64>, Hidden<'a>)> {
        let mut hidden: Vec<(Option<u64>, Hidden<'a>)> = Vec::new();
        for (txn, labels) in &self.meaning.older {
            hidden.push((labels.first().copied(), Hidden::Begin(txn)));
            let later = labels.iter().skip(1);
            hidden.extend(later.map(|label| (Some(*label), Hidden::Later(txn))));
        }
        for page in &self.meaning.pages {
            if let Some(label) = self.images.get(&page.name) {
                hidden.push((Some(*label), Hidden::Image(page)));
            }
            let is_line = |label| self.meaning.acts.iter().any(|act| act.label == Some(label));
            if let Some(disk) = &page.disk
                && !is_line(disk.lsn)
                && self.images.get(&page.name) != Some(&disk.lsn)
            {
                hidden.push((Some(disk.lsn), Hidden::Home(page)));
            }
        }
        // What has no label comes first.
        hidden.sort_by_key(|(label, what)| (*label, !matches!(what, Hidden::Begin(_))));
        hidden
    }

    fn hide(&mut self, label: Option<u64>, what: &Hidden<'a>) -> Result<()> {
        match what {
            Hidden::Begin(txn) => {
                let lsn = self.stage.begin()?;
                self.name(lsn, label, format!("{txn} BEGIN"), false);
                let at = label.map(|label| (((*txn).to_owned(), label), lsn));
                self.txn_at.extend(at);
                self.step(txn, lsn, Some(lsn));
            }
            Hidden::Later(txn) => {
                // What it changed is not known, so undo must be able to pass it: it is a CLR, of a row of no page here.
                let chain = self.chain(txn).expect("its first record is in front");
                let undo_next = self.chains[*txn].undo_next;
                let nothing = RowChange {
                    table: ELSEWHERE,
                    key: b"",
                    before: Some(b""),
                    after: Some(b""),
                };
                let lsn = self.stage.clr(chain, undo_next, &nothing)?;
                self.name(lsn, label, format!("a record of {txn}"), false);
                let at = label.map(|label| (((*txn).to_owned(), label), lsn));
                self.txn_at.extend(at);
                self.step(txn, lsn, Some(lsn));
            }
            Hidden::Image(page) => {
                let rows: Vec<_> = page.rows.iter().collect();
                let changes: Vec<_> = rows
                    .iter()
                    .map(|row| change(&row.object, &None, &row.first))
                    .collect();
                let lsn = self.stage.page_image(&page.name, &changes)?;
                for row in rows {
                    self.set(&row.object, row.first.clone());
                }
                let shown = self.shown(&page.name);
                self.name(lsn, label, shown, false);
                self.version(&page.name, lsn);
                self.page_is_at(page, label, lsn);
            }
            Hidden::Home(page) => {
                let lsn = self.stage.note()?;
                self.name(lsn, label, format!("a change of {}", page.name), false);
                self.page_is_at(page, label, lsn);
                self.say_home(page)?;
            }
        }
        if !self.meaning.syncs {
            self.sync()?;
        }
        Ok(())
    }

    fn page_is_at(&mut self, page: &Page, label: Option<u64>, lsn: Lsn) {
        let at = label.map(|label| ((page.name.clone(), label), lsn));
        self.page_at.extend(at);
    }

    /// The record with this label, if it is one about this page or a line.
    fn of_page(&self, page: &str, label: u64) -> Option<Lsn> {
        let hidden = self.page_at.get(&(page.to_owned(), label));
        hidden.or_else(|| self.at.get(&label)).copied()
    }

    /// The page is, at the LSN that its home is said to have, what its home is said to be.
    fn say_home(&mut self, page: &Page) -> Result<()> {
        let Some(disk) = &page.disk else {
            return Ok(());
        };
        let Some(lsn) = self.of_page(&page.name, disk.lsn) else {
            return Ok(());
        };
        if self
            .versions
            .get(&page.name)
            .is_some_and(|versions| versions.contains_key(&lsn))
        {
            return Ok(());
        }
        let changes: Vec<_> = disk
            .rows
            .iter()
            .map(|(object, value)| change(object, &None, value))
            .collect();
        self.stage.as_of(&page.name, lsn, &changes)?;
        for (object, value) in &disk.rows {
            self.set(object, value.clone());
        }
        self.version(&page.name, lsn);
        Ok(())
    }

    fn set(&mut self, object: &Object, value: Value) {
        let rows = self.now.entry(object.page.clone()).or_default();
        rows.insert(object.name.clone(), value);
    }

    fn version(&mut self, page: &str, lsn: Lsn) {
        let rows = self.now.get(page).cloned().unwrap_or_default();
        self.versions
            .entry(page.to_owned())
            .or_default()
            .insert(lsn, rows);
    }

    fn shown(&self, page: &str) -> String {
        let rows = self.now.get(page);
        let rows = rows
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("_")));
        let rows: Vec<String> = rows.collect();
        match rows.is_empty() {
            true => format!("{page} changes"),
            false => rows.join(" "),
        }
    }

    fn name(&mut self, lsn: Lsn, label: Option<u64>, text: String, in_script: bool) {
        self.records.insert(lsn, Named::new(label, text, in_script));
    }

    /// A transaction has written a record.
    fn step(&mut self, txn: &str, lsn: Lsn, undo_next: Option<Lsn>) {
        let chain = self.chains.entry(txn.to_owned()).or_default();
        let prev = chain.last;
        chain.first.get_or_insert(lsn);
        chain.last = Some(lsn);
        chain.undo_next = undo_next;
        if let Some(named) = self.records.get_mut(&lsn) {
            named.prev = prev;
        }
    }

    fn chain(&self, txn: &str) -> Option<(Lsn, Lsn)> {
        let chain = self.chains.get(txn)?;
        chain.first.zip(chain.last)
    }

    fn act(&mut self, act: &Act) -> Result<()> {
        let Some(at) = act.label else {
            return self.sync();
        };
        let label = act.label;
        let chain_of = |layer: &Self, txn: &str| layer.chain(txn).expect("it has a record");
        match &act.kind {
            ActKind::Begin(txn) => {
                let lsn = self.stage.begin()?;
                self.name(lsn, label, format!("{txn} BEGIN"), true);
                self.at.insert(at, lsn);
                self.step(txn, lsn, Some(lsn));
            }
            ActKind::Change {
                txn,
                object,
                before,
                after,
            } => {
                let lsn = self
                    .stage
                    .row(self.chain(txn), &change(object, before, after))?;
                let verb = match (before, after) {
                    (None, Some(after)) => format!("INSERT {} = {after}", object.name),
                    (Some(before), None) => format!("DELETE {} (was {before})", object.name),
                    (before, after) => format!(
                        "UPDATE {} {} -> {}",
                        object.name,
                        before.as_deref().unwrap_or("_"),
                        after.as_deref().unwrap_or("_")
                    ),
                };
                self.changed(at, lsn, format!("{txn} {verb}"), object, after);
                self.step(txn, lsn, Some(lsn));
            }
            ActKind::Clr {
                txn,
                object,
                value,
                was,
                undo_next,
            } => {
                let chain = chain_of(self, txn);
                let next = match undo_next {
                    Next::At(label) => {
                        let hidden = self.txn_at.get(&(txn.clone(), *label));
                        hidden.or_else(|| self.at.get(label)).copied()
                    }
                    Next::Oldest => Some(chain.0),
                    Next::Nothing => None,
                };
                // The record that it takes back changed the row from this to that.
                let lsn = self.stage.clr(chain, next, &change(object, value, was))?;
                let text = format!(
                    "{txn} CLR {} = {}",
                    object.name,
                    value.as_deref().unwrap_or("_")
                );
                self.changed(at, lsn, text, object, value);
                self.step(txn, lsn, next);
            }
            ActKind::Commit(txn) | ActKind::End(txn) => {
                let chain = chain_of(self, txn);
                let (lsn, word) = match act.kind {
                    ActKind::Commit(_) => (self.stage.commit(chain)?, "COMMIT"),
                    _ => (self.stage.end(chain)?, "END"),
                };
                self.name(lsn, label, format!("{txn} {word}"), true);
                self.at.insert(at, lsn);
                self.step(txn, lsn, None);
            }
            ActKind::Note(txn, what) => {
                let lsn = self.stage.note()?;
                self.name(lsn, label, format!("{txn} {what}"), true);
                self.at.insert(at, lsn);
            }
            ActKind::Checkpoint {
                part,
                active,
                dirty,
            } => {
                self.checkpoint(at, *part, active, dirty)?;
            }
            ActKind::Sync => {}
        }
        Ok(())
    }

    fn changed(&mut self, at: u64, lsn: Lsn, text: String, object: &Object, value: &Value) {
        self.name(lsn, Some(at), text, true);
        self.at.insert(at, lsn);
        self.set(object, value.clone());
        self.version(&object.page, lsn);
    }

    fn checkpoint(
        &mut self,
        at: u64,
        part: Part,
        active: &[String],
        dirty: &[(String, u64)],
    ) -> Result<()> {
        let list = |names: Vec<String>| names.join(", ");
        let table = list(active.to_vec());
        let pages = list(
            dirty
                .iter()
                .map(|(page, label)| format!("{page}:{label}"))
                .collect(),
        );
        let tables = format!("active={{{table}}} dirty={{{pages}}}");
        let begin = match (part, self.begun.take()) {
            (Part::End, Some(begin)) => begin,
            _ => {
                let begin = self.stage.checkpoint_begin()?;
                let text = match part {
                    Part::Begin => "CHECKPOINT BEGIN".to_owned(),
                    _ => format!("CHECKPOINT {tables}"),
                };
                self.name(begin, Some(at), text, true);
                self.at.insert(at, begin);
                begin
            }
        };
        if part == Part::Begin {
            self.begun = Some(begin);
            return Ok(());
        }
        let entries: Vec<_> = active
            .iter()
            .filter_map(|txn| {
                let chain = self.chains.get(txn)?;
                Some((chain.first?, chain.last?, chain.undo_next))
            })
            .collect();
        let dpt: Vec<_> = dirty
            .iter()
            .filter_map(|(page, label)| Some((page.as_str(), self.of_page(page, *label)?)))
            .collect();
        let records = self.stage.checkpoint_end(begin, &entries, &dpt)?;
        for record in &records {
            self.name(*record, Some(at), format!("CHECKPOINT END {tables}"), true);
            if let Some(named) = self.records.get_mut(record) {
                named.more = part == Part::Whole || Some(record) != records.last();
            }
        }
        if part == Part::End {
            self.at.extend(records.last().map(|end| (at, *end)));
        }
        self.synced();
        self.checkpoint = Some((begin, dirty.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.stage.sync()?;
        self.synced();
        Ok(())
    }

    fn synced(&mut self) {
        self.synced = self.records.last_key_value().map(|(lsn, _)| *lsn);
    }

    /// Puts every page home as the script says, or as it must have been.
    fn homes(&mut self, too_early: &[String]) {
        for page in &self.meaning.pages {
            let home = match (&page.disk, &self.checkpoint) {
                (Some(disk), _) => self.of_page(&page.name, disk.lsn),
                (None, Some((begin, dirty))) => {
                    match dirty.iter().find(|(name, _)| *name == page.name) {
                        // As before its recLSN.
                        Some((_, label)) => self
                            .of_page(&page.name, *label)
                            .and_then(|lsn| Lsn::new(lsn.get() - 1)),
                        None => Some(*begin),
                    }
                }
                (None, None) => None,
            };
            if too_early.contains(&page.name) {
                self.stage.at_home_too_early(&page.name);
            } else if let Some(lsn) = home {
                self.stage.at_home(&page.name, lsn);
            }
            if let Some((label, copy)) = page.torn {
                let newest = || {
                    self.versions
                        .get(&page.name)?
                        .last_key_value()
                        .map(|(lsn, _)| *lsn)
                };
                let lsn = label
                    .and_then(|label| self.of_page(&page.name, label))
                    .or(home)
                    .or_else(newest);
                if let Some(lsn) = lsn {
                    self.stage.torn(&page.name, lsn, copy);
                }
            }
        }
        if let Some(label) = self.meaning.torn_record {
            self.stage.cut(self.at[&label]);
        }
        for label in &self.meaning.damaged {
            self.stage.flip(self.at[label]);
        }
    }

    fn crash(self) -> Result<Layout> {
        let Layer {
            meaning,
            stage,
            mut records,
            chains,
            versions,
            images,
            synced,
            ..
        } = self;
        for (lsn, named) in &mut records {
            named.lost = Some(*lsn) > synced;
        }
        let pages = meaning.pages.iter().map(|page| Laid {
            number: stage.page(&page.name).unwrap_or_default(),
            objects: page.rows.iter().map(|row| row.object.clone()).collect(),
            versions: versions.get(&page.name).cloned().unwrap_or_default(),
            base: (!images.contains_key(&page.name)).then(|| {
                let rows = page.rows.iter();
                rows.map(|row| (row.object.name.clone(), row.first.clone()))
                    .collect()
            }),
            name: page.name.clone(),
        });
        let pages = pages.collect();
        let txns = chains
            .into_iter()
            .filter_map(|(name, chain)| Some((chain.first?, name)));
        Ok(Layout {
            txns: txns.collect(),
            pages,
            records,
            image: stage.crash()?,
        })
    }
}

/// A row's key in its table.
pub(crate) fn key(object: &Object) -> Vec<u8> {
    object.key.clone().unwrap_or_default().into_bytes()
}

fn change<'a>(object: &'a Object, before: &'a Value, after: &'a Value) -> RowChange<'a> {
    RowChange {
        table: &object.page,
        key: object.key.as_deref().unwrap_or_default().as_bytes(),
        before: before.as_deref().map(str::as_bytes),
        after: after.as_deref().map(str::as_bytes),
    }
}
