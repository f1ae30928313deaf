//! Any database directory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (afterimage::fuzz::target("database").run)(data);
});
