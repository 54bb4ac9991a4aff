//! libFuzzer on the target `wal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::Target::named("wal").expect("it is in the table").feed(bytes);
});
