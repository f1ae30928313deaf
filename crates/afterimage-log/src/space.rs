//! Signatures first.
/// Log space that is certain to be there. What is left returns when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    bytes: u64,
}
impl Reservation {
    /// How many bytes are left.
    #[must_use]
    pub fn bytes(&self) -> usize {
        unimplemented!()
    }
    /// Takes over what is left of another.
    pub fn absorb(&mut self, other: Reservation) {
        let _ = (other, self.bytes);
        unimplemented!()
    }
    /// Gives `bytes` of this one away.
    ///
    /// # Panics
    /// Where fewer are left.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Reservation {
        let _ = bytes;
        unimplemented!()
    }
}
