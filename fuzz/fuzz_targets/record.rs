//! Any record body, and its operations on pages.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (afterimage::fuzz::target("record").run)(data);
});
