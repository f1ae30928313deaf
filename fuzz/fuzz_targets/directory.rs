//! Any log directory: damage, and lies with right checksums.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (afterimage_log::fuzz::target("directory").run)(data);
});
