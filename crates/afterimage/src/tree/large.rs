//! Large values: bytes in extents of overflow pages, written once, read from any place, never changed.
//!
//! Nobody holds a latch from page to page. The row that has the address is locked while the value is read, or a snapshot
//! keeps its pages from being freed; a page that is not what the address promises is damage.

use afterimage_log::Log;

use crate::buffer::Pager;
use crate::error::Result;
use crate::ids::{PageId, TableId};
use crate::limits::{LARGE_VALUE_BYTES_MAX, overflow_bytes, structure_bytes_max};
use crate::page::{Address, Extent, Kind, PageOp};
use crate::record::{PagePart, Record, Structure, StructureKind};

/// How many pages a value of `len` bytes takes.
pub(crate) fn pages_for(len: u64, page_size: usize) -> u64 {
    len.div_ceil(overflow_bytes(page_size) as u64)
}

/// Makes `page` hold the bytes of a value from `position` on, in a record of its own. The page must be the caller's: nobody
/// looks at it yet.
pub(crate) fn write_page(
    pager: &Pager,
    tree: TableId,
    page: PageId,
    position: u64,
    next: Option<Extent>,
    data: &[u8],
) -> Result<()> {
    let bytes = Log::frame_bytes(structure_bytes_max(pager.page_size()), false);
    let mut reservation = pager.reserve(bytes)?;
    let _permit = pager.permit();
    let mut frame = pager.frame_for_new(page)?;
    let part = PagePart {
        page,
        page_prev: frame.lsn(),
        op: PageOp::Overflow {
            id: page,
            tree,
            position,
            next,
            data: data.into(),
        },
    };
    let record = Record::Structure(Structure {
        kind: StructureKind::LargeValue,
        parts: vec![part],
    });
    let pages = &mut [&mut frame];
    let done = pager.mutate(&mut reservation, &record, pages, false, &mut |_, _| ());
    frame.kept_if(done.map(drop))
}

/// A large value that is being read.
#[derive(Debug)]
pub(crate) struct Large {
    tree: TableId,
    logged: bool,
    address: Address,
    /// The extents found so far, each behind the number of pages before it.
    extents: Vec<(u64, Extent)>,
}

impl Large {
    /// # Errors
    ///
    /// `PageCorrupt` for an address of more bytes than the file holds.
    pub(crate) fn new(pager: &Pager, tree: TableId, address: Address) -> Result<Large> {
        let pages = pages_for(address.len, pager.page_size());
        let most = pager.page_counts().0;
        if address.len > LARGE_VALUE_BYTES_MAX
            || pages > most
            || u64::from(address.first.pages) > most
        {
            let what = format!("a value of {} bytes cannot begin here", address.len);
            return Err(pager.corrupt(address.first.first, what));
        }
        Ok(Large {
            tree,
            logged: pager.is_logged(),
            address,
            extents: vec![(0, address.first)],
        })
    }

    /// Whether it is in `pages`, not in `unlogged`.
    pub(crate) fn is_logged(&self) -> bool {
        self.logged
    }

    /// Bytes of the whole value.
    pub(crate) fn len(&self) -> u64 {
        self.address.len
    }

    /// Fills `into` with the value's bytes from `offset` on, and says how many there were.
    pub(crate) fn read_at(&mut self, pager: &Pager, offset: u64, into: &mut [u8]) -> Result<usize> {
        let in_page = overflow_bytes(pager.page_size()) as u64;
        let mut done = 0;
        while done < into.len() && offset + (done as u64) < self.address.len {
            let at = offset + done as u64;
            let page = self.page(pager, at / in_page)?;
            let skip = (at % in_page) as usize;
            done += self.look(pager, page, at - skip as u64, |data, _| {
                let data = data.get(skip..).unwrap_or_default();
                let count = data.len().min(into.len() - done);
                into[done..done + count].copy_from_slice(&data[..count]);
                count
            })?;
        }
        Ok(done)
    }

    /// All of it.
    pub(crate) fn read_all(&mut self, pager: &Pager) -> Result<Vec<u8>> {
        let mut value = vec![0; self.address.len as usize];
        self.read_at(pager, 0, &mut value)?;
        Ok(value)
    }

    /// Every extent that it lies in. Reads the first page of each but the last.
    pub(crate) fn extents(&mut self, pager: &Pager) -> Result<Vec<Extent>> {
        self.page(pager, pages_for(self.address.len, pager.page_size()) - 1)?;
        Ok(self.extents.iter().map(|(_, extent)| *extent).collect())
    }

    /// Which page holds the value's page `index`.
    fn page(&mut self, pager: &Pager, index: u64) -> Result<PageId> {
        loop {
            let behind = self.extents.partition_point(|(before, _)| *before <= index);
            let (before, extent) = self.extents[behind - 1];
            let inside = index - before;
            if inside < u64::from(extent.pages) {
                return Ok(PageId(extent.first.get().saturating_add(inside)));
            }
            // It lies behind the last extent known so far.
            let position = before * overflow_bytes(pager.page_size()) as u64;
            let next = self.look(pager, extent.first, position, |_, next| next)?;
            let next = next.ok_or_else(|| {
                let what = "the value goes on, but no page follows".to_owned();
                pager.corrupt(extent.first, what)
            })?;
            self.extents.push((before + u64::from(extent.pages), next));
        }
    }

    /// Shows `look` the bytes of a page, which must be those at `position`, and the extent behind the page's own.
    fn look<R>(
        &self,
        pager: &Pager,
        id: PageId,
        position: u64,
        look: impl FnOnce(&[u8], Option<Extent>) -> R,
    ) -> Result<R> {
        let _permit = pager.permit();
        let page = pager.fetch_shared(id)?;
        let here = (self.address.len - position).min(overflow_bytes(pager.page_size()) as u64);
        let right = page.kind() == Some(Kind::Overflow)
            && page.tree() == self.tree
            && page.overflow_position() == position
            && page.overflow_data().len() as u64 == here;
        if right {
            return Ok(look(page.overflow_data(), page.next_extent()));
        }
        let what = format!(
            "it is not the page with the bytes from {position} on of a value of {} bytes of tree {}",
            self.address.len, self.tree
        );
        Err(pager.corrupt(id, what))
    }
}
