//! libFuzzer on the target `state`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::Target::named("state").expect("it is in the table").feed(bytes);
});
