//! What Foxglove expects of messages in an MCAP file: its schema for video, as protobuf, and a
//! schema for each kind of JSON. Pure.

use rovercast_protocol::codec::Codec;
use serde_json::{Map, Value, json};

/// The name of the schema for video.
pub(super) const VIDEO: &str = "foxglove.CompressedVideo";

/// What it calls a codec; none of those that it does not know.
pub(super) fn format(codec: Codec) -> Option<&'static str> {
    match codec {
        Codec::H264 => Some("h264"),
        Codec::H265 => Some("h265"),
        Codec::Vp8 => None,
    }
}

/// One access unit, encoded as [`VIDEO`].
pub(super) fn video(utc_us: i64, camera: &str, access_unit: &[u8], format: &str) -> Vec<u8> {
    let mut time = Message::default();
    time.number(1, utc_us.div_euclid(1_000_000).unsigned_abs());
    time.number(2, utc_us.rem_euclid(1_000_000).unsigned_abs() * 1000);
    let mut video = Message(Vec::with_capacity(access_unit.len() + camera.len() + 48));
    video.bytes(1, &time.0);
    video.bytes(2, camera.as_bytes());
    video.bytes(3, access_unit);
    video.bytes(4, format.as_bytes());
    video.0
}

/// The schema [`VIDEO`], as a `FileDescriptorSet` (descriptor.proto of protobuf).
pub(super) fn video_schema() -> Vec<u8> {
    let [int64, int32, string, message_type, bytes] = [3, 5, 9, 11, 12];
    let timestamp = message("Timestamp", &[("seconds", 1, int64, ""), ("nanos", 2, int32, "")]);
    let video = message(
        "CompressedVideo",
        &[
            ("timestamp", 1, message_type, ".google.protobuf.Timestamp"),
            ("frame_id", 2, string, ""),
            ("data", 3, bytes, ""),
            ("format", 4, string, ""),
        ],
    );
    let time_file = "google/protobuf/timestamp.proto";
    let mut set = Message::default();
    set.bytes(1, &file(time_file, "google.protobuf", None, &timestamp).0);
    set.bytes(1, &file("foxglove/CompressedVideo.proto", "foxglove", Some(time_file), &video).0);
    set.0
}

/// A JSON schema for objects like this one: what Foxglove offers to plot is what it names.
pub(super) fn json_schema(like: &Value) -> Value {
    match like {
        Value::Null => json!({}),
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Number(_) => json!({ "type": "number" }),
        Value::String(_) => json!({ "type": "string" }),
        Value::Array(items) => match items.first() {
            Some(first) => json!({ "type": "array", "items": json_schema(first) }),
            None => json!({ "type": "array" }),
        },
        Value::Object(fields) => {
            let fields: Map<_, _> =
                fields.iter().map(|(name, value)| (name.clone(), json_schema(value))).collect();
            json!({ "type": "object", "properties": fields })
        }
    }
}

fn file(name: &str, package: &str, imports: Option<&str>, message: &Message) -> Message {
    let mut file = Message::default();
    file.bytes(1, name.as_bytes());
    file.bytes(2, package.as_bytes());
    if let Some(imports) = imports {
        file.bytes(3, imports.as_bytes());
    }
    file.bytes(4, &message.0);
    file.bytes(12, b"proto3");
    file
}

/// A `DescriptorProto`, of fields with name, number, type, and the type's name for messages.
fn message(name: &str, fields: &[(&str, u64, u64, &str)]) -> Message {
    const OPTIONAL: u64 = 1;
    let mut message = Message::default();
    message.bytes(1, name.as_bytes());
    for &(name, number, kind, kind_name) in fields {
        let mut field = Message::default();
        field.bytes(1, name.as_bytes());
        field.number(3, number);
        field.number(4, OPTIONAL);
        field.number(5, kind);
        if !kind_name.is_empty() {
            field.bytes(6, kind_name.as_bytes());
        }
        message.bytes(2, &field.0);
    }
    message
}

/// A protobuf message in its encoding.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn video_is_encoded_as_protobuf_says() {
        let bytes = video(1_500_000, "c", &[7; 200], "h264");
        let mut expected = vec![0x0a, 8, 8, 1, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01];
        expected.extend([0x12, 1, b'c', 0x1a, 0xc8, 0x01]);
        expected.extend([7; 200]);
        expected.extend([0x22, 4, b'h', b'2', b'6', b'4']);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn schemas_name_the_fields() {
        let like = json!({ "host": { "cpu": 1.5 }, "cameras": [{ "id": "c" }], "on": true });
        let schema = json_schema(&like);
        assert_eq!(schema["properties"]["host"]["properties"]["cpu"]["type"], "number");
        let items = &schema["properties"]["cameras"]["items"];
        assert_eq!(items["properties"]["id"]["type"], "string");
        assert_eq!(schema["properties"]["on"]["type"], "boolean");
    }
}
