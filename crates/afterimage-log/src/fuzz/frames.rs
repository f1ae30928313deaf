//! Any frame, with the checksum of its place; any segment header.

use super::{IDENTITY, Input, SEGMENT};
use crate::bytes::{get_u32, put_u32, put_u64, put_u128};
use crate::frame::{self, Fault, FrameKind, HEAD, TIMED_HEAD};
use crate::identity::Identity;
use crate::options::{HEADER_BYTES, max_frame};
use crate::reader::Frame;
use crate::segment::{Header, HeaderFound, USED};
use crate::wal::records_of;

pub(super) fn frame(data: &[u8]) {
    let mut input = Input(data);
    let number = 1 + u64::from(input.byte() % 3);
    let offset = match input.byte() % 3 {
        0 => HEADER_BYTES + input.short() % (SEGMENT - HEADER_BYTES),
        1 => SEGMENT - input.short() % (max_frame(SEGMENT) + 64),
        _ => SEGMENT - u64::from(input.byte() % 48),
    };
    let (lsn, seed) = (number * SEGMENT + offset, frame::seed(&IDENTITY, number));
    if input.0.len() < 4 {
        return;
    }
    let word = get_u32(input.0, 0);
    let Ok(len) = frame::bounded_length(word, offset, SEGMENT) else {
        return;
    };
    assert!(len >= HEAD && len as u64 <= max_frame(SEGMENT) && offset + len as u64 <= SEGMENT);
    let mut whole = input.block(len);
    let _ = frame::decode(&whole, lsn, seed);
    frame::seal(&mut whole, lsn, seed);
    let head = match frame::decode(&whole, lsn, seed) {
        Ok(head) => head,
        Err(Fault::Unknown(_)) => return assert_eq!(frame::split(&whole), None),
        Err(Fault::Length(_)) => return assert!(len < TIMED_HEAD),
        Err(fault) => panic!("a sealed frame: {fault}"),
    };
    assert_eq!(frame::split(&whole), Some(head));
    assert!(head.len == len && head.payload_at <= len);
    let payload = &whole[head.payload_at..];
    let mut again = Vec::new();
    let crc = frame::body_crc(word, payload);
    frame::push(&mut again, word, crc, (lsn, seed), head.time, payload);
    assert!(again == whole);
    if head.kind == FrameKind::Watermark {
        let _ = frame::read_watermark(payload, seed);
    }
    if head.kind.holds_records() {
        let found = Frame::of(lsn, &head, &whole);
        let (batch, bytes) = (found.batch, found.payload.len());
        if let Ok(records) = records_of(found) {
            let sum: usize = records.iter().map(|r| r.payload.len() + 4).sum();
            assert_eq!(sum, bytes + if batch { 0 } else { 4 });
        }
    }
    // A changed bit is noticed; of the length one would have been cut out differently.
    let at =
        (3..len).find(|at| *at == 3 + data.len() % len && !(HEAD..head.payload_at).contains(at));
    if let Some(at) = at {
        whole[at] ^= 1 << (data[0] % 8);
        assert!(
            frame::decode(&whole, lsn, seed).is_err(),
            "bit of byte {at}"
        );
    }
}

pub(super) fn frame_seeds() -> Vec<Vec<u8>> {
    let kinds = [
        FrameKind::Data,
        FrameKind::Batch,
        FrameKind::Watermark,
        FrameKind::Pad,
        FrameKind::End,
    ];
    let mut seeds = Vec::new();
    for (kind, (len, timed)) in kinds
        .into_iter()
        .flat_map(|kind| [(8, false), (16, true), (32, false), (40, true)].map(|l| (kind, l)))
    {
        let mut seed = vec![0, 0, 0, 0];
        seed.extend(frame::word(kind, len, timed).to_le_bytes());
        // Behind the head a batch of two.
        seed.extend([0; 4]);
        seed.extend([0; 8].iter().take(if timed { 8 } else { 0 }));
        seed.extend([3, 0, 0, 0, 1, 2, 3, 9, 0, 0, 0]);
        seeds.push(seed);
    }
    seeds
}

pub(super) fn header(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let mut block = input.block(HEADER_BYTES as usize);
    let number = 7;
    if flags & 1 != 0 {
        block[..8].copy_from_slice(b"AFTRLOG1");
        put_u64(&mut block, 80, number);
        put_u128(&mut block, 32, IDENTITY.database_id);
        put_u128(&mut block, 48, IDENTITY.timeline_id);
        put_u32(&mut block, 64, IDENTITY.timeline_ordinal);
    }
    if flags & 2 != 0 {
        let used = get_u32(&block, 12) as usize;
        let used = if (20..=block.len()).contains(&used) {
            used
        } else {
            USED
        };
        put_u32(&mut block, 12, used as u32);
        let crc = frame::crc32c(&block[..used - 4]);
        put_u32(&mut block, used - 4, crc);
    }
    let read = |b: &[u8], identity: &Identity, number| Header::decode(b, identity, number, SEGMENT);
    let cut = usize::from(flags) * 16;
    assert!(
        cut >= USED
            || matches!(
                read(&block[..cut], &IDENTITY, number),
                HeaderFound::NotOurs(_)
            )
    );
    if let HeaderFound::Good(found) = read(&block, &IDENTITY, number) {
        assert_eq!(
            read(&found.encode(), &IDENTITY, number),
            HeaderFound::Good(found)
        );
        for other in [number - 1, number + 1, u64::MAX] {
            assert!(matches!(
                read(&block, &IDENTITY, other),
                HeaderFound::NotOurs(_)
            ));
        }
        let stranger = Identity {
            database_id: 1,
            ..IDENTITY
        };
        assert!(matches!(
            read(&block, &stranger, number),
            HeaderFound::NotOurs(_)
        ));
        block[usize::from(flags) % (USED - 4)] ^= 0x10;
        assert!(matches!(
            read(&block, &IDENTITY, number),
            HeaderFound::NotOurs(_)
        ));
    }
}

pub(super) fn header_seeds() -> Vec<Vec<u8>> {
    let header = Header {
        identity: IDENTITY,
        epoch: 2,
        number: 7,
        previous: 6,
        previous_end: 7 * SEGMENT - 100,
        segment_bytes: SEGMENT,
    };
    let block = header.encode();
    let seed = |flags: u8| [&[flags], &block[..USED]].concat();
    vec![seed(0), seed(1), seed(3)]
}
