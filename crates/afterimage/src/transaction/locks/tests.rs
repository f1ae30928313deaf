//! The lock table as its callers see it.
