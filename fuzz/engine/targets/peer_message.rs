//! libFuzzer on the target `peer_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::Target::named("peer_message").expect("it is in the table").feed(bytes);
});
