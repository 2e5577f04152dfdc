//! What a peer says of itself: any JSON, kept as compact text. A tree of it would take up to a hundred
//! times the memory, and who writes it is a stranger.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::ids::RobotId;

/// Lists and objects in each other. In a list of peers there are more around it, and readers of JSON
/// have their limits.
const MAX_DEPTH: usize = 32;

/// Any JSON, as its text, which has no spaces and whose numbers and texts everybody can read.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Meta(Box<RawValue>);

impl Meta {
    /// The JSON of `value`. It fails as `serde_json` does: for maps whose keys are no texts.
    pub fn of(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        to_raw_value(value).map(Self)
    }

    /// The JSON.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Its fields, when it is an object that has them.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        // Fields could be read from a list, too.
        self.text().starts_with('{').then(|| serde_json::from_str(self.text()).ok()).flatten()
    }

    /// The robot that it names. Other programs call themselves as they like: what is no robot's
    /// name is none.
    pub fn robot(&self) -> Option<RobotId> {
        #[derive(Deserialize)]
        struct Named {
            name: RobotId,
        }
        self.read().map(|Named { name }| name)
    }
}

impl PartialEq for Meta {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Meta {}

impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = Vec::new();
        let writer = Writer { text: &mut text, comma: false, depth: 0 };
        writer.deserialize(deserializer)?;
        let text = String::from_utf8(text).map_err(D::Error::custom)?;
        RawValue::from_string(text).map(Self).map_err(D::Error::custom)
    }
}

/// Writes down what is read, as it is read.
struct Writer<'a> {
    text: &'a mut Vec<u8>,
    /// Whether something came before it in its list or object.
    comma: bool,
    depth: usize,
}

impl Writer<'_> {
    fn put<E: Error>(self, value: impl Serialize) -> Result<(), E> {
        serde_json::to_writer(self.text, &value).map_err(E::custom)
    }

    /// How deep what is in it is.
    fn deeper<E: Error>(&self) -> Result<usize, E> {
        let depth = self.depth + 1;
        let remedy = || E::custom(format_args!("nest it no deeper than {MAX_DEPTH}"));
        if depth > MAX_DEPTH { Err(remedy()) } else { Ok(depth) }
    }
}

impl<'de> DeserializeSeed<'de> for Writer<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.comma {
            self.text.push(b',');
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.put(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.put(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.put(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.put(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.put(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.put(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        self.text.push(b'[');
        let mut comma = false;
        while items.next_element_seed(Writer { text: self.text, comma, depth })?.is_some() {
            comma = true;
        }
        self.text.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        self.text.push(b'{');
        let mut comma = false;
        while fields.next_key_seed(Writer { text: self.text, comma, depth })?.is_some() {
            self.text.push(b':');
            fields.next_value_seed(Writer { text: self.text, comma: false, depth })?;
            comma = true;
        }
        self.text.push(b'}');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str) -> Option<Meta> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn any_json_is_kept_as_compact_text() {
        for (text, kept) in [
            (
                " { \"b\" : [ 1 , -2, 0.5, 1e3 ] ,\n\"a\":{ } } ",
                r#"{"b":[1,-2,0.5,1000.0],"a":{}}"#,
            ),
            (
                r#"["\u0061\n\ud83d\ude00", true, [], null, {"k":"v","l":[[]]}]"#,
                "[\"a\\n\u{1f600}\",true,[],null,{\"k\":\"v\",\"l\":[[]]}]",
            ),
            ("18446744073709551615", "18446744073709551615"),
            ("\"\"", "\"\""),
        ] {
            let meta = read(text).unwrap();
            assert_eq!(meta.text(), kept);
            assert_eq!(serde_json::to_string(&[Some(&meta)]).unwrap(), format!("[{kept}]"));
            // Out of a tree, too.
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(
                serde_json::from_value::<Meta>(value.clone()).unwrap().read(),
                meta.read::<Value>()
            );
        }
        assert_eq!(serde_json::from_str::<Option<Meta>>("null").unwrap(), None);
    }

    #[test]
    fn what_others_cannot_read_is_refused() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&deep(MAX_DEPTH)).is_some());
        for text in
            [&deep(MAX_DEPTH + 1), "[".repeat(100_000).as_str(), "1e999", r#""\ud800""#, "", "{"]
        {
            assert_eq!(read(text), None, "{text:.20}");
        }
    }

    #[test]
    fn only_an_object_has_fields() {
        let robot = |value: Value| Meta::of(&value).unwrap().robot().map(String::from);
        assert_eq!(robot(json!({"name": "r1", "more": [1]})), Some("r1".to_owned()));
        for value in [json!(["r1"]), json!({"name": "two words"}), json!({}), json!(null)] {
            assert_eq!(robot(value), None);
        }
        // Which of them others would take is not known.
        assert_eq!(read(r#"{"name":"r1","name":"r2"}"#).unwrap().robot(), None);
    }
}
