#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| crelay_payments::fuzzing::check_model_stream(body));
