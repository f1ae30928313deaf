//! The `afterimage` command.
fn main() {}
