//! Any control file, slot file, positions block and settings file, each in a directory of a simulated disk.

use std::path::Path;
use std::sync::OnceLock;

use afterimage_io::sim::{Image, Sim, Survival};
use afterimage_io::{Io, OpenMode};

use super::{IDENTITY, Input, SEGMENT};
use crate::bytes::{get_u32, put_u32, put_u64, put_u128};
use crate::control::{Control, ControlFile};
use crate::frame::crc32c;
use crate::lsn::Lsn;
use crate::options::LogOptions;
use crate::positions::Positions;
use crate::settings;
use crate::wal::{Slot, SlotInfo, SlotState, Start, Wal};

fn dir() -> &'static Path {
    Path::new("q")
}

fn put_file(io: &Io, path: &Path, bytes: &[u8]) {
    let file = io.open(path, OpenMode::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(0, bytes).unwrap();
}

/// Writes a checksum over all before it into the last four bytes of `bytes[..len]`.
fn seal(bytes: &mut [u8], len: usize) {
    let crc = crc32c(&bytes[..len - 4]);
    put_u32(bytes, len - 4, crc);
}

pub(super) fn control(data: &[u8]) {
    const COPY: usize = 1024;
    let mut input = Input(data);
    let flags = input.byte();
    let mut bytes = Vec::new();
    for copy in 0..2 {
        let mut block = input.block(COPY);
        block.resize(4096, 0);
        if flags >> copy & 1 != 0 {
            block[..8].copy_from_slice(b"AFTRCTL1");
            let length = get_u32(&block, 12) as usize;
            let length = if (20..=4096).contains(&length) {
                length
            } else {
                COPY
            };
            put_u32(&mut block, 12, length as u32);
            seal(&mut block, length);
        }
        bytes.extend(block);
    }
    if flags & 4 != 0 {
        bytes.truncate(usize::from(flags >> 3) * 256);
    }
    let io = Sim::new(1).io();
    io.create_dir(dir()).unwrap();
    put_file(&io, &dir().join("control"), &bytes);
    let Ok(mut file) = ControlFile::open(&io, dir(), true) else {
        return;
    };
    let found = file.current().clone();
    assert!(
        file.other()
            .is_none_or(|other| other.generation <= found.generation)
    );
    file.rewrite_in_place().unwrap();
    assert_eq!(
        ControlFile::open(&io, dir(), false).unwrap().current(),
        &found
    );
    if found.generation < u64::MAX - 1 {
        file.write(&found).unwrap();
        let again = ControlFile::open(&io, dir(), false).unwrap();
        assert_eq!(again.current().generation, found.generation + 1);
        assert_eq!(again.other(), Some(&found));
    }
}

pub(super) fn control_seeds() -> Vec<Vec<u8>> {
    let sim = Sim::new(1);
    let mut control = Control::new(IDENTITY, SEGMENT);
    control.durable_lsn = Some(Lsn::at(SEGMENT + 4096));
    let mut file = ControlFile::create(&sim.io(), Path::new(""), &control).unwrap();
    control.clean_end = control.durable_lsn;
    file.write(&control).unwrap();
    let image = sim.snapshot().page_cache();
    let copy = |at| image.read("control", at, 1024).unwrap();
    let both = [copy(0), copy(4096)].concat();
    [0, 1, 3].map(|flags| [&[flags], &both[..]].concat()).into()
}

/// A log with a slot that stands in its middle.
fn slot_base() -> &'static Image {
    static BASE: OnceLock<Image> = OnceLock::new();
    BASE.get_or_init(|| {
        let sim = Sim::new(1);
        let wal = Wal::open(&sim.io(), dir(), &options()).unwrap();
        wal.append(b"one").unwrap().wait().unwrap();
        wal.create_slot("a", Start::Oldest).unwrap();
        let two = wal.append(b"two").unwrap();
        two.wait().unwrap();
        wal.slot("a").unwrap().advance(two.lsn()).unwrap();
        wal.append(b"three").unwrap().wait().unwrap();
        wal.close().unwrap();
        sim.snapshot().crash(&Survival::All)
    })
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT,
        background: false,
        ..LogOptions::default()
    }
}

const SLOT_BLOCK: usize = 512;

pub(super) fn slot(data: &[u8]) {
    let sim = Sim::from_image(1, slot_base());
    let io = sim.io();
    let identity = ControlFile::open(&io, dir(), false)
        .unwrap()
        .current()
        .identity;
    let mut input = Input(data);
    let flags = input.byte();
    let mut bytes = Vec::new();
    for block in 0..4 {
        let mut b = input.block(SLOT_BLOCK);
        if flags >> block & 1 != 0 {
            b[..8].copy_from_slice(if block < 2 { b"AFTRSLO1" } else { b"AFTRSLH1" });
            put_u32(&mut b, 8, 1);
            put_u128(&mut b, 24, identity.database_id);
            put_u128(&mut b, 40, identity.timeline_id);
            b[128..192].fill(0);
            b[128] = b'a';
        }
        if flags & 16 != 0 {
            seal(&mut b, SLOT_BLOCK);
        }
        b.resize(4096, 0);
        bytes.extend(b);
    }
    put_file(&io, &dir().join("slots/a"), &bytes);
    let listed = SlotInfo::list(&io, dir());
    if let Ok(mut slot) = Slot::open(&io, dir(), "a") {
        let info = &listed.unwrap()[0];
        assert_eq!(info.state, SlotState::Active);
        assert_eq!(info.position.unwrap_or(slot.position()), slot.position());
        let at = slot.position();
        let _ = slot.advance(at);
        let _ = slot.advance(Lsn::at(SEGMENT + 4096));
        assert!(slot.position() <= at.max(Lsn::at(SEGMENT + 4096)));
    }
    // What proves the log durable may be wrong now; whatever comes of it is no panic.
    if let Ok(wal) = Wal::open(&io, dir(), &options()) {
        let _ = wal.slots();
        let _ = wal.truncate_before(wal.next_lsn());
        wal.append(b"four").unwrap().wait().unwrap();
    }
}

pub(super) fn slot_seeds() -> Vec<Vec<u8>> {
    let block = |n: u64| slot_base().read("q/slots/a", n * 4096, SLOT_BLOCK).unwrap();
    let all = [block(0), block(1), block(2), block(3)].concat();
    let mut zero = all.clone();
    put_u64(&mut zero, 64, 0);
    [
        [&[0], &all[..]].concat(),
        [&[0x1F], &all[..]].concat(),
        [&[0x1F], &zero[..]].concat(),
    ]
    .into()
}

pub(super) fn positions(data: &[u8]) {
    const BYTES: usize = 128;
    let mut input = Input(data);
    let flags = input.byte();
    let mut b = input.block(BYTES);
    if flags & 1 != 0 {
        b[..8].copy_from_slice(b"AFTRPOS1");
        put_u32(&mut b, 12, IDENTITY.timeline_ordinal);
        put_u128(&mut b, 16, IDENTITY.database_id);
        put_u128(&mut b, 32, IDENTITY.timeline_id);
    }
    if flags & 2 != 0 {
        seal(&mut b, BYTES);
    }
    let io = Sim::new(1).io();
    let mut file = vec![b' '; 4096];
    file.extend(&b[..BYTES - usize::from(flags >> 2)]);
    put_file(&io, Path::new("status"), &file);
    let read = || Positions::read(&io, Path::new(""), &IDENTITY).unwrap();
    if let Some(found) = read() {
        assert_eq!(found.identity, IDENTITY);
        b[usize::from(flags) % BYTES] ^= 4;
        file.truncate(4096);
        file.extend(&b);
        put_file(&io, Path::new("status"), &file);
        assert_eq!(read(), None);
    }
}

pub(super) fn positions_seeds() -> Vec<Vec<u8>> {
    let mut b = vec![0; 128];
    for at in [48, 56, 64] {
        put_u64(&mut b, at, 70_000);
    }
    [3, 0].map(|flags| [&[flags], &b[..]].concat()).into()
}

pub(super) fn settings(data: &[u8]) {
    let io = Sim::new(1).io();
    put_file(&io, Path::new(settings::FILE), data);
    let lines = data.split(|b| *b == b'\n').count();
    match LogOptions::from_file(&io, Path::new("")) {
        Ok(options) => _ = options.check(),
        Err(e) => assert!(e.to_string().contains(settings::FILE), "{e}"),
    }
    if let Ok(found) = settings::read_file(&io, Path::new("")) {
        assert!(found.iter().all(|line| (1..=lines).contains(&line.line)));
    }
    let _ = LogOptions::settings(&io, Path::new(""), &[]);
}

pub(super) fn settings_seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        b"# nothing\n".to_vec(),
        b"[log]\nwal_buffers = \"8MiB\"\n".to_vec(),
    ];
    for setting in settings::TABLE {
        let value = setting.write((setting.get)(&LogOptions::default()));
        seeds.push(format!("{} = \"{value}\"\n", setting.name).into_bytes());
        seeds.push(format!("{} = 64 # as it is\nsegment_bytes = 1\n", setting.name).into_bytes());
    }
    seeds
}
