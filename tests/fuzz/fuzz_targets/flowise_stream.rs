#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| crelay_payments::fuzzing::check_flowise_stream(body));
