#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dohle::fuzz::run("records", data));
