//! libFuzzer on the target `entry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::Target::named("entry").expect("it is in the table").feed(bytes);
});
