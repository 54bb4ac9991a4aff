//! libFuzzer on the target `note`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::Target::named("note").expect("it is in the table").feed(bytes);
});
