#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dohle::fuzz::run("time_index", data));
