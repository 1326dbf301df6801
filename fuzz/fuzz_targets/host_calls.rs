#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| embly_wrapper::fuzzing::host_calls(data));
