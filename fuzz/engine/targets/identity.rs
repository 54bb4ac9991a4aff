//! libFuzzer on the target `identity`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::Target::named("identity").expect("it is in the table").feed(bytes);
});
