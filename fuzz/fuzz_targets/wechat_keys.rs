#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scanback_wechat::fuzzing::key_texts(bytes));
