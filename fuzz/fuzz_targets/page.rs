//! Any page, behind its checksum.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (afterimage::fuzz::target("page").run)(data);
});
