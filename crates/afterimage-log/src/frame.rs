//! Placeholder head of the frame format.
use crc_fast::crc32_iscsi;

pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc32_iscsi(bytes)
}
