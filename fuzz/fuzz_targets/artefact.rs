#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| embly_wrapper::fuzzing::artefact(data));
