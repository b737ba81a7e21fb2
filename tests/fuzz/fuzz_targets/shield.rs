#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| crelay_payments::fuzzing::check_shield(input));
