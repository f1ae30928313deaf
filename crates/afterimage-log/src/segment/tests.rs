//! The header's bytes are fixed for ever; and names are read strictly.

use super::*;

const SEGMENT: u64 = 64 << 10;
const IDENTITY: Identity = Identity {
    database_id: 0x0102_0304,
    timeline_id: 0x0A0B_0C0D,
    timeline_ordinal: 2,
};

fn header() -> Header {
    Header {
        identity: IDENTITY,
        epoch: 5,
        number: 7,
        previous: 6,
        previous_end: 400_000,
        segment_bytes: SEGMENT,
    }
}

#[test]
fn bytes_are_as_documented() {
    let b = header().encode();
    assert_eq!(b.len(), 4096);
    assert_eq!(&b[..8], b"AFTRLOG1");
    assert_eq!((get_u32(&b, 8), get_u32(&b, 12)), (1, 256));
    assert_eq!(
        (get_u128(&b, 32), get_u128(&b, 48), get_u32(&b, 64)),
        (0x0102_0304, 0x0A0B_0C0D, 2)
    );
    assert_eq!(
        (get_u32(&b, 68), get_u64(&b, 72), get_u64(&b, 80)),
        (1, 5, 7)
    );
    assert_eq!(
        (get_u64(&b, 88), get_u64(&b, 96), get_u64(&b, 104)),
        (7 * SEGMENT + 4096, 6, 400_000)
    );
    assert_eq!((get_u32(&b, 140), get_u64(&b, 144)), (4096, SEGMENT));
    assert_eq!(get_u32(&b, 252), GOLDEN_CHECKSUM);
    assert!(b[256..].iter().all(|b| *b == 0));
}

// Computed from docs/format.md by another program.
const GOLDEN_CHECKSUM: u32 = 2_576_123_748;

#[test]
fn only_its_own_header_makes_a_file_a_segment() {
    let b = header().encode();
    let decode = |b: &[u8], id: &Identity, n| Header::decode(b, id, n, SEGMENT);
    assert_eq!(decode(&b, &IDENTITY, 7), HeaderFound::Good(header()));
    assert!(matches!(decode(&b, &IDENTITY, 8), HeaderFound::NotOurs(_)));
    assert!(matches!(
        decode(
            &b,
            &Identity {
                database_id: 1,
                ..IDENTITY
            },
            7
        ),
        HeaderFound::NotOurs(_)
    ));
    assert!(matches!(
        decode(&[0; 4096], &IDENTITY, 7),
        HeaderFound::NotOurs(_)
    ));
    assert!(matches!(
        Header::decode(&b, &IDENTITY, 7, SEGMENT * 2),
        HeaderFound::NotOurs(_)
    ));
    for bit in 0..USED * 8 {
        let mut bad = b.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(
            matches!(decode(&bad, &IDENTITY, 7), HeaderFound::NotOurs(_)),
            "bit {bit}"
        );
    }
}

#[test]
fn an_intact_header_of_a_newer_version_is_refused_not_ignored() {
    for (at, value) in [(8, 2), (16, 1), (68, 9), (136, 1)] {
        let mut b = header().encode();
        put_u32(&mut b, at, value);
        let crc = crc32c(&b[..USED - 4]);
        put_u32(&mut b, USED - 4, crc);
        assert!(
            matches!(
                Header::decode(&b, &IDENTITY, 7, SEGMENT),
                HeaderFound::Unknown(_)
            ),
            "field {at}"
        );
    }
}

#[test]
fn names_are_read_strictly() {
    assert_eq!(file_name(1, 0xA0), "00000001-00000000000000A0.log");
    assert_eq!(
        parse_name("00000001-00000000000000A0.log"),
        Some((1, 0xA0, false))
    );
    assert_eq!(
        parse_name("00000001-00000000000000A0.tmp"),
        Some((1, 0xA0, true))
    );
    for name in [
        "rewrite.tmp",
        "00000001-00000000000000a0.log",
        "1-A0.log",
        "00000001_00000000000000A0.log",
        "",
    ] {
        assert_eq!(parse_name(name), None, "{name}");
    }
}
