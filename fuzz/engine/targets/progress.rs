//! libFuzzer on the target `progress`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::Target::named("progress").expect("it is in the table").feed(bytes);
});
