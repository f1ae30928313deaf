//! The frame's bytes are fixed for ever; and no input makes decoding panic.

use super::*;

const IDENTITY: Identity = Identity {
    database_id: 0x0102_0304,
    timeline_id: 0x0A0B_0C0D,
    timeline_ordinal: 1,
};
const SEGMENT: u64 = 64 << 10;

fn whole(payload: &[u8], time: Option<u64>, lsn: u64, seed: u64) -> Vec<u8> {
    let len = payload.len() + if time.is_some() { TIMED_HEAD } else { HEAD };
    let word = word(FrameKind::Data, len, time.is_some());
    let mut out = Vec::new();
    push(
        &mut out,
        word,
        body_crc(word, payload),
        (lsn, seed),
        time,
        payload,
    );
    assert_eq!(out.len(), len);
    out
}

#[test]
fn bytes_are_as_documented() {
    let seed = seed(&IDENTITY, 3);
    assert_eq!(
        hex(&whole(b"after-image", None, 200_704, seed)),
        GOLDEN_PLAIN
    );
    assert_eq!(
        hex(&whole(
            b"commit",
            Some(1_700_000_000_000_000),
            200_723,
            seed
        )),
        GOLDEN_TIMED
    );
    assert_eq!(hex(&end_frame(200_745, seed)), GOLDEN_END);
    assert_eq!(
        hex(&watermark_frame(200_704, seed, 200_000, 7)),
        GOLDEN_WATERMARK
    );
}

// Computed from docs/format.md by another program.
const GOLDEN_PLAIN: &str = "130000010ea4d0a861667465722d696d616765";
const GOLDEN_TIMED: &str = "16000011330987fa00401e18240a0600636f6d6d6974";
const GOLDEN_END: &str = "08000004cd8a132a";
const GOLDEN_WATERMARK: &str = "200000026491ac23d92ba9f5801e9065400d0300000000000700000000000000";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_frame_validates_in_one_place_only() {
    let here = seed(&IDENTITY, 3);
    let frame = whole(b"payload", Some(5), 200_704, here);
    let head = decode(&frame, 200_704, here).unwrap();
    assert_eq!(
        (head.kind, head.time, &frame[head.payload_at..]),
        (FrameKind::Data, Some(5), &b"payload"[..])
    );
    assert_eq!(decode(&frame, 200_705, here), Err(Fault::Checksum));
    let other = Identity {
        database_id: 1,
        ..IDENTITY
    };
    let line = Identity {
        timeline_id: 1,
        ..IDENTITY
    };
    for seed in [seed(&IDENTITY, 4), seed(&other, 3), seed(&line, 3)] {
        assert_eq!(decode(&frame, 200_704, seed), Err(Fault::Checksum));
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let seed = seed(&IDENTITY, 3);
    for time in [None, Some(99)] {
        let frame = whole(b"some bytes", time, 200_704, seed);
        for bit in 0..frame.len() * 8 {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let found = match bounded_length(get_u32(&bad, 0), 4096, SEGMENT) {
                Ok(len) if len == bad.len() => decode(&bad, 200_704, seed).is_err(),
                Ok(len) if len < bad.len() => decode(&bad[..len], 200_704, seed).is_err(),
                _ => true,
            };
            assert!(found, "bit {bit}");
        }
    }
}

#[test]
fn lengths_are_bounded_before_they_are_believed() {
    let word = |kind, len| word(kind, len, false);
    assert_eq!(bounded_length(0, 4096, SEGMENT), Err(Fault::Nothing));
    assert_eq!(
        bounded_length(word(FrameKind::Data, 7), 4096, SEGMENT),
        Err(Fault::Length(7))
    );
    assert_eq!(
        bounded_length(word(FrameKind::Data, 16_384), 4096, SEGMENT),
        Ok(16_384)
    );
    assert_eq!(
        bounded_length(word(FrameKind::Data, 16_385), 4096, SEGMENT),
        Err(Fault::Length(16_385))
    );
    // The last eight bytes are END's.
    assert_eq!(
        bounded_length(word(FrameKind::Data, 8), SEGMENT - 8, SEGMENT),
        Err(Fault::Length(8))
    );
    assert_eq!(
        bounded_length(word(FrameKind::End, 8), SEGMENT - 8, SEGMENT),
        Ok(8)
    );
    assert_eq!(
        bounded_length(word(FrameKind::Data, 100), SEGMENT - 108, SEGMENT),
        Ok(100)
    );
    assert_eq!(
        bounded_length(word(FrameKind::Data, 101), SEGMENT - 108, SEGMENT),
        Err(Fault::Length(101))
    );
}

#[test]
fn a_valid_frame_of_an_unknown_kind_is_not_a_torn_one() {
    for word in [
        0x0600_0008,
        0x0000_0008,
        0x2100_0008,
        0x8100_0008,
        0x0200_0008,
        0x1400_0010,
    ] {
        let mut bytes = Vec::new();
        let time = (word & FLAG_TIMED != 0).then_some(0);
        push(&mut bytes, word, body_crc(word, &[]), (5000, 9), time, &[]);
        assert_eq!(
            decode(&bytes, 5000, 9),
            Err(Fault::Unknown(word)),
            "{word:#x}"
        );
    }
}

#[test]
fn watermarks_are_known_by_their_magic() {
    let seed = seed(&IDENTITY, 3);
    let frame = watermark_frame(200_704, seed, 200_000, 7);
    assert!(is_watermark_word(&frame));
    assert_eq!(
        decode(&frame, 200_704, seed).unwrap().kind,
        FrameKind::Watermark
    );
    assert_eq!(
        read_watermark(&frame[HEAD..], seed),
        Some((Lsn::at(200_000), 7))
    );
    assert_eq!(read_watermark(&frame[HEAD..], seed + 1), None);
    assert_eq!(get_u64(&frame, 8), watermark_magic(seed));
}
