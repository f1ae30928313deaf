//! The little of the on-disk format that the oracles need, read by code of their own: a mistake in the engine's reader must not hide itself here.
//!
//! Nothing of this is shared with the log or the engine, on purpose. `docs/format.md` is the common ground.

/// The number in a segment's name, `{ordinal:08X}-{number:016X}.log`.
#[must_use]
pub fn segment_number(name: &str) -> Option<u64> {
    let stem = name.strip_suffix(".log")?;
    let (ordinal, number) = stem.split_once('-')?;
    if ordinal.len() != 8 || number.len() != 16 {
        return None;
    }
    u32::from_str_radix(ordinal, 16).ok()?;
    u64::from_str_radix(number, 16).ok()
}

/// A little-endian word.
#[must_use]
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..at + 8)?
        .try_into()
        .ok()
        .map(u64::from_le_bytes)
}

/// A little-endian half word.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .try_into()
        .ok()
        .map(u32::from_le_bytes)
}

/// A little-endian quarter word.
#[must_use]
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..at + 2)?
        .try_into()
        .ok()
        .map(u16::from_le_bytes)
}

/// A little-endian double word.
#[must_use]
pub fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    bytes
        .get(at..at + 16)?
        .try_into()
        .ok()
        .map(u128::from_le_bytes)
}

/// A varint: seven bits a byte, least significant first. Answers the number and the rest.
#[must_use]
pub fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, b) in bytes.iter().enumerate().take(10) {
        value |= u64::from(b & 0x7F).checked_shl(u32::try_from(7 * i).ok()?)?;
        if b & 0x80 == 0 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

/// CRC-32C of the parts in a row, from tables of its own: eight bytes a step ("slicing by 8", Kounavis and Berry, 2008), for the oracles ask at every write.
#[must_use]
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    static TABLES: [[u32; 256]; 8] = crc_tables();
    let mut crc = !0u32;
    for part in parts {
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            let word = (u64::from_le_bytes(*word) ^ u64::from(crc)).to_le_bytes();
            crc = (0..8).fold(0, |sum, at| sum ^ TABLES[7 - at][word[at] as usize]);
        }
        for byte in rest {
            crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(*byte)) & 0xFF) as usize];
        }
    }
    !crc
}

/// Table `n` has the checksum of each byte with `n` zeroes behind it.
const fn crc_tables() -> [[u32; 256]; 8] {
    let mut tables = [crc_table(); 8];
    let mut n = 1;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[n - 1][byte];
            tables[n][byte] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
}

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 & 0u32.wrapping_sub(crc & 1));
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// Kinds of frames.
pub mod kind {
    /// A record.
    pub const DATA: u8 = 1;
    /// How far the log was durable.
    pub const WATERMARK: u8 = 2;
    /// Nothing.
    pub const PAD: u8 = 3;
    /// The segment ends here.
    pub const END: u8 = 4;
}

/// A frame's first word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameWord {
    /// Bytes in the frame, header included.
    pub length: u32,
    /// One of [`kind`].
    pub kind: u8,
    /// Whether a time follows the checksum.
    pub timed: bool,
}

/// Bytes before the payload of a frame without a time.
pub const FRAME_HEADER: u32 = 8;

/// Bytes before the first frame of a segment.
pub const SEGMENT_HEADER: u64 = 4096;

/// The frame word at the start of `bytes`, if it can be one.
#[must_use]
pub fn frame_word(bytes: &[u8]) -> Option<FrameWord> {
    let word = u32_at(bytes, 0)?;
    let f = FrameWord {
        length: word & 0x00FF_FFFF,
        kind: (word >> 24) as u8 & 0x0F,
        timed: word >> 28 & 1 == 1,
    };
    let header = FRAME_HEADER + if f.timed { 8 } else { 0 };
    (f.length >= header && (kind::DATA..=kind::END).contains(&f.kind)).then_some(f)
}

/// What the oracles need of a page's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHead {
    /// Its own number.
    pub number: u64,
    /// The LSN of the last record applied to it; 0 before the first.
    pub lsn: u64,
}

/// The header of a page image; `None` for a page of zeroes.
#[must_use]
pub fn page_head(image: &[u8]) -> Option<PageHead> {
    if image.get(..32)?.iter().all(|b| *b == 0) {
        return None;
    }
    Some(PageHead {
        number: u64_at(image, 8)?,
        lsn: u64_at(image, 16)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_of_the_usual_check_string() {
        assert_eq!(crc32c(&[b"123456789"]), 0xE306_9283);
        assert_eq!(crc32c(&[b"1234", b"56789"]), 0xE306_9283);
        // From RFC 3720, appendix B.4: what is longer than a step.
        assert_eq!(crc32c(&[&[0; 32]]), 0x8A91_36AA);
        assert_eq!(crc32c(&[&[0xFF; 32]]), 0x62A8_AB43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&[&ascending]), 0x46DD_794E);
        assert_eq!(crc32c(&[&ascending[..5], &ascending[5..]]), 0x46DD_794E);
    }

    #[test]
    fn names_words_and_varints() {
        assert_eq!(segment_number("00000001-00000000000000A0.log"), Some(0xA0));
        assert_eq!(segment_number("rewrite.tmp"), None);
        assert_eq!(frame_word(&[0; 8]), None);
        let word = (32u32 | (2 << 24)).to_le_bytes();
        assert_eq!(
            frame_word(&word),
            Some(FrameWord {
                length: 32,
                kind: kind::WATERMARK,
                timed: false
            })
        );
        assert_eq!(varint(&[0xAC, 0x02, 9]), Some((300, &[9u8][..])));
        assert_eq!(varint(&[0x80; 11]), None);
    }
}
