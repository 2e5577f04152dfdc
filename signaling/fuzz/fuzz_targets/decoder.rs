//! Any bytes at all, given to the decoder of messages.
#![no_main]

#[path = "../../tests/storm/decoder.rs"]
mod decoder;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    decoder::decode(bytes);
});
