//! What robot and viewer tell each other over a session's reliable data channel: which cameras have
//! no signal, and what the viewer wants of them. Not figures: those are telemetry.
//!
//! Everything arrives once and in order, so nothing is said twice.

use serde::{Deserialize, Serialize};

use crate::ids::CameraId;
use crate::telemetry::CameraState;

/// The label of the data channel.
pub const CHANNEL: &str = "control";

/// The longest message that a viewer accepts, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The longest message that a robot accepts, in bytes: requests are short.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024;

/// The bytes of a snapshot in one message, before base64.
pub const SNAPSHOT_PART_BYTES: usize = 24 * 1024;

/// The bytes of a whole snapshot, at most.
pub const MAX_SNAPSHOT_BYTES: usize = 4 * 1024 * 1024;

/// From the robot to a viewer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RobotMessage {
    /// A camera of this session gives no pictures; viewers see a slate, or nothing.
    SignalLost(SignalLost),
    /// It gives pictures again.
    SignalRestored(SignalRestored),
    /// The answer to a request.
    Result(Outcome),
    /// A piece of the answer to [`ViewerMessage::TakeSnapshot`].
    Snapshot(SnapshotPart),
}

/// From a viewer to the robot. Each request has a number of the viewer's choice, by which its answer
/// is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ViewerMessage {
    /// Changes a camera for everybody.
    SetCamera(SetCamera),
    /// Asks for a picture that stands for itself.
    KeyFrame(About),
    /// Asks for a JPEG of what the camera sees.
    TakeSnapshot(About),
}

/// A camera has no signal. Said again when the state or the reason changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalLost {
    /// Which camera.
    pub camera: CameraId,
    /// How it is: anything but live.
    pub state: CameraState,
    /// Why, for a person to read; may be empty.
    #[serde(default)]
    pub reason: String,
    /// Since when there is no signal: the robot's clock, microseconds.
    pub since_us: i64,
}

/// A camera has its signal again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalRestored {
    /// Which camera.
    pub camera: CameraId,
    /// How long it was away, in microseconds.
    pub lost_us: i64,
}

/// How a request ended. A snapshot that succeeds is answered by its parts alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The request's number.
    pub request: u32,
    /// What went wrong; absent when nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Refusal>,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The kind of reason.
    pub code: RefusalCode,
    /// The reason and its remedy, for a person to read.
    #[serde(default)]
    pub details: String,
}

/// Kinds of reasons for which requests are not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefusalCode {
    /// The robot's config does not let viewers control cameras.
    NotAuthorised,
    /// The session has no such camera.
    UnknownCamera,
    /// It cannot be done, or not now.
    Refused,
    /// A code of a later version.
    #[serde(other)]
    Unknown,
}

/// A piece of a snapshot. The pieces of one come in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// The request's number.
    pub request: u32,
    /// Which camera.
    pub camera: CameraId,
    /// Which piece, counted from 0.
    pub part: u32,
    /// How many there are.
    pub parts: u32,
    /// Its bytes, at most [`SNAPSHOT_PART_BYTES`].
    #[serde(with = "bytes")]
    pub jpeg: Vec<u8>,
}

/// What a camera is to be. What is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetCamera {
    /// The request's number.
    pub request: u32,
    /// Which camera.
    pub camera: CameraId,
    /// What its encoder may spend, in units of 1,000 bits per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate_kbps: Option<u32>,
    /// Frames per second, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<u32>,
    /// Whether it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A request that names a camera and nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The request's number.
    pub request: u32,
    /// Which camera.
    pub camera: CameraId,
}

impl ViewerMessage {
    /// The request's number.
    pub fn request(&self) -> u32 {
        match self {
            Self::SetCamera(set) => set.request,
            Self::KeyFrame(about) | Self::TakeSnapshot(about) => about.request,
        }
    }

    /// The camera that it is about.
    pub fn camera(&self) -> &CameraId {
        match self {
            Self::SetCamera(set) => &set.camera,
            Self::KeyFrame(about) | Self::TakeSnapshot(about) => &about.camera,
        }
    }
}

impl SnapshotPart {
    /// How many parts a JPEG of so many bytes takes.
    pub fn count(bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(SNAPSHOT_PART_BYTES)).unwrap_or(u32::MAX)
    }

    /// A part of a JPEG, counted from 0; none where there is no such part.
    pub fn of(jpeg: &[u8], request: u32, camera: &CameraId, part: u32) -> Option<Self> {
        let bytes = jpeg.chunks(SNAPSHOT_PART_BYTES).nth(part as usize)?.to_vec();
        let parts = Self::count(jpeg.len());
        Some(Self { request, camera: camera.clone(), part, parts, jpeg: bytes })
    }
}

/// A part that cannot belong to the snapshot that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the robot sent part {part} of {parts} of the snapshot where another was to come")]
pub struct WrongPart {
    part: u32,
    parts: u32,
}

/// Puts the parts of one snapshot together.
#[derive(Debug, Default)]
pub struct Assembly {
    jpeg: Vec<u8>,
    taken: u32,
    parts: Option<u32>,
}

impl Assembly {
    /// Takes the next part. Returns the JPEG when it is whole.
    pub fn take(&mut self, part: SnapshotPart) -> Result<Option<Vec<u8>>, WrongPart> {
        let SnapshotPart { part, parts, jpeg, .. } = part;
        let fits = part == self.taken
            && part < parts
            && self.parts.is_none_or(|known| known == parts)
            && jpeg.len() <= SNAPSHOT_PART_BYTES
            && self.jpeg.len() + jpeg.len() <= MAX_SNAPSHOT_BYTES
            && parts <= Self::MAX_PARTS;
        if !fits {
            return Err(WrongPart { part, parts });
        }
        self.jpeg.extend(jpeg);
        self.taken += 1;
        self.parts = Some(parts);
        Ok((self.taken == parts).then(|| std::mem::take(&mut self.jpeg)))
    }

    const MAX_PARTS: u32 = MAX_SNAPSHOT_BYTES.div_ceil(SNAPSHOT_PART_BYTES) as u32;
}

/// Bytes as base64.
mod bytes {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64_STANDARD.decode(text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera() -> CameraId {
        "front".parse().unwrap()
    }

    #[track_caller]
    fn looks(message: &RobotMessage, json: &str) {
        assert_eq!(serde_json::to_string(message).unwrap(), json);
        assert_eq!(serde_json::from_str::<RobotMessage>(json).unwrap(), *message);
    }

    #[test]
    fn messages_look_as_documented() {
        let reason = "the device is gone".to_owned();
        let state = CameraState::Lost;
        looks(
            &RobotMessage::SignalLost(SignalLost { camera: camera(), state, reason, since_us: 7 }),
            r#"{"type":"signal_lost","camera":"front","state":"lost","reason":"the device is gone","sinceUs":7}"#,
        );
        looks(
            &RobotMessage::SignalRestored(SignalRestored { camera: camera(), lost_us: 9 }),
            r#"{"type":"signal_restored","camera":"front","lostUs":9}"#,
        );
        looks(
            &RobotMessage::Result(Outcome { request: 1, error: None }),
            r#"{"type":"result","request":1}"#,
        );
        let error = Refusal { code: RefusalCode::NotAuthorised, details: "no".into() };
        looks(
            &RobotMessage::Result(Outcome { request: 1, error: Some(error) }),
            r#"{"type":"result","request":1,"error":{"code":"notAuthorised","details":"no"}}"#,
        );
        let part = SnapshotPart::of(b"\xff\xd8", 1, &camera(), 0).unwrap();
        looks(
            &RobotMessage::Snapshot(part),
            r#"{"type":"snapshot","request":1,"camera":"front","part":0,"parts":1,"jpeg":"/9g="}"#,
        );
        let set: ViewerMessage = serde_json::from_str(
            r#"{"type":"set_camera","request":4294967295,"camera":"front","bitrateKbps":900,"new":1}"#,
        )
        .unwrap();
        let ViewerMessage::SetCamera(set) = set else { panic!("{set:?}") };
        assert_eq!(
            (set.request, set.bitrate_kbps, set.fps, set.enabled),
            (u32::MAX, Some(900), None, None)
        );
        for kind in ["key_frame", "take_snapshot"] {
            let json = format!(r#"{{"type":"{kind}","request":2,"camera":"front"}}"#);
            let message: ViewerMessage = serde_json::from_str(&json).unwrap();
            assert_eq!((message.request(), message.camera()), (2, &camera()));
            assert_eq!(serde_json::to_string(&message).unwrap(), json);
        }
    }

    #[test]
    fn nonsense_is_no_request() {
        for json in [
            r#"{"type":"reboot","request":1,"camera":"front"}"#,
            r#"{"type":"key_frame","request":-1,"camera":"front"}"#,
            r#"{"type":"key_frame","request":1,"camera":"../x"}"#,
            r#"{"type":"set_camera","request":1,"camera":"front","fps":"fast"}"#,
        ] {
            assert!(serde_json::from_str::<ViewerMessage>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_snapshot_is_put_together_from_its_parts() {
        for bytes in [1, SNAPSHOT_PART_BYTES, SNAPSHOT_PART_BYTES + 1, MAX_SNAPSHOT_BYTES] {
            let jpeg: Vec<u8> = (0..bytes).map(|n| (n / 7) as u8).collect();
            let mut assembly = Assembly::default();
            let mut whole = None;
            for part in 0..SnapshotPart::count(bytes) {
                assert_eq!(whole, None);
                let part = SnapshotPart::of(&jpeg, 1, &camera(), part).unwrap();
                let json = serde_json::to_vec(&RobotMessage::Snapshot(part.clone())).unwrap();
                assert!(json.len() < MAX_MESSAGE_BYTES);
                whole = assembly.take(part).unwrap();
            }
            assert_eq!(whole.unwrap(), jpeg);
            assert_eq!(SnapshotPart::of(&jpeg, 1, &camera(), SnapshotPart::count(bytes)), None);
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let part = |part, parts, bytes| SnapshotPart {
            request: 1,
            camera: camera(),
            part,
            parts,
            jpeg: vec![0; bytes],
        };
        let mut assembly = Assembly::default();
        for wrong in [
            part(1, 3, 1),
            part(0, 0, 1),
            part(0, 1_000, 1),
            part(0, u32::MAX, 1),
            part(0, 1, SNAPSHOT_PART_BYTES + 1),
        ] {
            assert!(assembly.take(wrong).is_err());
        }
        assert_eq!(assembly.take(part(0, 3, 1)), Ok(None));
        assert!(assembly.take(part(0, 3, 1)).is_err(), "twice the same");
        assert!(assembly.take(part(1, 2, 1)).is_err(), "another number of parts");
        assert_eq!(assembly.take(part(1, 3, 1)), Ok(None));
        assert_eq!(assembly.take(part(2, 3, 1)).unwrap().unwrap().len(), 3);
    }
}
