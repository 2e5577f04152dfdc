//! Peers that come, go and say anything, by the choice of the fuzzer, until all have left.
#![no_main]

#[path = "../../tests/storm/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|choices: &[u8]| {
    let mut world = world::World::new();
    world.live(choices);
    world.end();
});
