//! Little-endian numbers at fixed places, for headers of known length.
//!
//! Every caller works on a buffer whose length it has checked; the places are constants of the format.

#[inline]
pub(crate) fn get_u32(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(take(b, at))
}

#[inline]
pub(crate) fn get_u64(b: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(take(b, at))
}

pub(crate) fn get_u128(b: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(take(b, at))
}

pub(crate) fn put_u32(b: &mut [u8], at: usize, value: u32) {
    b[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(b: &mut [u8], at: usize, value: u64) {
    b[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u128(b: &mut [u8], at: usize, value: u128) {
    b[at..at + 16].copy_from_slice(&value.to_le_bytes());
}

#[inline]
fn take<const N: usize>(b: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&b[at..at + N]);
    out
}
