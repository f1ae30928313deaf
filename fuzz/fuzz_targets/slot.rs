//! Any slot file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (afterimage_log::fuzz::target("slot").run)(data);
});
