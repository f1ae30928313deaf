//! Random operations on a leaf, an inner page and a map, next to an ordered map that does the same.
//!
//! The model knows how many bytes each cell takes, so it foretells not only the contents but also every refusal: an
//! operation is refused when the model refuses it, and then no byte of the page has changed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::map::{USED, is_map_page, map_page, map_position};
use super::super::{
    GHOST, InnerCell, Kind, PLAIN, Page, PageOp, apply, check_op, inner_bytes, leaf_bytes,
};
use super::{ID, SIZE, TREE, cases, empty_leaf, formatted, key, value};
use crate::ids::PageId;
use crate::limits::{CELL_ENTRY_BYTES, PAGE_HEADER_BYTES};

#[derive(Clone, Debug)]
enum Action {
    Put {
        key: Vec<u8>,
        value: Vec<u8>,
        flags: u8,
    },
    Ghost {
        key: Vec<u8>,
        ghost: bool,
    },
    Flip {
        key: Vec<u8>,
        mask: Vec<u8>,
    },
    Remove {
        key: Vec<u8>,
    },
    Split {
        key: Vec<u8>,
    },
    Rebuild,
}

impl Action {
    /// The same with `front` before its key.
    fn behind(mut self, front: &[u8]) -> Action {
        match &mut self {
            Action::Put { key, .. }
            | Action::Ghost { key, .. }
            | Action::Flip { key, .. }
            | Action::Remove { key }
            | Action::Split { key } => drop(key.splice(0..0, front.iter().copied())),
            Action::Rebuild => {}
        }
        self
    }
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => (key(), value(), 0u8..=1).prop_map(|(key, value, flags)| Action::Put { key, value, flags }),
        3 => (key(), any::<bool>()).prop_map(|(key, ghost)| Action::Ghost { key, ghost }),
        3 => (key(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(key, mask)| Action::Flip { key, mask }),
        4 => key().prop_map(|key| Action::Remove { key }),
        1 => key().prop_map(|key| Action::Split { key }),
        1 => Just(Action::Rebuild),
    ]
}

#[derive(Clone, Default, Debug)]
struct Model {
    cells: BTreeMap<Vec<u8>, (u8, Vec<u8>)>,
    /// No bytes: no fence.
    low: Vec<u8>,
    high: Option<Vec<u8>>,
}

impl Model {
    fn bytes(&self) -> usize {
        let cells: usize = self
            .cells
            .iter()
            .map(|(key, (_, value))| CELL_ENTRY_BYTES + leaf_bytes(key.len(), value.len()))
            .sum();
        PAGE_HEADER_BYTES + cells + self.low.len() + self.high.as_ref().map_or(0, Vec::len)
    }

    fn covers(&self, key: &[u8]) -> bool {
        self.low.as_slice() <= key && self.high.as_ref().is_none_or(|high| key < high.as_slice())
    }

    /// The model after the operation; `None`: the operation is refused.
    fn apply(&self, op: &PageOp<'_>) -> Option<Model> {
        let mut next = self.clone();
        let covers = |key: &[u8]| self.covers(key);
        match op {
            PageOp::PutCell { key, value, flags } => {
                if !covers(key) || key.len() > SIZE / 8 || value.len() > SIZE / 4 {
                    return None;
                }
                next.cells.insert(key.to_vec(), (*flags, value.to_vec()));
            }
            PageOp::SetGhost { key, ghost } => {
                next.cells.get_mut(&**key).filter(|_| covers(key))?.0 = u8::from(*ghost);
            }
            PageOp::XorValue { key, runs } => {
                let (flags, value) = next.cells.get_mut(&**key)?;
                if *flags == GHOST {
                    return None;
                }
                // The tests' XOR is one run from the start: gap 0, a length of one byte, the bytes.
                value
                    .iter_mut()
                    .zip(&runs[2..])
                    .for_each(|(byte, mask)| *byte ^= mask);
            }
            PageOp::RemoveCells { keys } => {
                for key in keys {
                    next.cells.remove(&**key)?;
                }
            }
            PageOp::SplitLeft { separator, .. } => {
                let too_long = separator.len() > SIZE / 8;
                if **separator <= *self.low || !covers(separator) || too_long {
                    return None;
                }
                next.cells.split_off(&**separator);
                next.high = Some(separator.to_vec());
            }
            other => panic!("not an operation of this test: {other:?}"),
        }
        (next.bytes() <= SIZE).then_some(next)
    }

    fn assert_is(&self, page: &Page) {
        page.check().expect("sound after every operation");
        assert_eq!(page.high_fence(), self.high.as_deref());
        assert_eq!(page.low_fence().unwrap_or_default(), self.low);
        assert_eq!(page.cell_count(), self.cells.len());
        assert_eq!(page.room(), SIZE - self.bytes());
        for (index, (key, (flags, value))) in self.cells.iter().enumerate() {
            let cell = page.leaf_cell(index);
            assert_eq!(
                (cell.key, cell.flags, cell.value),
                (key.as_slice(), *flags, value.as_slice())
            );
            assert_eq!(page.search(key), Ok(index));
            assert_eq!(page.key(index), key.as_slice());
        }
    }
}

fn to_op<'a>(model: &Model, action: &'a Action) -> Option<PageOp<'a>> {
    Some(match action {
        Action::Put { key, value, flags } => PageOp::PutCell {
            key: key.into(),
            value: value.into(),
            flags: *flags,
        },
        Action::Ghost { key, ghost } => PageOp::SetGhost {
            key: key.into(),
            ghost: *ghost,
        },
        Action::Flip { key, mask } => {
            let len = model.cells.get(key)?.1.len().min(mask.len());
            let runs = [&[0, len as u8], &mask[..len]].concat();
            PageOp::XorValue {
                key: key.into(),
                runs: Cow::Owned(runs),
            }
        }
        Action::Remove { key } => PageOp::RemoveCells {
            keys: vec![key.into()],
        },
        Action::Split { key } => PageOp::split_left(key, PageId(9)),
        Action::Rebuild => return None,
    })
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn a_leaf_does_what_an_ordered_map_does(
        actions in prop::collection::vec((action(), 0..12), 1..80),
        low in prop_oneof![Just(Vec::new()), prop::collection::vec(b'j'..=b'l', 1..200)],
    ) {
        let mut page = formatted(&PageOp::Format {
            id: super::ID,
            kind: super::super::Kind::Leaf,
            level: 0,
            tree: super::TREE,
            low: (!low.is_empty()).then(|| low.as_slice().into()),
            high: None,
            right: None,
            cells: Cow::Borrowed(&[]),
        });
        let mut model = Model { low, ..Model::default() };
        for (action, dice) in actions {
            // Most keys lie above the fence, close to it: once there is a high fence too, all have most of it in common.
            let action = &if dice == 11 { action } else { action.behind(&model.low) };
            if matches!(action, Action::Rebuild) {
                page = formatted(&PageOp::image_of(&page).into_owned());
                model.assert_is(&page);
                prop_assert_eq!(page.garbage(), 0);
            }
            let Some(op) = to_op(&model, action) else { continue };
            if let PageOp::PutCell { key, value, .. } = &op && model.covers(key) {
                prop_assert_eq!(page.fits_put(key, value.len()), {
                    let mut with = model.clone();
                    with.cells.insert(key.to_vec(), (0, value.to_vec()));
                    with.bytes() <= SIZE
                });
                if !model.cells.contains_key(&**key) {
                    prop_assert_eq!(page.fits_put(key, value.len()), page.fits_leaf(key.len(), value.len()));
                }
            }
            let before = page.clone();
            let allowed = check_op(&page, &op);
            prop_assert_eq!(apply(&mut page, &op), allowed);
            match model.apply(&op) {
                Some(next) => {
                    prop_assert!(allowed.is_ok(), "refused: {:?}", allowed);
                    model = next;
                }
                None => {
                    prop_assert!(allowed.is_err(), "not refused: {:?}", op);
                    prop_assert_eq!(&before, &page, "a refused operation changes nothing");
                }
            }
            model.assert_is(&page);
        }
    }

    /// What is in a page decides what an operation does, not where in the page it stands.
    #[test]
    fn garbage_makes_no_difference(actions in prop::collection::vec(action(), 1..60), last in action()) {
        let mut page = empty_leaf();
        let mut model = Model::default();
        for action in &actions {
            if let Some(op) = to_op(&model, action) && apply(&mut page, &op).is_ok() {
                model = model.apply(&op).expect("the model agrees");
            }
        }
        let mut packed = formatted(&PageOp::image_of(&page));
        if let Some(op) = to_op(&model, &last) {
            prop_assert_eq!(apply(&mut page, &op), apply(&mut packed, &op));
        }
        prop_assert_eq!(PageOp::image_of(&page), PageOp::image_of(&packed));
    }

    /// Both halves of a split together are the page that was split.
    #[test]
    fn a_split_loses_nothing(rows in prop::collection::btree_map(key(), (0u8..=1, value()), 2..40)) {
        let mut page = empty_leaf();
        let mut kept = BTreeMap::new();
        for (key, (flags, value)) in rows {
            let op = PageOp::PutCell { key: Cow::Owned(key.clone()), value: Cow::Owned(value.clone()), flags };
            if apply(&mut page, &op).is_ok() {
                kept.insert(key, (flags, value));
            }
        }
        prop_assume!(page.cell_count() >= 2);
        let first = page.split_index();
        for at in 0..=page.cell_count() {
            // Behind the last cell: the next possible key.
            let key = if at < page.cell_count() { page.key(at).to_vec() } else { [&page.key(at - 1), &b"\0"[..]].concat() };
            if key.len() > SIZE / 8 {
                continue;
            }
            let allowed = check_op(&page, &PageOp::split_left(&key, PageId(9)));
            prop_assert_eq!(allowed.is_ok(), !key.is_empty() && page.fits_split(at, key.len()));
            prop_assert!(at == page.cell_count() || page.fits_split(at, key.len()));
        }
        prop_assert!(first >= 1 && first < page.cell_count());
        let (left, right) = (page.key(first - 1).into_owned(), page.key(first).into_owned());
        let separator = super::super::separator(&left, &right).to_vec();
        prop_assert!(left < separator && separator <= right);
        let right_op = PageOp::format_from(PageId(9), &page, first..page.cell_count(), Some(&separator), None, None);
        let right = formatted(&right_op);
        apply(&mut page, &PageOp::split_left(&separator, PageId(9))).expect("the separator has room");
        page.check().expect("sound");
        prop_assert_eq!(page.right_link(), Some(PageId(9)));
        prop_assert_eq!(page.high_fence(), right.low_fence());
        let both = [&page, &right].into_iter().flat_map(|page| {
            (0..page.cell_count()).map(|index| {
                let cell = page.leaf_cell(index);
                (cell.key.to_vec(), (cell.flags, cell.value.to_vec()))
            })
        });
        prop_assert_eq!(both.collect::<BTreeMap<_, _>>(), kept);
    }

    /// With bounds on both sides the keys have a prefix in common, which the cells leave out; nobody outside sees that.
    #[test]
    fn an_inner_page_does_what_an_ordered_map_does(
        prefix in prop_oneof![Just(Vec::new()), prop::collection::vec(b'j'..=b'l', 1..200)],
        keys in prop::collection::vec((key(), 10u64..1000, 0u8..12), 1..60),
    ) {
        let low = (!prefix.is_empty()).then(|| prefix.clone());
        // A split moves the bounds together, and what they have in common grows.
        let half = prefix.len() / 2;
        let mut high = low.is_some().then(|| [&prefix[..half], b"~"].concat());
        let mut first = Vec::new();
        InnerCell { key: &prefix[half..], child: PageId(50) }.append_to(&mut first);
        let mut page = formatted(&PageOp::Format {
            id: ID,
            kind: Kind::Inner,
            level: 1,
            tree: TREE,
            low: low.as_deref().map(Cow::Borrowed),
            high: high.as_deref().map(Cow::Borrowed),
            right: None,
            cells: first.into(),
        });
        let mut model = BTreeMap::from([(prefix.clone(), PageId(50))]);
        for (key, child, dice) in keys {
            let key = if dice == 11 { key } else { [&prefix[..], &key].concat() };
            let before = page.clone();
            let is_covered = low.as_ref().is_none_or(|low| low <= &key) && high.as_ref().is_none_or(|high| &key < high);
            prop_assert_eq!(page.covers(&key), is_covered);
            if dice == 0 {
                let split = PageOp::split_left(&key, PageId(9));
                let is_allowed = is_covered && key > prefix && model.contains_key(&key);
                prop_assert_eq!(check_op(&page, &split).is_ok(), is_allowed);
                if is_allowed {
                    let at = page.search(&key).expect("it is there");
                    let right = PageOp::format_from(PageId(9), &page, at..page.cell_count(), Some(&key), high.as_deref(), None);
                    let right = formatted(&right);
                    apply(&mut page, &split).expect("it was checked");
                    let gone = model.split_off(&key);
                    prop_assert_eq!(children(&right), gone.clone());
                    let merged = PageOp::format_merged(&page, &right, &|_| true);
                    let bytes = PAGE_HEADER_BYTES + page.merged_bytes(&right, &|_| true);
                    prop_assert_eq!(bytes, bytes_of(model.iter().chain(&gone), &low, &high));
                    prop_assert_eq!(check_op(&page, &merged).is_ok(), bytes <= SIZE);
                    prop_assert_eq!(children(&formatted(&merged)), children(&before));
                    high = Some(key.clone());
                }
            } else {
                let bytes = bytes_of(model.iter().chain([(&key, &PageId(child))]), &low, &high);
                if is_covered {
                    prop_assert_eq!(page.fits_child(key.len()), bytes <= SIZE);
                }
                let done = apply(&mut page, &PageOp::insert_child(&key, PageId(child)));
                let is_allowed = is_covered && !model.contains_key(&key) && key.len() <= SIZE / 8 && bytes <= SIZE;
                prop_assert_eq!(done.is_ok(), is_allowed, "{:?}", done);
                if is_allowed {
                    model.insert(key.clone(), PageId(child));
                }
            }
            if before != page {
                page.check().expect("sound after every operation");
            }
            prop_assert_eq!(children(&page), model.clone());
            prop_assert_eq!(children(&formatted(&PageOp::image_of(&page))), model.clone());
            prop_assert_eq!(page.search(&key).is_ok(), model.contains_key(&key));
            if page.covers(&key) {
                let (lower, expected) = model.range(..=key.clone()).next_back().expect("the first key is the lowest");
                prop_assert_eq!(page.child_for(&key), (model.range(..lower.clone()).count(), *expected));
            }
            prop_assert_eq!(page.high_fence(), high.as_deref());
        }
    }

    #[test]
    fn a_map_does_what_an_array_does(sets in prop::collection::vec((0u32..9000, 0u32..300, any::<bool>()), 1..30)) {
        let mut page = formatted(&PageOp::format_empty_map(PageId::FIRST_MAP));
        let mut model = vec![false; 2 * SIZE];
        model[0] = true;
        for (first, count, used) in sets {
            let end = first as usize + count as usize;
            let allowed = end <= model.len() && (first > 0 || used);
            prop_assert_eq!(apply(&mut page, &PageOp::map_set(first, count, used)).is_ok(), allowed);
            if allowed {
                model[first as usize..end].fill(used);
            }
            page.check().expect("sound after every operation");
            for from in [0, first.min(8000), 8191] {
                let free = model[from as usize..].iter().position(|used| !used).map(|at| at as u32 + from);
                prop_assert_eq!(page.find_free(from), free);
            }
        }
        let found: Vec<bool> = (0..page.map_len()).map(|index| page.map_get(index) == USED).collect();
        prop_assert_eq!(found, model);
        let again = formatted(&PageOp::image_of(&page));
        prop_assert_eq!(again.bytes(), page.bytes());
    }
}

#[test]
fn maps_stand_at_their_distance_and_speak_for_every_page() {
    assert_eq!(map_position(PageId(0), SIZE), None);
    let interval = 2 * SIZE as u64;
    for page in [
        1,
        2,
        3,
        interval - 1,
        interval,
        interval + 1,
        interval + 2,
        5 * interval,
        5 * interval + 1,
    ] {
        let (map, index) =
            map_position(PageId(page), SIZE).expect("every page but the first has bits");
        assert_eq!((map.get() - 1) % interval, 0);
        assert!(u64::from(index) < interval);
        assert_eq!(map_page(map, index), PageId(page));
        assert_eq!(is_map_page(PageId(page), SIZE), index == 0);
    }
}

fn children(page: &Page) -> BTreeMap<Vec<u8>, PageId> {
    (0..page.cell_count())
        .map(|index| (page.key(index).into_owned(), page.child(index)))
        .collect()
}

/// Bytes of a page with these children between these fences.
fn bytes_of<'a>(
    children: impl Iterator<Item = (&'a Vec<u8>, &'a PageId)>,
    low: &Option<Vec<u8>>,
    high: &Option<Vec<u8>>,
) -> usize {
    let len = |fence: &Option<Vec<u8>>| fence.as_ref().map_or(0, Vec::len);
    let prefix = match (low, high) {
        (Some(low), Some(high)) => (0..low.len())
            .take_while(|&at| low.get(at) == high.get(at))
            .count(),
        _ => 0,
    };
    let cells =
        children.map(|(key, _)| CELL_ENTRY_BYTES + inner_bytes(key.len().saturating_sub(prefix)));
    PAGE_HEADER_BYTES + len(low) + len(high) + cells.sum::<usize>()
}

#[test]
fn the_longest_rows_split_until_they_fit() {
    for page_size in [4096, 8192, 65536] {
        let long = |byte: u8| vec![byte; page_size / 8];
        let value = vec![1; page_size / 4];
        let (low, high) = (long(b'a'), long(b'z'));
        let op = PageOp::Format {
            id: ID,
            kind: Kind::Leaf,
            level: 0,
            tree: TREE,
            low: Some(low.into()),
            high: Some(high.into()),
            right: Some(PageId(9)),
            cells: Cow::Borrowed(&[]),
        };
        let mut page = Page::new(page_size);
        apply(&mut page, &op).expect("two fences fit");
        let put = PageOp::PutCell {
            key: long(b'b').into(),
            value: value.into(),
            flags: PLAIN,
        };
        assert_eq!(
            apply(&mut page, &put),
            Ok(()),
            "an empty page takes the largest row"
        );
        page.check().expect("sound");
    }
}
