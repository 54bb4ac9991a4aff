//! libFuzzer on the target `catalog`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::Target::named("catalog").expect("it is in the table").feed(bytes);
});
