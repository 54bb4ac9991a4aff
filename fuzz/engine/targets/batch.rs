//! libFuzzer on the target `batch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::Target::named("batch").expect("it is in the table").feed(bytes);
});
