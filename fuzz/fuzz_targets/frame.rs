//! Any frame, with the checksum of its place.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (afterimage_log::fuzz::target("frame").run)(data);
});
