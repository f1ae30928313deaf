//! Any settings file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (afterimage_log::fuzz::target("settings").run)(data);
});
