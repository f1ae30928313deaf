//! The redo pass: repeats history. Every record that may be missing from its page is applied again, by the same
//! `apply` that made the change in the first place; losers' too.
//!
//! One thread reads the log and hands what it finds, a stretch at a time, to those who apply it. Each of them has pages of its
//! own, and of a stretch it takes all that concerns a page at once, in log order: each page's part of a record needs no
//! other page. Where the pages do not fit the pool all together the log is read again for each lot of neighbouring
//! pages that do, so that a page is read and written once, not once for each stretch.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use afterimage_io::planted::{self, Bug};
use afterimage_io::sync::Mutex;
use afterimage_log::{FrameView, Lsn, Reader};
use foldhash::fast::FixedState;

use super::analysis::unreadable;
use super::kinds::Kinds;
use super::workers::Workers;
use crate::buffer::Exclusive;
use crate::error::Result;
use crate::ids::{PageId, or_none};
use crate::observe::{Observing, RecoveryStep, RedoDecision, SeenRecord};
use crate::page::{PageOp, apply};
use crate::record::{Outline, Record, RecordKind};
use crate::transaction::System;

/// Bytes of records that are handed on at once, at most: the more, the more changes of a page are made while it is in the
/// processor's cache.
const STRETCH_BYTES: usize = 64 << 20;
/// The share of the pool that a stretch may be; there are up to four of them at a time.
const STRETCH_SHARE: usize = 16;
/// Pages whose records are kept together: so few that they, and their records in a stretch, are all in the processor's cache.
const BUCKET_PAGES: usize = 128;
/// A page with so many changes in a stretch is brought into the processor's cache as a whole.
const CALLED_UP_FROM: usize = 8;
/// How often the log may be read again for pages that do not fit the pool. Beyond that pages come and go as they are needed.
const LOTS_MAX: usize = 64;
/// More threads than this would wait for the one that reads.
const WORKERS_MAX: usize = 16;

/// What redo did.
#[derive(Debug, Default)]
pub(crate) struct Redone {
    /// Changes applied again.
    pub(crate) applied: u64,
    /// Changes found on their pages.
    pub(crate) already_there: u64,
    /// Pages looked at.
    pub(crate) pages: u64,
    /// Bytes of the records from where redo began.
    pub(crate) bytes: u64,
}

/// What those who redo have in common.
pub(super) struct Work {
    system: Arc<System>,
    /// The pages that may be older on disk than in the log, in file order, each with the first LSN that may be missing there.
    pages: Vec<(PageId, Lsn)>,
    /// The log ends here; no page can be from beyond.
    end: Lsn,
    /// Neighbouring pages that have a bucket of a stretch in common.
    bucket_pages: usize,
    workers: usize,
    /// Told each step. There is one worker then, and a stretch is a record: so the steps come in the order of the log.
    observer: Observing,
    /// Records of several pages, until all their parts have been looked at.
    parted: Mutex<BTreeMap<Lsn, Parted>>,
    /// Stretches that have been used, for their memory.
    used: Mutex<Vec<Stretch>>,
}

/// A record of several pages.
struct Parted {
    kind: RecordKind,
    /// Parts that are still to be looked at.
    left: usize,
    /// Whether one of the others had to be applied.
    applied: bool,
}

/// Some log, as those who apply it need it.
pub(super) struct Stretch {
    /// The records that are needed, each a [`Head`] and its payload, in log order: written from front to back, for to write them here
    /// and there would be to wait for memory.
    records: Vec<u8>,
    /// Which of them change which page: the page's place among the pages, and where the record is. By pages that are kept
    /// together, and in each in log order. Bucket n is for worker n, counted round.
    buckets: Vec<Vec<u64>>,
    bytes: usize,
}

/// What stands before each payload of a stretch.
#[derive(Clone, Copy)]
struct Head {
    lsn: Lsn,
    len: u32,
    /// Whether the record has parts in other pages, to be counted together.
    parted: bool,
}

impl Head {
    const BYTES: usize = 12;
    const PARTED: u32 = 1 << 31;

    fn push(self, records: &mut Vec<u8>) {
        let len = self.len | if self.parted { Head::PARTED } else { 0 };
        records.extend_from_slice(&self.lsn.get().to_le_bytes());
        records.extend_from_slice(&len.to_le_bytes());
    }

    /// The head at the beginning of these bytes.
    fn read(bytes: &[u8]) -> Option<Head> {
        let (lsn, rest) = bytes.split_first_chunk()?;
        let len = u32::from_le_bytes(*rest.first_chunk()?);
        Some(Head {
            lsn: Lsn::new(u64::from_le_bytes(*lsn))?,
            len: len & !Head::PARTED,
            parted: len & Head::PARTED != 0,
        })
    }
}

impl Stretch {
    /// Takes in a record for a page, by its place in the lot; `at` says where the record is, once it has been copied.
    fn push(
        &mut self,
        (page, in_lot): (u32, usize),
        bucket_pages: usize,
        at: &mut Option<u32>,
        (head, payload): (Head, &[u8]),
    ) {
        let at = *at.get_or_insert_with(|| {
            let at = u32::try_from(self.records.len()).expect("a stretch is small");
            head.push(&mut self.records);
            self.records.extend_from_slice(payload);
            self.bytes += Head::BYTES + payload.len();
            at
        });
        self.buckets[in_lot / bucket_pages].push(u64::from(page) << 32 | u64::from(at));
        self.bytes += size_of::<u64>();
    }

    /// Has all these records brought into the processor's cache at the same time: the reads do not wait for each other, as they
    /// would if each came when its record is applied.
    fn call_up(&self, places: &[u64]) {
        let line = |at: usize| self.records.get(at).copied().unwrap_or_default();
        let lines = |at: usize| line(at) ^ line(at + 64) ^ line(at + 128);
        let sum = (places.iter()).fold(0, |sum, place| sum ^ lines(*place as u32 as usize));
        std::hint::black_box(sum);
    }

    /// The record there.
    fn record(&self, at: u32) -> Option<(Head, &[u8])> {
        let bytes = &self.records[at as usize..];
        let head = Head::read(bytes)?;
        Some((head, &bytes[Head::BYTES..][..head.len as usize]))
    }
}

/// What to do with one page's part of a record.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Apply,
    AlreadyThere,
    LogMissing,
}

/// The three-way test. `page`: the page's LSN, `record`: the record's, `previous`: what the page's was before it.
fn decide(
    page: Option<Lsn>,
    record: Lsn,
    previous: Option<Lsn>,
    makes_whole_page: bool,
) -> Decision {
    if planted::active(Bug::RedoAsksForNothing) {
        Decision::Apply
    } else if page >= Some(record) {
        Decision::AlreadyThere
    } else if page == previous || makes_whole_page && !planted::active(Bug::FormatAsksForPage) {
        Decision::Apply
    } else {
        Decision::LogMissing
    }
}

/// Redoes everything from `from` to `end` that is missing from `pages`.
pub(crate) fn redo(
    system: &Arc<System>,
    pages: Vec<(PageId, Lsn)>,
    end: Lsn,
    losers: &[Lsn],
    kinds: &mut Kinds,
    observer: &Observing,
) -> Result<Redone> {
    let Some(from) = pages.iter().map(|(_, rec_lsn)| *rec_lsn).min() else {
        return Ok(Redone::default());
    };
    let frames = system.pager.frame_count();
    let io = &system.pager.io;
    let mut workers = io.processors().min(WORKERS_MAX).min(frames / 4).max(1);
    // Where pages come and go there are always some clean ones.
    let mut lots = pages.len().div_ceil(frames / 4 * 3).min(LOTS_MAX);
    if observer.is_there() {
        (workers, lots) = (1, 1);
    }
    let lot = pages.len().div_ceil(lots);
    let bucket_pages = match observer.is_there() {
        true => lot,
        false => lot.div_ceil(4 * workers).min(BUCKET_PAGES),
    };
    let work = Arc::new(Work {
        system: Arc::clone(system),
        end,
        bucket_pages,
        workers,
        observer: observer.clone(),
        parted: Mutex::new(io, BTreeMap::new()),
        used: Mutex::new(io, Vec::new()),
        pages,
    });
    let mut sorter = Sorter::new(&work, from, losers);
    let mut workers = Workers::start(io, &work, workers);
    let read = sorter.read_lots(&work, from, lot, &mut workers);
    let mut redone = workers.finish(kinds)?;
    read?;
    redone.bytes = sorter.bytes;
    Ok(redone)
}

/// Which of the pages a page is, and from about where on it may be without what the log has: looked up for every record, so it is small.
struct Index {
    /// Where redo begins.
    from: Lsn,
    places: Places,
}

enum Places {
    /// By the number of the page, from this one on: most of the pages there are between the first and the last.
    Dense(u64, Vec<Place>),
    Sparse(HashMap<PageId, Place, FixedState>),
}

#[derive(Clone, Copy)]
struct Place {
    /// Which of the pages.
    n: u32,
    /// Its recLSN, in [`Index::coarse`] units.
    from: u32,
}

impl Place {
    /// Stands for a page that is none of them.
    const NONE: Place = Place {
        n: u32::MAX,
        from: u32::MAX,
    };
}

impl Index {
    fn of(pages: &[(PageId, Lsn)], from: Lsn) -> Index {
        let mut index = Index {
            from,
            places: Places::Sparse(HashMap::default()),
        };
        let places = pages.iter().enumerate().map(|(n, (id, rec_lsn))| {
            let n = u32::try_from(n).expect("a log names fewer pages");
            let from = index.coarse(*rec_lsn);
            (*id, Place { n, from })
        });
        let (first, last) = match pages {
            [(first, _), .., (last, _)] => (first.get(), last.get()),
            _ => (0, u64::MAX),
        };
        index.places = if (last - first) / 4 < pages.len() as u64 {
            let mut dense = vec![Place::NONE; (last - first) as usize + 1];
            places.for_each(|(id, place)| dense[(id.get() - first) as usize] = place);
            Places::Dense(first, dense)
        } else {
            Places::Sparse(places.collect())
        };
        index
    }

    fn get(&self, page: PageId) -> Option<Place> {
        match &self.places {
            Places::Dense(first, dense) => {
                let n = page.get().checked_sub(*first)?;
                let found = dense.get(usize::try_from(n).ok()?).copied();
                found.filter(|place| place.n != Place::NONE.n)
            }
            Places::Sparse(places) => places.get(&page).copied(),
        }
    }

    /// How far behind the beginning, in units of 64 KiB: beyond 256 TiB all is one.
    fn coarse(&self, lsn: Lsn) -> u32 {
        let units = lsn.get().saturating_sub(self.from.get()) >> 16;
        u32::try_from(units).unwrap_or(u32::MAX)
    }
}

/// Reads the log, and finds out whose each record is.
struct Sorter {
    index: Index,
    /// Transactions not to be redone: a planted bug, nothing else.
    skipped: Vec<Lsn>,
    /// Bytes of records seen in the first lot.
    bytes: u64,
}

impl Sorter {
    fn new(work: &Work, from: Lsn, losers: &[Lsn]) -> Sorter {
        Sorter {
            index: Index::of(&work.pages, from),
            skipped: match planted::active(Bug::LosersNotRedone) {
                true => losers.to_vec(),
                false => Vec::new(),
            },
            bytes: 0,
        }
    }

    /// Hands everything to the workers, for one lot of pages after the other.
    fn read_lots(
        &mut self,
        work: &Work,
        from: Lsn,
        lot: usize,
        workers: &mut Workers,
    ) -> Result<()> {
        let pager = &work.system.pager;
        let bytes = match work.observer.is_there() {
            true => 1,
            false => STRETCH_BYTES.min(pager.frame_count() * pager.page_size() / STRETCH_SHARE),
        };
        for first in (0..work.pages.len()).step_by(lot) {
            let lot = first as u32..(first + lot).min(work.pages.len()) as u32;
            let mut reader = pager.log.reader(from);
            let mut more = true;
            while more {
                let mut stretch = work.stretch(&lot);
                while more && stretch.bytes < bytes {
                    more = self.sort_next(work, &mut reader, &lot, &mut stretch)?;
                }
                if !workers.give(stretch) {
                    // One of them has met an error, and says so when all have ended.
                    return Ok(());
                }
            }
            if planted::active(Bug::LotsForgotten) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes in the next record; false at the end.
    fn sort_next(
        &mut self,
        work: &Work,
        reader: &mut Reader,
        lot: &Range<u32>,
        stretch: &mut Stretch,
    ) -> Result<bool> {
        // Not handed up with what was read: to move an error's room about for every record costs more than to sort it.
        let mut failed = None;
        let more = reader.see_next(|frame| {
            if let Err(error) = self.sort(work, frame, lot, stretch) {
                failed = Some(error);
            }
        });
        match (more, failed) {
            (_, Some(error)) => Err(error),
            (Ok(more), None) => Ok(more.is_some()),
            (Err(error), None) => Err(error.into()),
        }
    }

    fn sort(
        &mut self,
        work: &Work,
        frame: FrameView<'_>,
        lot: &Range<u32>,
        stretch: &mut Stretch,
    ) -> Result<()> {
        let (lsn, payload) = (frame.lsn, frame.payload);
        if lot.start == 0 {
            self.bytes += frame.end.get() - lsn.get();
        }
        let outline = Outline::decode(payload).map_err(|e| unreadable(lsn, &e))?;
        let forgotten =
            planted::active(Bug::ClrsNotRedone) && matches!(outline, Outline::Clr { .. });
        if forgotten {
            return Ok(());
        }
        let len = payload.len() as u32;
        let mut at = None;
        let mut push = |page: u32, parted| {
            if lot.contains(&page) {
                let head = Head { lsn, len, parted };
                let page = (page, (page - lot.start) as usize);
                stretch.push(page, work.bucket_pages, &mut at, (head, payload));
            }
        };
        if let Outline::Row { txn, page, .. } = outline {
            if self.skips(txn.unwrap_or(lsn)) {
                return Ok(());
            }
            self.tell_left_out(work, lsn, payload, page);
            if let Some(page) = self.missing(work, page, lsn) {
                push(page, false);
            }
            return Ok(());
        }
        let record = Record::decode(payload).map_err(|e| unreadable(lsn, &e))?;
        if record.txn(lsn).is_some_and(|txn| self.skips(txn)) {
            return Ok(());
        }
        for (page, _, _) in record.pages() {
            self.tell_left_out(work, lsn, payload, page);
        }
        let missing = |page: PageId| self.missing(work, page, lsn);
        let (mut left, mut here) = (0, false);
        for page in record.pages().filter_map(|(page, _, _)| missing(page)) {
            left += 1;
            here |= lot.contains(&page);
        }
        if left > 1 && here {
            let parted = Parted {
                kind: RecordKind::of(&record),
                left,
                applied: false,
            };
            work.parted.lock().entry(lsn).or_insert(parted);
        }
        let parts = match planted::active(Bug::OnePartRedone) {
            true => 1,
            false => usize::MAX,
        };
        for (page, _, _) in record.pages().take(parts) {
            if let Some(page) = missing(page) {
                push(page, left > 1);
            }
        }
        Ok(())
    }

    /// Which of the pages it is, if what happened to it then may be missing there.
    fn missing(&self, work: &Work, page: PageId, lsn: Lsn) -> Option<u32> {
        let (Place { n, from }, at) = (self.index.get(page)?, self.index.coarse(lsn));
        let missing = from < at || from == at && work.pages[n as usize].1 <= lsn;
        missing.then_some(n)
    }

    fn skips(&self, txn: Lsn) -> bool {
        !self.skipped.is_empty() && self.skipped.contains(&txn)
    }
}

impl Sorter {
    /// Tells of a change that redo need not look at the page for.
    fn tell_left_out(&self, work: &Work, lsn: Lsn, payload: &[u8], page: PageId) {
        if !work.observer.is_there() {
            return;
        }
        let rec_lsn = self
            .index
            .get(page)
            .map(|place| work.pages[place.n as usize].1);
        let decision = match rec_lsn {
            None => RedoDecision::NotDirty,
            Some(rec_lsn) if rec_lsn > lsn => RedoDecision::BeforeRecLsn,
            Some(_) => return,
        };
        work.observer.tell(&RecoveryStep::Redo {
            record: SeenRecord { lsn, payload },
            page: page.get(),
            rec_lsn,
            before: None,
            after: None,
            decision,
        });
    }
}

impl Work {
    /// An empty stretch for this lot of pages.
    fn stretch(&self, lot: &Range<u32>) -> Stretch {
        let used = self.used.lock().pop();
        let mut stretch = used.unwrap_or(Stretch {
            records: Vec::new(),
            buckets: Vec::new(),
            bytes: 0,
        });
        stretch.records.clear();
        stretch.buckets.iter_mut().for_each(Vec::clear);
        let buckets = lot.len().div_ceil(self.bucket_pages);
        stretch.buckets.resize_with(buckets, Vec::new);
        stretch.bytes = 0;
        stretch
    }

    /// Tells of a change whose page was looked at.
    fn tell(
        &self,
        lsn: Lsn,
        payload: &[u8],
        page: usize,
        (before, after): (Option<Lsn>, Option<Lsn>),
        decision: RedoDecision,
    ) {
        let (page, rec_lsn) = self.pages[page];
        self.observer.tell(&RecoveryStep::Redo {
            record: SeenRecord { lsn, payload },
            page: page.get(),
            rec_lsn: Some(rec_lsn),
            before,
            after,
            decision,
        });
    }

    /// Somebody has done with a stretch: the last of them leaves its memory for another one.
    pub(super) fn used(&self, stretch: Arc<Stretch>) {
        if let Some(stretch) = Arc::into_inner(stretch) {
            self.used.lock().push(stretch);
        }
    }
}

/// One worker's pages, and what it has done to them.
pub(super) struct Share {
    work: Arc<Work>,
    /// Which worker this is.
    which: usize,
    /// Which pages have been marked dirty already: once is enough, they may have been home since.
    marked: Vec<bool>,
    /// A bucket, by page, then by LSN.
    order: Vec<u64>,
    pub(super) redone: Redone,
    pub(super) kinds: Kinds,
}

/// An error of redo, and the record that it was met at.
pub(super) type Failed = (Lsn, crate::Error);

impl Share {
    pub(super) fn new(work: &Arc<Work>, which: usize) -> Share {
        Share {
            work: Arc::clone(work),
            which,
            marked: vec![false; work.pages.len()],
            order: Vec::new(),
            redone: Redone::default(),
            kinds: Kinds::default(),
        }
    }

    /// Redoes what a stretch holds for this worker.
    pub(super) fn redo(&mut self, stretch: &Stretch) -> std::result::Result<(), Failed> {
        let mine = stretch.buckets.iter().skip(self.which);
        let mut mine = mine.step_by(self.work.workers);
        mine.try_for_each(|bucket| self.redo_bucket(stretch, bucket))
    }

    fn redo_bucket(
        &mut self,
        stretch: &Stretch,
        bucket: &[u64],
    ) -> std::result::Result<(), Failed> {
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend_from_slice(bucket);
        order.sort_unstable();
        let of_one_page = |a: &u64, b: &u64| a >> 32 == b >> 32;
        let done = order.chunk_by(of_one_page).try_for_each(|places| {
            stretch.call_up(places);
            let changes = places.iter();
            let changes = changes.filter_map(|place| stretch.record(*place as u32));
            self.redo_page((places[0] >> 32) as usize, places.len(), changes)
        });
        self.order = order;
        done
    }

    /// Redoes these changes of one page.
    fn redo_page<'a>(
        &mut self,
        page: usize,
        count: usize,
        changes: impl Iterator<Item = (Head, &'a [u8])>,
    ) -> std::result::Result<(), Failed> {
        let work = Arc::clone(&self.work);
        let (pager, id) = (&work.system.pager, work.pages[page].0);
        let mut changes = changes.peekable();
        let Some((first, payload)) = changes.peek().map(|(head, payload)| (head.lsn, *payload))
        else {
            return Ok(());
        };
        let (mut frame, unwhole) = pager.fetch_for_redo(id).map_err(|e| (first, e))?;
        if frame.lsn() >= Some(work.end) {
            let what = format!(
                "its LSN {} is from beyond the end of the log, {}",
                or_none(frame.lsn()),
                work.end
            );
            return Err((first, pager.corrupt(id, what)));
        }
        if let Some(what) = unwhole {
            let mends = Record::see_part(payload, id, |_, _, op| op.makes_whole_page());
            let mends = mends.map_err(|e| (first, unreadable(first, &e)))?;
            if mends != Some(true) {
                frame.discard();
                let what = format!("{what}; redo at LSN {first} needs it whole");
                return Err((first, pager.corrupt(id, what)));
            }
        }
        if count >= CALLED_UP_FROM {
            let sum = frame
                .bytes()
                .iter()
                .step_by(64)
                .fold(0, |sum, byte| sum ^ byte);
            std::hint::black_box(sum);
        }
        // Nobody copies the page while its latch is held: marked once, it stays so.
        let mut marked = false;
        for (head, payload) in changes {
            let done = Record::see_part(payload, id, |kind, previous, op| {
                self.redo_change(
                    &mut frame,
                    page,
                    &mut marked,
                    (head, payload),
                    (kind, previous, op),
                )
            });
            let done = done.map_err(|e| (head.lsn, unreadable(head.lsn, &e)))?;
            done.expect("the record was sorted by its pages")?;
        }
        Ok(())
    }

    /// Redoes one change of a page, if it is missing there. `marked`: whether the page has been marked dirty since its latch was taken.
    fn redo_change(
        &mut self,
        frame: &mut Exclusive<'_>,
        page: usize,
        marked: &mut bool,
        (Head { lsn, parted, .. }, payload): (Head, &[u8]),
        (kind, previous, op): (RecordKind, Option<Lsn>, &PageOp<'_>),
    ) -> std::result::Result<(), Failed> {
        let work = &*self.work;
        let (pager, (id, rec_lsn)) = (&work.system.pager, work.pages[page]);
        let observed = work.observer.is_there();
        let before = frame.lsn();
        let decision = decide(before, lsn, previous, op.makes_whole_page());
        if observed && decision == Decision::LogMissing {
            let lsns = (before, before);
            work.tell(lsn, payload, page, lsns, RedoDecision::LogMissing);
        }
        // Also where it is there already: what was read may be in a page cache and nowhere else (T12).
        if !self.marked[page] {
            frame.mark_dirty(rec_lsn);
            (self.marked[page], *marked) = (true, true);
            self.redone.pages += 1;
        } else if !*marked && decision == Decision::Apply {
            frame.mark_dirty(lsn);
            *marked = true;
        }
        match decision {
            Decision::AlreadyThere => self.redone.already_there += 1,
            Decision::Apply => {
                apply(frame, op)
                    .map_err(|e| (lsn, pager.corrupt(id, format!("redo at LSN {lsn}: {e}"))))?;
                frame.set_lsn(lsn);
                self.redone.applied += 1;
            }
            Decision::LogMissing => {
                let what = format!(
                    "PAGE-3: its LSN is {}, but the record at LSN {lsn} changed it from {}: a write was lost, or log is \
                     missing",
                    or_none(frame.lsn()),
                    or_none(previous)
                );
                return Err((lsn, pager.corrupt(id, what)));
            }
        }
        let applied = decision == Decision::Apply;
        if observed {
            let told = match applied {
                true => RedoDecision::Applied,
                false => RedoDecision::PageNewer,
            };
            work.tell(lsn, payload, page, (before, frame.lsn()), told);
        }
        if parted {
            self.count_part(lsn, applied);
        } else {
            self.kinds.redo(kind, applied);
        }
        Ok(())
    }

    /// A record of several pages counts when all its parts have been looked at.
    fn count_part(&mut self, lsn: Lsn, applied: bool) {
        let mut parted = self.work.parted.lock();
        let Some(record) = parted.get_mut(&lsn) else {
            return;
        };
        record.left -= 1;
        record.applied |= applied;
        if record.left == 0 {
            self.kinds.redo(record.kind, record.applied);
            parted.remove(&lsn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_of_the_three_way_test() {
        let lsn = |value| Lsn::new(value).expect("not zero");
        let (old, prev, record, new) = (Some(lsn(5)), Some(lsn(10)), lsn(20), Some(lsn(30)));
        assert_eq!(decide(prev, record, prev, false), Decision::Apply);
        assert_eq!(
            decide(Some(record), record, prev, false),
            Decision::AlreadyThere
        );
        assert_eq!(decide(new, record, prev, false), Decision::AlreadyThere);
        assert_eq!(decide(old, record, prev, false), Decision::LogMissing);
        assert_eq!(
            decide(Some(lsn(15)), record, prev, false),
            Decision::LogMissing
        );
        assert_eq!(decide(None, record, prev, false), Decision::LogMissing);
        assert_eq!(decide(old, record, None, true), Decision::Apply);
        assert_eq!(decide(None, record, None, true), Decision::Apply);
        assert_eq!(decide(new, record, None, true), Decision::AlreadyThere);
    }
}
