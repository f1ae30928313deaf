//! Any log directory: an intact one, and on it what an input says: damage of every kind, and lies with right checksums.

use std::path::Path;
use std::sync::OnceLock;

use afterimage_io::sim::{Image, Sim, Survival};

use super::{IDENTITY, Input, SEGMENT};
use crate::bytes::{get_u32, put_u32};
use crate::control::Control;
use crate::frame::{self, FrameKind, WATERMARK};
use crate::log::Log;
use crate::lsn::Lsn;
use crate::options::{HEADER_BYTES, LogOptions};
use crate::segment::{USED, file_name};
use crate::tail::Tail;

/// An intact log of three segments and two epochs, and its frames: number, offset, length.
struct Base {
    image: Image,
    frames: Vec<(u64, u64, usize)>,
    end: Lsn,
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT,
        background: false,
        ..LogOptions::default()
    }
}

fn dir() -> &'static Path {
    Path::new("")
}

fn put(log: &Log, len: usize) {
    let mut space = log
        .reserve(Log::frame_bytes(len, len.is_multiple_of(2)))
        .unwrap();
    let timed = len.is_multiple_of(2);
    let end = log.append(&mut space, &vec![len as u8; len], timed, |_, _| ());
    log.wait_durable(end.unwrap().end).unwrap();
}

fn control() -> Control {
    Control {
        epoch: 2,
        ..Control::new(IDENTITY, SEGMENT)
    }
}

fn first() -> Lsn {
    Lsn::at(SEGMENT + HEADER_BYTES)
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let sim = Sim::new(1);
        let io = sim.io();
        let log = Log::create(&io, dir(), &IDENTITY, 1, &options()).unwrap();
        for len in [20, 15_000, 15_000, 15_000, 15_001, 300] {
            put(&log, len);
        }
        drop(log);
        let found = Log::examine(&io, dir(), &control(), first(), &[]).unwrap();
        let log = Log::resume(&io, dir(), &control(), found, &options()).unwrap();
        for len in [7, 4000, 5, 90] {
            put(&log, len);
        }
        let end = log.next_lsn();
        drop(log);
        let image = sim.snapshot().crash(&Survival::All);
        let io = Sim::from_image(1, &image).io();
        let frames = Log::scan(&io, dir(), &control(), None).unwrap();
        let frames = frames.map(|f| f.unwrap());
        let frames = frames.map(|f| {
            let len = f.frame.end.get() - f.frame.lsn.get();
            (f.segment, f.offset, len as usize)
        });
        Base {
            frames: frames.collect(),
            image,
            end,
        }
    })
}

fn path(number: u64) -> String {
    format!("log/{}", file_name(IDENTITY.timeline_ordinal, number))
}

/// Bytes of a segment, zeroes where the file has none.
fn bytes_of(image: &Image, number: u64, offset: u64, len: usize) -> Vec<u8> {
    image
        .read(&path(number), offset, len)
        .unwrap_or(vec![0; len])
}

/// A disk as the input leaves it, and the control data that it is opened with. Whether it tells only of damage, and not
/// of lies with right checksums.
fn disk(input: &mut Input<'_>) -> (Image, Control, bool) {
    let base = base();
    let (mut image, mut control) = (base.image.clone(), control());
    let mut damage_only = true;
    for _ in 0..8 {
        if input.0.is_empty() {
            break;
        }
        let op = input.byte();
        let (number, offset, len) = base.frames[usize::from(input.byte()) % base.frames.len()];
        damage_only &= op % 10 < 4;
        match op % 10 {
            // Any bytes anywhere, a shorter file, a missing one, one file's bytes in another.
            0 => {
                let at = input.short();
                image.write_bytes(&path(number), at, input.piece(32));
            }
            1 => image.set_len(&path(number), input.short()),
            2 => _ = image.remove(&path(number)),
            3 => {
                let from = bytes_of(&image, 1 + u64::from(input.byte() % 4), input.short(), 4096);
                image.write_bytes(&path(number), input.short(), &from);
            }
            // A frame with other contents, or another frame, and the right checksum.
            4 | 5 => {
                let mut bytes = bytes_of(&image, number, offset, len);
                if op % 10 == 4 {
                    let at = input.short() as usize % len;
                    let new = input.piece(16);
                    let new = &new[..new.len().min(len - at)];
                    bytes[at..at + new.len()].copy_from_slice(new);
                } else {
                    let word = input.word().to_le_bytes();
                    bytes[..4].copy_from_slice(&word);
                }
                let word = get_u32(&bytes, 0);
                if let Ok(len) = frame::bounded_length(word, offset, SEGMENT) {
                    bytes.resize(len, 0x5A);
                    frame::seal(
                        &mut bytes,
                        number * SEGMENT + offset,
                        frame::seed(&IDENTITY, number),
                    );
                    image.write_bytes(&path(number), offset, &bytes);
                }
            }
            6 => {
                let place = offset + u64::from(input.byte()) * WATERMARK as u64;
                let claim =
                    number * SEGMENT + input.short() + u64::from(input.byte() % 3) * SEGMENT;
                let (seed, epoch) = (frame::seed(&IDENTITY, number), u64::from(input.byte()));
                let watermark =
                    frame::watermark_frame(number * SEGMENT + place, seed, claim, epoch);
                if place + 64 < SEGMENT {
                    image.write_bytes(&path(number), place, &watermark);
                }
            }
            7 => {
                let mut header = bytes_of(&image, number, 0, USED);
                let at = usize::from(input.byte()) % (USED - 8);
                let new = input.piece(9);
                header[at..at + new.len()].copy_from_slice(new);
                let crc = frame::crc32c(&header[..USED - 4]);
                put_u32(&mut header, USED - 4, crc);
                image.write_bytes(&path(number), 0, &header);
            }
            8 => {
                control.clean_end = [Some(base.end), Lsn::new(number * SEGMENT + offset)]
                    [usize::from(input.byte() % 2)]
            }
            _ => {
                control.durable_lsn = Lsn::new(number * SEGMENT + offset + u64::from(input.byte()))
            }
        }
    }
    (image, control, damage_only)
}

pub(super) fn directory(data: &[u8]) {
    let (image, control, damage_only) = disk(&mut Input(data));
    let sim = Sim::from_image(1, &image);
    let io = sim.io();
    if let Ok(scan) = Log::scan(&io, dir(), &control, None) {
        scan.take_while(Result::is_ok).for_each(drop);
    }
    let _ = Log::verify(&io, dir(), &control, first(), &[]);
    let found = Log::examine(&io, dir(), &control, first(), &[]);
    assert!(
        sim.snapshot().pending().is_empty(),
        "a look changes nothing"
    );
    let Ok(found) = found else {
        return;
    };
    assert!(found.watermark <= found.end && !found.segments.is_empty());
    assert!(control.durable_lsn.is_none_or(|lsn| lsn <= found.end));
    let (records, clean) = (found.records, found.verdict == Tail::Clean);
    let next = Control {
        clean_end: None,
        epoch: control.epoch + u64::from(!clean),
        ..control.clone()
    };
    let log = match Log::resume(&io, dir(), &next, found, &options()) {
        Ok(log) => log,
        Err(e) if damage_only => panic!("an examined log cannot be opened: {e}"),
        Err(_) => return,
    };
    let read = |log: &Log| {
        log.reader(first())
            .map(|f| f.map(|_| 1))
            .sum::<Result<u64, _>>()
    };
    assert_eq!(read(&log).ok(), Some(records));
    put(&log, 100);
    drop(log);
    if damage_only {
        // What was found is found again after a power cut, and the new record.
        let sim = Sim::from_image(1, &sim.snapshot().crash(&Survival::None));
        let again = Log::examine(&sim.io(), dir(), &next, first(), &[]).unwrap();
        assert_eq!(again.records, records + 1);
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (0..10)
        .map(|op| vec![op, 3, 40, 0, 12, 1, 2, 3, 4, 5, 6, 7])
        .collect();
    for frame in 0..base().frames.len() as u8 {
        seeds.push(vec![4, frame, 8, 0, 1, 0xFF, 8, frame, 0]);
        seeds.push(vec![
            5,
            frame,
            32,
            0,
            0,
            FrameKind::Data as u8 + 1,
            6,
            frame,
            1,
            0,
            17,
            0,
            2,
        ]);
    }
    seeds
}
