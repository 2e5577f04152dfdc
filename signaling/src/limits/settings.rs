//! How much anybody may have of the broker: the section `[limits]` of the settings file.

use std::time::Duration;

use super::bucket::Rate;
use crate::config::{seconds, within};

/// What one peer, one address and all of them together may have.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Connections in all, HTTP ones included (of those that come through a proxy, requests that are
    /// being answered): 1 to 1000000.
    #[serde(deserialize_with = "within::<1, 1_000_000, _>")]
    pub max_connections: u32,
    /// Connections from one address: 0 (no limit) to 1000000. Of IPv6, a /64 is one address.
    #[serde(deserialize_with = "within::<0, 1_000_000, _>")]
    pub max_connections_per_address: u32,
    /// How long a client may take for its handshakes and for the head of a request: 1 s to 60 s.
    #[serde(rename = "handshake_timeout_s", deserialize_with = "seconds::<1, 60, _>")]
    pub handshake_timeout: Duration,
    /// The largest frame accepted, in bytes: 1024 to 16777216, and an eighth of `queue_bytes` at most.
    #[serde(deserialize_with = "within::<1_024, 16_777_216, _>")]
    pub max_message_bytes: u32,
    /// The largest `meta` of a peer, in bytes of JSON: 256 to 1048576.
    #[serde(deserialize_with = "within::<256, 1_048_576, _>")]
    pub max_meta_bytes: u32,
    /// Messages of one peer each second, in the long run, and requests of one address: 1 to 1000000.
    #[serde(deserialize_with = "within::<1, 1_000_000, _>")]
    pub messages_per_s: u32,
    /// Messages of one peer at once, after a rest, and requests of one address: 1 to 1000000.
    #[serde(deserialize_with = "within::<1, 1_000_000, _>")]
    pub message_burst: u32,
    /// Refusals in a minute, in the long run and at once, before a peer is dropped: 1 to 1000000.
    #[serde(deserialize_with = "within::<1, 1_000_000, _>")]
    pub refusals_per_minute: u32,
    /// Sessions that one producer may have: 1 to 65536.
    #[serde(deserialize_with = "within::<1, 65_536, _>")]
    pub max_sessions_per_robot: u32,
    /// Sessions that one peer may have as their consumer: 1 to 65536.
    #[serde(deserialize_with = "within::<1, 65_536, _>")]
    pub max_sessions_per_peer: u32,
    /// How many messages may wait for one peer before it is dropped: 8 to 65536.
    #[serde(deserialize_with = "within::<8, 65_536, _>")]
    pub queue_messages: u32,
    /// How many bytes may wait for one peer before it is dropped, and of lists for one address:
    /// 65536 to 1073741824.
    #[serde(deserialize_with = "within::<65_536, 1_073_741_824, _>")]
    pub queue_bytes: u32,
    /// How many bytes may wait for all peers together before slow ones are dropped: 1048576 to
    /// 4294967295, and no less than `queue_bytes`.
    #[serde(deserialize_with = "within::<1_048_576, 4_294_967_295, _>")]
    pub queue_bytes_in_all: u32,
    /// How often every peer is pinged: 1 s to 3600 s.
    #[serde(rename = "ping_interval_s", deserialize_with = "seconds::<1, 3_600, _>")]
    pub ping_interval: Duration,
    /// How long a peer may say nothing, not even answer a ping, before it is dropped: 2 s to
    /// 86400 s, and longer than `ping_interval`.
    #[serde(rename = "silence_timeout_s", deserialize_with = "seconds::<2, 86_400, _>")]
    pub silence_timeout: Duration,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_connections_per_address: 256,
            handshake_timeout: Duration::from_secs(10),
            max_message_bytes: 128 * 1024,
            max_meta_bytes: 32 * 1024,
            messages_per_s: 1_000,
            message_burst: 4_000,
            refusals_per_minute: 120,
            max_sessions_per_robot: 256,
            max_sessions_per_peer: 64,
            queue_messages: 4096,
            queue_bytes: 4 * 1024 * 1024,
            queue_bytes_in_all: 256 * 1024 * 1024,
            ping_interval: Duration::from_secs(15),
            silence_timeout: Duration::from_secs(45),
        }
    }
}

impl LimitSettings {
    /// What contradicts itself.
    pub(crate) fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        let (silence, ping) = (self.silence_timeout.as_secs(), self.ping_interval.as_secs());
        if silence <= ping {
            let remedy = format!(
                "{silence} is not longer than ping_interval_s ({ping}), so every peer would be \
                 dropped before it can answer a ping: use three times ping_interval_s"
            );
            found.push(Contradiction { keys: ["silence_timeout_s", "ping_interval_s"], remedy });
        }
        let (queue, message) = (self.queue_bytes, self.max_message_bytes);
        let least = u64::from(message) * CONSUMER_SHARES as u64;
        if u64::from(queue) < least {
            let remedy = format!(
                "{queue} is less than {CONSUMER_SHARES} times max_message_bytes ({message}), so a \
                 viewer would be dropped for one long message to a robot: use {least} at least, or \
                 lower max_message_bytes"
            );
            found.push(Contradiction { keys: ["queue_bytes", "max_message_bytes"], remedy });
        }
        let in_all = self.queue_bytes_in_all;
        if in_all < queue {
            let remedy = format!(
                "{in_all} is less than queue_bytes ({queue}), which one peer alone may fill: use \
                 {queue} at least, or lower queue_bytes"
            );
            found.push(Contradiction { keys: ["queue_bytes_in_all", "queue_bytes"], remedy });
        }
        found
    }

    /// What a peer may say.
    pub(crate) fn messages(&self) -> Rate {
        Rate { per_s: self.messages_per_s, burst: self.message_burst }
    }

    /// What a peer may be refused: in units of 1/60, so that those of a minute come back in one.
    pub(crate) fn refusals(&self) -> Rate {
        let per_minute = self.refusals_per_minute;
        Rate { per_s: per_minute, burst: per_minute.saturating_mul(REFUSAL_COST) }
    }
}

/// Two settings that do not go together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contradiction {
    /// The one to change first, and the other.
    pub(crate) keys: [&'static str; 2],
    /// What is wrong, and what would be right.
    pub(crate) remedy: String,
}

/// Of what may wait for a producer, each of its consumers may take one part in so many: a viewer
/// that floods a robot loses its own connection before the robot loses that of all.
pub(crate) const CONSUMER_SHARES: usize = 8;

/// What one refusal takes of [`LimitSettings::refusals`].
pub(crate) const REFUSAL_COST: u32 = 60;
