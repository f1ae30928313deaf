//! Any bytes in place of the small things beside pages and records: the status file, the engine's part of the control file,
//! the doublewrite area, the entries of the engine's own trees, the settings.

use std::path::Path;

use afterimage_io::sim::Sim;
use afterimage_io::{Io, OpenMode};

use super::pages::bases;
use super::{Input, PAGE, crc32c};
use crate::buffer::Doublewrite;
use crate::checkpoint::EngineArea;
use crate::database::StatusFile;
use crate::ids::PageId;
use crate::options::Options;
use crate::tree::{decode_entry, decode_pending, decode_root};

const DATABASE: u128 = 0xfeed;

fn put_file(io: &Io, name: &str, bytes: &[u8]) {
    let file = io.open(Path::new(name), OpenMode::Create).unwrap();
    file.write_all_at(0, bytes).unwrap();
}

/// The first byte says which of them.
pub(super) fn words(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() % 5 {
        0 => status(input),
        1 => area(input),
        2 => doublewrite(input),
        3 => entries(input),
        _ => settings(input),
    }
}

fn status(input: Input<'_>) {
    const FIRST: &str = "afterimage status 2\n";
    const TEXT_AT: usize = 8192;
    let io = Sim::new(1).io();
    let mut text = FIRST.as_bytes().to_vec();
    text.extend(input.0);
    // Right, so that it comes to the lines.
    let crc = crc32c(&text);
    text.extend(format!("end {crc:08x}\n").bytes());
    let mut file = vec![0; TEXT_AT];
    file.extend(text);
    put_file(&io, "status", &file);
    if let Some(found) = StatusFile::read(&io, Path::new("")).unwrap() {
        let _ = format!("{found:?}");
        assert!(found.pins.len() < PAGE);
    }
}

fn area(mut input: Input<'_>) {
    let fix = input.byte() & 1 != 0;
    let mut area = [0; 512];
    area.copy_from_slice(&input.block(512));
    if fix {
        area[..8].copy_from_slice(b"AFTRENG1");
        area[8..16].copy_from_slice(&(PAGE as u64).to_le_bytes());
    }
    match EngineArea::decode(&area) {
        Ok(found) => assert_eq!(EngineArea::decode(&found.encode()).unwrap(), found),
        Err(error) => assert!(error.is_corruption(), "{error}"),
    }
}

/// A header as the input says, perhaps with the right checksum, over cells that hold real pages.
fn doublewrite(mut input: Input<'_>) {
    let fix = input.byte() & 1 != 0;
    let (io, dir) = (Sim::new(1).io(), Path::new(""));
    let mut file = input.block(300);
    file.resize(4096, 0);
    for page in bases() {
        let mut page = page.clone();
        page.seal(DATABASE);
        file.extend(page.bytes());
    }
    if fix {
        file[..8].copy_from_slice(b"AFIMdblw");
        file[8..12].copy_from_slice(&1u32.to_le_bytes());
        file[12..16].copy_from_slice(&(PAGE as u32).to_le_bytes());
        file[16..32].copy_from_slice(&DATABASE.to_le_bytes());
        for cell in 0..bases().len() {
            let crc = crc32c(&file[4096 + cell * PAGE..][..PAGE]);
            let at = 64 + cell * 24 + 16;
            if file[at] & 1 != 0 {
                file[at..at + 4].copy_from_slice(&crc.to_le_bytes());
            }
        }
        let crc = crc32c(&file[..4092]);
        file[4092..4096].copy_from_slice(&crc.to_le_bytes());
    }
    put_file(&io, "doublewrite", &file);
    let (found, _) = Doublewrite::read(&io, dir, DATABASE, PAGE).unwrap();
    assert!(found.len() <= bases().len(), "more copies than cells");
    Doublewrite::replace(&io, dir, DATABASE, PAGE, 8, &found).unwrap();
    let (again, _) = Doublewrite::read(&io, dir, DATABASE, PAGE).unwrap();
    let which = |copy: &crate::buffer::DoublewriteCopy| (copy.page, copy.lsn);
    assert!(found.iter().map(which).eq(again.iter().map(which)));
}

fn entries(mut input: Input<'_>) {
    let key = input.piece(40);
    let value = input.0;
    let _ = decode_entry(key, value).is_some();
    if let Some((_, pending)) = decode_pending(key, value, PAGE) {
        use crate::tree::Pending;
        match pending {
            Pending::Extent(extent) => assert!(extent.ids().count() < 2 * PAGE),
            Pending::Tree { root, .. } => assert!(root > PageId::FILE_HEADER),
        }
    }
    let _ = decode_root(key, value);
}

fn settings(input: Input<'_>) {
    let io = Sim::new(1).io();
    put_file(&io, afterimage_log::settings::FILE, input.0);
    let options = Options::new().io(io).with_file(Path::new(""));
    match options.and_then(|options| options.check().map(|()| options)) {
        Ok(options) => _ = (options.check_together(), options.settings()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        [
            &[0][..],
            b"pid 7\nclosed 1\nnext_lsn 99\npin 5 7 page 3\n\
              pin 5 7 transaction 100 77 a label\npin 5 7 checkpoint\nend\n",
        ]
        .concat(),
        [
            &[3, 8][..],
            b"accounts",
            &[16, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        ]
        .concat(),
        [
            &[3, 16][..],
            &[0, 0, 0, 0, 0, 1, 0, 0],
            &[0, 0, 0, 0, 0, 0, 0, 9],
            &[1, 3, 0, 0, 0],
        ]
        .concat(),
        [&[3, 4][..], &[0, 0, 0, 16], &[9, 0, 0, 0, 0, 0, 0, 0]].concat(),
    ];
    let position = 70_000u64.to_le_bytes();
    let area = [&[0; 16][..], &position, &position, &position].concat();
    seeds.push([&[1, 1][..], &area].concat());
    let mut header = vec![0; 64];
    header[40] = 3;
    for _ in 0..3 {
        header.extend([
            7, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
        ]);
    }
    seeds.push([&[2, 1][..], &header].concat());
    let defaults = Options::new().settings();
    for setting in defaults.iter().filter(|setting| !setting.name.is_empty()) {
        let line = format!("{} = \"{}\"\n", setting.name, setting.value);
        seeds.push([&[4][..], line.as_bytes()].concat());
    }
    seeds.push([&[4][..], b"# nothing\n[log]\nwal_buffers = 7\n"].concat());
    seeds
}
