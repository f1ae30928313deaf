//! What an input does to a disk: each step is a byte that says what, and bytes that say where and with what.

use afterimage_io::sim::Image;

use super::world::{Rows, World, worlds};
use crate::fuzz::{Input, PAGE, crc32c};
use crate::ids::PageId;
use crate::limits::CELL_ENTRY_BYTES;
use crate::page::{Kind, Page};
use afterimage_log::{Identity, Lsn};

/// The disk, and the rows that must be found if anything is: only where all that happened is damage to files of pages,
/// which the checksums must notice.
pub(super) fn disk(input: &mut Input<'_>) -> (Image, Option<&'static Rows>) {
    let world: &'static World = &worlds()[usize::from(input.byte() % 2)];
    let mut image = world.image.clone();
    let mut only_damaged = true;
    for _ in 0..8 {
        if input.0.is_empty() {
            break;
        }
        let op = input.byte() % 16;
        only_damaged &= op == 0;
        match op {
            0 => damage(&mut image, "d/pages", input),
            1..=3 => files(&mut image, op, input),
            4..=9 => pages(&mut image, op, input),
            10 => control(&mut image, input),
            11 => doublewrite(&mut image, input),
            _ => frame(&mut image, world, input),
        }
    }
    (image, only_damaged.then_some(&world.rows))
}

/// A file that there is.
fn any_file(image: &Image, input: &mut Input<'_>) -> (String, u64) {
    let files: Vec<_> = image.files().collect();
    let (name, len) = files[usize::from(input.byte()) % files.len()];
    (name.to_owned(), len)
}

fn damage(image: &mut Image, file: &str, input: &mut Input<'_>) {
    let Some(len) = image.len(file).filter(|len| *len > 0) else {
        return;
    };
    let at = (input.short() as u64 * 31) % len;
    image.write_bytes(file, at, input.piece(32));
}

fn files(image: &mut Image, op: u8, input: &mut Input<'_>) {
    let (name, len) = any_file(image, input);
    match op {
        1 => damage(image, &name, input),
        2 if input.byte().is_multiple_of(4) => _ = image.remove(&name),
        2 => image.set_len(&name, (input.short() as u64 * 64) % (len + PAGE as u64)),
        _ => {
            let (from, from_len) = any_file(image, input);
            let (at, to) = (u64::from(input.byte()), u64::from(input.byte()));
            let at = at * PAGE as u64 % from_len.max(1);
            let most = (from_len - at).min(PAGE as u64) as usize;
            if let Some(bytes) = image.read(&from, at, most) {
                image.write_bytes(&name, to * PAGE as u64 % (len + 1), &bytes);
            }
        }
    }
}

/// Shows `change` a page of the file, and seals what comes of it. `false`: nothing is to be written.
fn edit(image: &mut Image, file: &str, id: PageId, change: impl FnOnce(&mut Page) -> bool) {
    let at = id.get() * PAGE as u64;
    let Some(file_id) = image.read(file, 128, 16) else {
        return;
    };
    let file_id = u128::from_le_bytes(file_id.try_into().unwrap());
    let Some(bytes) = image.read(file, at, PAGE).filter(|b| b.len() == PAGE) else {
        return;
    };
    let mut page = Page::new(PAGE);
    page.bytes_mut().copy_from_slice(&bytes);
    if change(&mut page) {
        page.seal(file_id);
        image.write_bytes(file, at, page.bytes());
    }
}

/// Where the bytes of a cell begin, on a page whose cells are in order.
fn cell_at(page: &Page, index: usize) -> usize {
    let at = 96 + index * CELL_ENTRY_BYTES;
    usize::from(u16::from_le_bytes([page.bytes()[at], page.bytes()[at + 1]]))
}

fn pages(image: &mut Image, op: u8, input: &mut Input<'_>) {
    let file = ["d/pages", "d/pages", "d/pages", "d/unlogged"][usize::from(input.byte() % 4)];
    let count = image.len(file).unwrap_or(0) / PAGE as u64;
    if count == 0 {
        return;
    }
    let any = |input: &mut Input<'_>| PageId(u64::from(input.byte()) % count);
    let id = any(input);
    match op {
        // Any bytes of it, mostly of its header; the bits of a map.
        4 | 5 => {
            let at = if op == 4 {
                usize::from(input.byte())
            } else {
                input.short() % PAGE
            };
            let new = input.piece(16);
            edit(image, file, id, |page| {
                let len = new.len().min(PAGE - at);
                page.bytes_mut()[at..at + len].copy_from_slice(&new[..len]);
                true
            });
        }
        // Another page's contents, with its own number.
        6 => {
            let from = any(input);
            let Some(bytes) = image.read(file, from.get() * PAGE as u64, PAGE) else {
                return;
            };
            edit(image, file, id, |page| {
                page.bytes_mut().copy_from_slice(&bytes);
                page.bytes_mut()[8..16].copy_from_slice(&id.get().to_le_bytes());
                true
            });
        }
        // A child that is another page; a link.
        7 => {
            let (which, child) = (usize::from(input.byte()), any(input));
            edit(image, file, id, |page| {
                let child = child.get().to_le_bytes();
                if page.check().is_err() || page.kind() != Some(Kind::Inner) {
                    page.bytes_mut()[32..40].copy_from_slice(&child);
                    return true;
                }
                let index = which % page.cell_count();
                let end = cell_at(page, index) + inner_cell_bytes(page, index);
                page.bytes_mut()[end - 8..end].copy_from_slice(&child);
                true
            });
        }
        // Bytes of a cell: its flags, its lengths, the start of its key; of a large value's address.
        8 => {
            let (which, at) = (usize::from(input.byte()), usize::from(input.byte()));
            let new = input.piece(24);
            edit(image, file, id, |page| {
                if page.check().is_err() || page.cell_count() == 0 {
                    return false;
                }
                let at = cell_at(page, which % page.cell_count()) + at;
                let len = new.len().min(PAGE.saturating_sub(at));
                if len > 0 {
                    page.bytes_mut()[at..at + len].copy_from_slice(&new[..len]);
                    // Or no changed key would get past the check of the heads.
                    page.mend_heads();
                }
                len > 0
            });
        }
        // An older or newer version than the log knows of.
        _ => {
            let lsn = (input.short() as u64) << 4;
            edit(image, file, id, |page| {
                page.bytes_mut()[16..24].copy_from_slice(&lsn.to_le_bytes());
                true
            });
        }
    }
}

/// Bytes of an inner cell: flags, the length of its key, the key, the child.
fn inner_cell_bytes(page: &Page, index: usize) -> usize {
    let at = cell_at(page, index);
    let first = usize::from(page.bytes()[at + 1]);
    match first < 0x80 {
        true => 2 + first + 8,
        false => 3 + (first & 0x7F | usize::from(page.bytes()[at + 2]) << 7) + 8,
    }
}

/// Both copies, or one of them, with the right checksum.
fn control(image: &mut Image, input: &mut Input<'_>) {
    let (copies, at) = (input.byte(), 16 + input.short() % 700);
    let new = input.piece(16);
    for copy in (0..2).filter(|copy| copies >> copy & 1 == 0) {
        let Some(mut block) = image.read("d/control", copy * 4096, 1024) else {
            return;
        };
        if block.len() == 1024 {
            block[at..at + new.len()].copy_from_slice(new);
            let crc = crc32c(&block[..1020]);
            block[1020..].copy_from_slice(&crc.to_le_bytes());
            image.write_bytes("d/control", copy * 4096, &block);
        }
    }
}

/// The header block with the right checksum; then the copies that it names have theirs.
fn doublewrite(image: &mut Image, input: &mut Input<'_>) {
    const FILE: &str = "d/doublewrite";
    let at = input.short() % 1200;
    let new = input.piece(24);
    let Some(mut header) = image.read(FILE, 0, 4096).filter(|b| b.len() == 4096) else {
        return;
    };
    header[at..at + new.len()].copy_from_slice(new);
    let cell = usize::from(input.byte() % 8);
    let from = u64::from(input.byte()) * PAGE as u64;
    if let Some(page) = image
        .read("d/pages", from, PAGE)
        .filter(|b| b.len() == PAGE)
    {
        image.write_bytes(FILE, (4096 + cell * PAGE) as u64, &page);
        let entry = 64 + cell * 24;
        header[entry..entry + 8].copy_from_slice(&page[8..16]);
        header[entry + 16..entry + 20].copy_from_slice(&crc32c(&page).to_le_bytes());
    }
    let crc = crc32c(&header[..4092]);
    header[4092..].copy_from_slice(&crc.to_le_bytes());
    image.write_bytes(FILE, 0, &header);
}

/// Other bytes in a record, with the right checksum.
fn frame(image: &mut Image, world: &World, input: &mut Input<'_>) {
    let back = input.short() % world.frames.len();
    let (number, offset, len) = world.frames[world.frames.len() - 1 - back];
    let name = format!(
        "d/log/{:08X}-{number:016X}.log",
        world.identity.timeline_ordinal
    );
    let Some(mut bytes) = image.read(&name, offset, len).filter(|b| b.len() == len) else {
        return;
    };
    let timed = bytes[3] & 0x10 != 0;
    let payload = if timed { 16 } else { 8 };
    let at = payload + input.short() % (len - payload);
    let new = input.piece(24);
    let most = new.len().min(len - at);
    bytes[at..at + most].copy_from_slice(&new[..most]);
    let lsn = Lsn::new(number * (64 << 10) + offset).unwrap();
    seal_frame(&mut bytes, payload, lsn, &world.identity, number);
    image.write_bytes(&name, offset, &bytes);
}

/// The checksum of a log frame, as `docs/format.md` has it: over word and payload, and over the frame's place.
fn seal_frame(bytes: &mut [u8], payload: usize, lsn: Lsn, identity: &Identity, number: u64) {
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |mut x: u64| {
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 31
    };
    let (db, line) = (identity.database_id, identity.timeline_id);
    let words = [
        db as u64,
        (db >> 64) as u64,
        line as u64,
        (line >> 64) as u64,
        number,
    ];
    let seed = (words.iter()).fold(STEP, |h, word| mix(h.wrapping_add(STEP) ^ word));
    let time = match payload {
        16 => u64::from_le_bytes(bytes[8..16].try_into().unwrap()),
        _ => 0,
    };
    let place = mix(mix(seed.wrapping_add(lsn.get().wrapping_mul(STEP))) ^ time);
    let crc = crc32c(&[&bytes[..4], &bytes[payload..]].concat());
    let crc = crc ^ (place ^ place >> 32) as u32;
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new(), vec![1]];
    for world in 0..2 {
        for op in 0..16 {
            for place in [0, 2, 5, 9, 30] {
                seeds.push(vec![world, op, 0, place, 3, 0, 6, 1, 2, 3, 4, 5, 6, 7]);
            }
        }
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else every changed frame would be refused for its checksum, and nothing behind it would be tried.
    #[test]
    fn a_frame_that_is_sealed_again_is_the_same() {
        for world in worlds() {
            for (number, offset, len) in &world.frames {
                let ordinal = world.identity.timeline_ordinal;
                let name = format!("d/log/{ordinal:08X}-{number:016X}.log");
                let bytes = world.image.read(&name, *offset, *len).unwrap();
                let mut again = bytes.clone();
                again[4..8].fill(0);
                let payload = if bytes[3] & 0x10 != 0 { 16 } else { 8 };
                let lsn = Lsn::new(number * (64 << 10) + offset).unwrap();
                seal_frame(&mut again, payload, lsn, &world.identity, *number);
                assert_eq!(again, bytes);
            }
        }
    }
}
