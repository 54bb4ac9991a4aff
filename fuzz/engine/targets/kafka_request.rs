//! libFuzzer on the target `kafka_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::Target::named("kafka_request").expect("it is in the table").feed(bytes);
});
