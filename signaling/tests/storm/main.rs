//! Messages by the hundred thousand, most of them nonsense: the decoder and the broker's rules hold,
//! and nothing is kept. The same entries are fuzzed, see `signaling/fuzz`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod decoder;
mod world;

use std::time::Instant;

use proptest::prelude::*;
use world::{Tally, World};

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_harm_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decoder::decode(&bytes);
    }

    #[test]
    fn no_text_harms_the_decoder(text in r#"[\[{]("(type|sessionId|peerId|roles|meta|ice|sdp)"[:,][ -~]{0,40}){0,8}[}\]]{0,3}"#) {
        decoder::decode(text.as_bytes());
    }

    #[test]
    fn messages_survive_the_decoder(
        kind in "(setPeerStatus|startSession|endSession|peer|error|list|listConsumers|\\PC{0,300})",
        id in "\\PC{0,300}",
        meta in json(),
    ) {
        let ice = serde_json::json!({"candidate": id, "sdpMLineIndex": 0});
        let message = serde_json::json!({
            "type": kind, "peerId": id, "sessionId": id, "details": id, "roles": [], "meta": meta,
            "ice": ice,
        });
        let known = ["setPeerStatus", "startSession", "endSession", "peer", "error", "list", "listConsumers"];
        prop_assert_eq!(decoder::decode(message.to_string().as_bytes()), known.contains(&kind.as_str()));
    }

    #[test]
    fn no_choices_break_a_rule_of_the_broker(choices in prop::collection::vec(any::<u8>(), 0..4000)) {
        let mut world = World::new();
        world.live(&choices);
        world.end();
    }
}

/// Any JSON, some levels deep.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map("\\PC{0,8}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn thirty_thousand_messages() {
    let tally = storm(30_000);
    assert!(tally.sessions > 500 && tally.relayed > 500 && tally.refused > 500, "{tally:?}");
    assert!(tally.malformed > 500, "{tally:?}");
}

/// `cargo test --release -p rovercast-signaling --test storm -- --ignored --nocapture`
#[test]
#[ignore = "takes seconds in a release build, and a minute else"]
fn a_million_messages() {
    storm(100_000);
    let (before, began) = (resident_bytes(), Instant::now());
    let tally = storm(1_000_000);
    let more = resident_bytes().saturating_sub(before);
    println!("{tally:?} in {:.1} s, {more} bytes more memory", began.elapsed().as_secs_f64());
    assert!(more < 4 << 20, "{more} bytes more memory");
}

/// One life of so many messages, in which everybody leaves in the end.
fn storm(frames: u64) -> Tally {
    let mut world = World::new();
    let mut random = Random(7);
    while world.tally.frames < frames {
        world.live(&random.bytes());
    }
    world.end()
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// A linear congruential generator (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn bytes(&mut self) -> [u8; 4096] {
        std::array::from_fn(|_| {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            self.0.to_be_bytes()[0]
        })
    }
}
