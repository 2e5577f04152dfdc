//! The settings of WHEP, `[whep]` in the file.

use serde::Deserialize;

use crate::config::within;

/// Who may play robots by WHEP, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether `/whep` is there at all.
    pub enabled: bool,
    /// Sessions at once, of all players: 1 to 65536. Further ones are refused with 503.
    #[serde(deserialize_with = "within::<1, 65_536, _>")]
    pub max_sessions: u32,
    /// Sessions at once of the players at one address: 1 to 65536. Further ones are refused with 429.
    #[serde(deserialize_with = "within::<1, 65_536, _>")]
    pub max_sessions_per_address: u32,
    /// How long to wait for the robot's ICE candidates, in milliseconds: 0 to 5000. They are put into
    /// the answer, since players hear of no later ones.
    #[serde(deserialize_with = "within::<0, 5_000, _>")]
    pub gather_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { enabled: true, max_sessions: 1024, max_sessions_per_address: 32, gather_ms: 500 }
    }
}
