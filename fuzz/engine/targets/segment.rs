//! libFuzzer on the target `segment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::Target::named("segment").expect("it is in the table").feed(bytes);
});
