//! Bounded decoding: integers and byte strings out of bytes that nobody has vouched for.
//!
//! Log records and page operations are written with varints (seven bits a byte, low bits first, at most ten bytes, always in
//! the shortest form). Reading never panics, never allocates, and never goes beyond the slice it was given; what cannot
//! be read is a [`DecodeError`] that says where and what. The log's checksum has passed by then, so an error here
//! means a bug or a forged file, and is reported as corruption by whoever knows the LSN.

use std::fmt;

/// Bytes that do not mean what they should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DecodeError {
    /// How many bytes of the body had been read.
    pub(crate) at: usize,
    /// What was wrong.
    pub(crate) what: &'static str,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.at, self.what)
    }
}

impl std::error::Error for DecodeError {}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a byte string: its length as a varint, then its bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// How many bytes [`put_varint`] will append.
pub(crate) const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// A difference as an unsigned number, small for small differences of either sign. Total: wraps.
pub(crate) const fn zigzag(value: u64, base: u64) -> u64 {
    let delta = value.wrapping_sub(base) as i64;
    ((delta << 1) ^ (delta >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub(crate) const fn unzigzag(coded: u64, base: u64) -> u64 {
    let delta = (coded >> 1) as i64 ^ -((coded & 1) as i64);
    base.wrapping_add(delta as u64)
}

/// A cursor over bytes from outside.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// How many bytes have been read.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    #[inline]
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[inline]
    pub(crate) fn is_at_end(&self) -> bool {
        self.remaining() == 0
    }

    /// An error at this place.
    pub(crate) fn error(&self, what: &'static str) -> DecodeError {
        DecodeError { at: self.at, what }
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let Some(&byte) = self.bytes.get(self.at) else {
            return Err(self.error("ends too early"));
        };
        self.at += 1;
        Ok(byte)
    }

    /// The next `len` bytes, borrowed.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        if len > self.remaining() {
            return Err(self.error("ends too early"));
        }
        let taken = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        // Most are short.
        if let Some(&byte) = self.bytes.get(self.at).filter(|byte| **byte < 0x80) {
            self.at += 1;
            return Ok(u64::from(byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for index in 0..10 {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if index == 9 && byte > 1 {
                return Err(self.error("a number of more than 64 bits"));
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return Err(self.error("a number not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(self.error("a number of more than 64 bits"))
    }

    pub(crate) fn varint_u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.error(what))
    }

    /// A length that is at most `max`. Believed only as far as bytes are there.
    #[inline]
    pub(crate) fn length(&mut self, max: usize, what: &'static str) -> Result<usize, DecodeError> {
        let value = self.varint()?;
        match usize::try_from(value) {
            Ok(len) if len <= max => Ok(len),
            _ => Err(self.error(what)),
        }
    }

    /// A byte string: a length as a varint, then the bytes.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.length(self.remaining(), "a length beyond the end")?;
        self.take(len)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes(
            bytes.try_into().expect("two bytes were taken"),
        ))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(
            bytes.try_into().expect("four bytes were taken"),
        ))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(
            bytes.try_into().expect("eight bytes were taken"),
        ))
    }

    pub(crate) fn u128(&mut self) -> Result<u128, DecodeError> {
        let bytes = self.take(16)?;
        Ok(u128::from_le_bytes(
            bytes.try_into().expect("sixteen bytes were taken"),
        ))
    }

    /// Nothing may be left.
    #[inline]
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.is_at_end() {
            Ok(())
        } else {
            Err(self.error("bytes are left over"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_and_have_the_length_foretold() {
        let edges = (0..64)
            .flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1])
            .chain([u64::MAX]);
        for value in edges {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint(), Ok(value));
            assert_eq!(reader.finish(), Ok(()));
            for base in [0, 1, 77, u64::MAX, 1 << 63] {
                assert_eq!(unzigzag(zigzag(value, base), base), value);
            }
        }
    }

    #[test]
    fn just_invalid_varints_are_refused() {
        let long = [0xffu8; 10];
        assert!(Reader::new(&long).varint().is_err());
        let mut over = [0xffu8; 10];
        over[9] = 2;
        assert!(Reader::new(&over).varint().is_err());
        over[9] = 1;
        assert_eq!(Reader::new(&over).varint(), Ok(u64::MAX));
        assert!(
            Reader::new(&[0x80, 0]).varint().is_err(),
            "zero in two bytes"
        );
        assert!(Reader::new(&[0x80]).varint().is_err());
        assert!(Reader::new(&[]).varint().is_err());
    }

    #[test]
    fn lengths_are_bounded_before_they_are_believed() {
        assert!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2])
                .bytes()
                .is_err()
        );
        assert!(Reader::new(&[3, 1, 2]).bytes().is_err());
        assert_eq!(Reader::new(&[2, 1, 2]).bytes(), Ok(&[1u8, 2][..]));
        assert!(Reader::new(&[5]).length(4, "too many").is_err());
        assert_eq!(Reader::new(&[0, 9]).bytes().map(<[u8]>::len), Ok(0));
        assert!(Reader::new(&[0, 9]).finish().is_err());
    }
}
