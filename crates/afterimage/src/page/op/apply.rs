//! The one mutator of pages.
//!
//! [`apply`] first finds out everything that can go wrong, which is all in [`plan`](super::plan), and only then changes the
//! page: it changes all or nothing. Forward work does it in its two halves: [`checked_op`] before it logs, so that after the
//! record is in the log the change cannot fail, and then [`apply_checked`]. In redo and undo a failure means that page and
//! log do not belong together.

use super::super::cell::{GHOST, InnerCell, LARGE, LeafCell, PLAIN};
use super::super::slotted::{NewCell, common_prefix};
use super::super::{Kind, Page};
use super::PageOp;
use super::codec::Runs;
use super::plan::{ApplyError, Step, plan, read_cell};
use crate::codec::Reader;
use crate::ids::TableId;

/// Changes the page as the operation says, or not at all. The page LSN is the caller's to stamp; an operation that makes
/// a whole page leaves none.
///
/// # Errors
///
/// What [`check_op`] says; never after it said yes.
#[inline]
pub(crate) fn apply(page: &mut Page, op: &PageOp<'_>) -> Result<(), ApplyError> {
    let step = plan(page, op)?;
    perform(page, op, step);
    Ok(())
}

/// Whether [`apply`] will succeed.
///
/// # Errors
///
/// Why it would not.
pub(crate) fn check_op(page: &Page, op: &PageOp<'_>) -> Result<(), ApplyError> {
    plan(page, op).map(drop)
}

/// What the first half of [`apply`] has found: the second need not look for it again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked(Step);

/// The first half of [`apply`].
///
/// # Errors
///
/// As [`check_op`].
#[inline]
pub(crate) fn checked_op(page: &Page, op: &PageOp<'_>) -> Result<Checked, ApplyError> {
    plan(page, op).map(Checked)
}

/// The second half of [`apply`]: `checked` is what [`checked_op`] has said of this page, as it still is, and this operation.
#[inline]
pub(crate) fn apply_checked(page: &mut Page, op: &PageOp<'_>, checked: Checked) {
    let Checked(step) = checked;
    debug_assert_eq!(
        plan(page, op),
        Ok(step),
        "MUT-1: what was checked is what is done"
    );
    perform(page, op, step);
}

#[inline]
fn perform(page: &mut Page, op: &PageOp<'_>, step: Step) {
    match (op, step) {
        (PageOp::Format { .. }, _) => perform_format(page, op),
        (PageOp::FileHeader(header), _) => page.format_file_header(header),
        (PageOp::Free { id }, _) => page.format(Kind::Free, 0, TableId::NONE, *id),
        (PageOp::RemoveChild { .. }, Step::Cell(index)) => page.remove_cell(index),
        (
            PageOp::Overflow {
                id,
                tree,
                position,
                next,
                data,
            },
            _,
        ) => page.format_overflow(*id, *tree, *position, *next, data),
        (PageOp::PutCell { key, value, flags }, Step::At(at)) => {
            page.put_cell(
                at,
                &NewCell::Leaf(LeafCell {
                    flags: *flags,
                    key,
                    value,
                }),
            );
        }
        (PageOp::SetGhost { ghost, .. }, Step::Cell(index)) => {
            let large = page.leaf_cell(index).flags & LARGE;
            page.set_cell_flags(index, large | if *ghost { GHOST } else { PLAIN });
        }
        (PageOp::XorValue { runs, .. }, Step::Cell(index)) => {
            let fits = xor_value(page.value_mut(index), runs);
            assert!(fits, "the runs were walked before");
        }
        (PageOp::RemoveCells { keys }, _) => {
            for key in keys {
                let index = page.search(key).expect("every key was found before");
                page.remove_cell(index);
            }
        }
        (PageOp::SplitLeft { separator, right }, Step::At(at)) => {
            let (Ok(first) | Err(first)) = at;
            page.truncate_cells(first);
            page.set_high_fence(Some(separator));
            page.set_right_link(Some(*right));
            page.truncate_prefix();
        }
        (PageOp::InsertChild { separator, child }, Step::At(at)) => {
            // It lies between the fences, so that it begins with all that they have in common.
            let key = &separator[page.prefix_len()..];
            let child = *child;
            page.put_cell(at, &NewCell::Inner(InnerCell { key, child }));
        }
        (
            PageOp::MapSet {
                first_index,
                count,
                bits,
            },
            _,
        ) => {
            (*first_index..first_index + count).for_each(|index| page.map_set(index, *bits));
        }
        (op, _) => unreachable!("a step that is not one of {}", op.name()),
    }
}

fn perform_format(page: &mut Page, op: &PageOp<'_>) {
    let PageOp::Format {
        id,
        kind,
        level,
        tree,
        low,
        high,
        right,
        cells,
    } = op
    else {
        unreachable!("only a format is performed as one");
    };
    if *kind == Kind::Map {
        page.format_map(*id, cells);
        return;
    }
    page.format_slotted(*kind, *level, *tree, *id);
    page.set_right_link(*right);
    page.set_low_fence(low.as_deref());
    page.set_high_fence(high.as_deref());
    page.set_prefix_len(common_prefix(low.as_deref(), high.as_deref()));
    let mut reader = Reader::new(cells);
    while !reader.is_at_end() {
        let cell = read_cell(*kind, &mut reader).expect("the cells were read before");
        page.put_cell(Err(page.cell_count()), &cell);
    }
}

/// Changes the bytes of a value that a XOR change has runs for. False where they do not fit it; then it is half done.
pub(crate) fn xor_value(value: &mut [u8], runs: &[u8]) -> bool {
    Runs::new(runs).all(|run| {
        let Ok((at, bytes)) = run else { return false };
        let part = at
            .checked_add(bytes.len())
            .and_then(|end| value.get_mut(at..end));
        let Some(part) = part else { return false };
        part.iter_mut()
            .zip(bytes)
            .for_each(|(byte, change)| *byte ^= change);
        true
    })
}
