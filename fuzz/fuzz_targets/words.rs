//! Any status file, control area, doublewrite header, entry of the engine's trees, settings file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (afterimage::fuzz::target("words").run)(data);
});
