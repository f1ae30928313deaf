//! What would make an open fail, found before anything is written: a database that is refused is left as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use afterimage_io::Io;
use afterimage_log::{Frame, FrameKind, Log, Lsn};

use super::Decided;
use super::analysis::unreadable;
use crate::buffer::{Found, Store};
use crate::checkpoint::Stop;
use crate::error::{Error, Result};
use crate::ids::PageId;
use crate::limits::map_pages;
use crate::page::{Kind, Page};
use crate::record::Record;

/// After a clean stop every page is home, so whatever would make this open fail can be seen before anything is written:
/// the file header, the allocation maps, the catalogue.
pub(super) fn check_before_opening(store: &Store) -> Result<()> {
    let mut page = Page::new(store.page_size());
    store.read(PageId::FILE_HEADER, &mut page)?;
    let (maps, pages) = (map_pages(store.page_size()), store.page_count()?);
    for map in (0..)
        .map(|n| PageId(1 + n * maps))
        .take_while(|map| map.get() < pages)
    {
        match store.look(map, &mut page)? {
            Found::Bad(what) => return Err(store.corrupt(map, what)),
            Found::Never => store.check_unmade_map(map, pages)?,
            Found::Good => {}
        }
    }
    let (mut todo, mut seen) = (vec![PageId::CATALOGUE_ROOT], BTreeSet::new());
    while let Some(id) = todo.pop() {
        store.read(id, &mut page)?;
        if seen.insert(id) && page.kind() == Some(Kind::Inner) {
            todo.extend((0..page.cell_count()).map(|index| page.child(index)));
        }
    }
    Ok(())
}

/// Refuses a file of an older stop, of which each page is sound. After a clean stop it is as that has left it; after any other
/// it is younger, and no younger than the log, which ends at `end`. Returns whether page 0 is good: after a stop that was not clean it may be torn,
/// and then [`check_mendable`] has to find what mends it.
pub(super) fn check_stop(store: &Store, stop: Stop, clean: bool, end: Lsn) -> Result<bool> {
    let mut page = Page::new(store.page_size());
    let (found, pages) = (
        store.look(PageId::FILE_HEADER, &mut page)?,
        store.page_count()?,
    );
    let right = match found {
        // A longer one is that of a shrinking whose sync failed in a process before: the stop saw the shorter one in the page cache.
        Found::Good if clean => page.lsn() == Some(stop.lsn) && pages >= stop.pages,
        Found::Good => (Some(stop.lsn)..Some(end)).contains(&page.lsn()),
        Found::Never | Found::Bad(_) => !clean && pages > 0,
    };
    if right {
        return Ok(matches!(found, Found::Good));
    }
    Err(Error::Corruption {
        place: format!("{}, page 0", store.path().display()),
        what: format!(
            "this is not the file that the last clean stop has left, with LSN {} and {} pages, or what came of it, but one with LSN {} and \
             {pages} pages: another copy of it was put here, or the disk has taken writes back",
            stop.lsn,
            stop.pages,
            page.lsn().map_or(0, Lsn::get)
        ),
        advice: "nothing was changed; put back the file that belongs to this control file and log, or restore the whole \
                 directory from one backup"
            .to_owned(),
    })
}

/// Where copies of pages could not be read, a recovery would write the area anew without them. So first each page that it
/// will need is looked at: one that is bad, has no copy that can be read, and is not made whole by its first record, refuses the
/// open here, while another try, or another tool, still finds what there is of its copy. `head_is_good`: page 0 is, or was never part of a clean
/// stop. A clean stop changes it without a record, so that no table of dirty pages tells of it.
pub(super) fn check_mendable(
    io: &Io,
    directory: &Path,
    decided: &Decided,
    store: &Store,
    head_is_good: bool,
) -> Result<()> {
    let end = decided.examination.end;
    let frames = |from: Lsn| -> Result<_> {
        let frames = Log::scan(io, directory, &decided.control, Some(from))?;
        let frames = frames.take_while(move |f| f.as_ref().map_or(true, |f| f.frame.lsn < end));
        Ok(frames.filter_map(|found| match found {
            Ok(found) => (found.kind == FrameKind::Data).then_some(Ok(found.frame)),
            Err(error) => Some(Err(Error::from(error))),
        }))
    };
    let mended: BTreeSet<PageId> = decided.copies.iter().map(|copy| copy.page).collect();
    let refusal = |id, what: &str| {
        store.corrupt(
            id,
            format!(
                "{what}; the doublewrite area has no copy of it that can be read, and recovery needs one of them; nothing was changed"
            ),
        )
    };
    let (mut bad, mut page) = (BTreeMap::new(), Page::new(store.page_size()));
    let head = PageId::FILE_HEADER;
    let mut look = |id: PageId| -> Result<Option<String>> {
        Ok(match store.look(id, &mut page)? {
            Found::Bad(what) => Some(what),
            Found::Never if id == head && !head_is_good => Some("every byte is zero".to_owned()),
            Found::Good | Found::Never => None,
        })
    };
    if !decided.analysis.is_dirty(head)
        && !mended.contains(&head)
        && !head_is_good
        && let Some(what) = look(head)?
    {
        return Err(refusal(head, &what));
    }
    for (id, rec_lsn) in decided.analysis.dirty() {
        if !mended.contains(&id)
            && let Some(what) = look(id)?
        {
            bad.insert(id, (rec_lsn, what));
        }
    }
    let Some(from) = bad.values().map(|(rec_lsn, _)| *rec_lsn).min() else {
        return Ok(());
    };
    for frame in frames(from)? {
        let frame: Frame = frame?;
        let record = Record::decode(&frame.payload).map_err(|e| unreadable(frame.lsn, &e))?;
        record.try_for_each_page(|id, _, op| match bad.get(&id) {
            Some((rec_lsn, _)) if *rec_lsn > frame.lsn => Ok(()),
            Some((_, what)) if !op.makes_whole_page() => Err(refusal(id, what)),
            _ => {
                bad.remove(&id);
                Ok(())
            }
        })?;
    }
    Ok(())
}
