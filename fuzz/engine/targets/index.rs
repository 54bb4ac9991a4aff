//! libFuzzer on the target `index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::Target::named("index").expect("it is in the table").feed(bytes);
});
