#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuseboard_collector::fuzz::otlp_protobuf(bytes));
