//! Any block of positions in a status file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (afterimage_log::fuzz::target("positions").run)(data);
});
