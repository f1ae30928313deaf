//! Any choices of the crash simulation: what clients do, who runs when, when the power goes, what survives.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    afterimage_sim::random::fuzz::run(data);
});
