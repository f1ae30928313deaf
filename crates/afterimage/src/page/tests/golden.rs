//! The layout, byte for byte: if one of these tests fails, old databases would no longer open.
