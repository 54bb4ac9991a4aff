//! libFuzzer on the target `peer_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::Target::named("peer_frame").expect("it is in the table").feed(bytes);
});
