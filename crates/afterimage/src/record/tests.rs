//! Records there and back.
