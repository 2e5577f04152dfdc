//! What a peer says of itself, as text, and where in it the cameras are: a list for those who may see
//! some of them is cut out of the text.

use std::ops::Range;

use rovercast_protocol::signaling::Meta;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// A `meta`, with its cameras. What is kept grows with its text alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    meta: Meta,
    cameras: Box<[Camera]>,
    /// Where the value of `cameras` is; none where there is no such field.
    list: Option<Range<usize>>,
}

/// Where a camera is that has an id: no other can be asked for, nor be shown to who may see some.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Camera {
    id: Range<usize>,
    whole: Range<usize>,
}

/// The fields that somebody goes by.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(default, rename = "name")]
    _name: IgnoredAny,
    #[serde(borrow, default)]
    cameras: Option<&'a RawValue>,
}

/// An id that has to be escaped is none.
#[derive(Deserialize)]
struct Entry<'a> {
    id: &'a str,
}

impl Described {
    /// Finds the cameras. None for an object that has `name` or `cameras` twice: which of them others
    /// would take is not known.
    pub(super) fn new(meta: Meta) -> Option<Self> {
        let text = meta.text();
        let list = match meta.read::<Fields<'_>>() {
            Some(Fields { cameras, .. }) => cameras.map(RawValue::get),
            None if text.starts_with('{') => return None,
            None => None,
        };
        // All that is read is borrowed from the text.
        let place = |part: &str| {
            let from = part.as_ptr() as usize - text.as_ptr() as usize;
            from..from + part.len()
        };
        let entries: Vec<&RawValue> =
            list.and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
        let camera = |entry: &RawValue| {
            let whole = Some(entry.get()).filter(|text| text.starts_with('{'))?;
            let Entry { id } = serde_json::from_str(whole).ok()?;
            Some(Camera { id: place(id), whole: place(whole) })
        };
        let cameras = entries.into_iter().filter_map(camera).collect();
        let list = list.map(place);
        Some(Self { cameras, list, meta })
    }

    /// All of it.
    pub(super) fn whole(&self) -> &Meta {
        &self.meta
    }

    /// The ids of its cameras, in their order.
    pub(super) fn cameras(&self) -> impl Iterator<Item = &str> {
        self.cameras.iter().filter_map(|camera| self.meta.text().get(camera.id.clone()))
    }

    /// With those cameras alone for which `shown` is true, in their order. What `cameras` is
    /// otherwise is left out: it is not known to be harmless.
    pub(super) fn with_cameras(&self, shown: &[bool]) -> Option<Meta> {
        let Some(list) = &self.list else { return Some(self.meta.clone()) };
        let text = self.meta.text();
        let shown = self.cameras.iter().zip(shown).filter(|(_, shown)| **shown);
        let shown: Vec<_> =
            shown.filter_map(|(camera, _)| text.get(camera.whole.clone())).collect();
        let (before, after) = (text.get(..list.start)?, text.get(list.end..)?);
        serde_json::from_str(&format!("{before}[{}]{after}", shown.join(","))).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn described(value: &Value) -> Described {
        Described::new(Meta::of(value).unwrap()).unwrap()
    }

    #[test]
    fn cameras_are_cut_out_of_the_text() {
        let meta = json!({
            "cameras": [{"id": "a]"}, 7, {"no": 1}, ["b"], {"label": "{\"id\":\"x\"},", "id": "c"}],
            "name": "r1",
        });
        let described = described(&meta);
        assert_eq!(described.whole().text(), meta.to_string());
        assert_eq!(described.cameras().collect::<Vec<_>>(), ["a]", "c"]);
        let cut = |shown: &[bool]| -> Value {
            serde_json::from_str(described.with_cameras(shown).unwrap().text()).unwrap()
        };
        let camera = meta["cameras"][4].clone();
        assert_eq!(cut(&[false, true]), json!({"name": "r1", "cameras": [camera]}));
        assert_eq!(cut(&[true, true])["cameras"][0], json!({"id": "a]"}));
        assert_eq!(cut(&[]), json!({"name": "r1", "cameras": []}));
    }

    #[test]
    fn what_is_no_list_of_cameras_shows_none() {
        for cameras in [json!({"front": 1}), json!("front"), json!(null)] {
            let described = described(&json!({"name": "r1", "cameras": &cameras}));
            assert_eq!(described.cameras().count(), 0);
            let left = described.with_cameras(&[true]).unwrap();
            // `null` is nothing that could be shown.
            let nothing = if cameras.is_null() { "null" } else { "[]" };
            assert_eq!(left.text(), format!(r#"{{"cameras":{nothing},"name":"r1"}}"#));
        }
        for other in [json!(["r1", [{"id": "a"}]]), json!("r1"), json!({})] {
            let described = described(&other);
            assert_eq!(described.cameras().count(), 0);
            assert_eq!(described.with_cameras(&[]).as_ref(), Some(described.whole()));
        }
        for twice in [r#"{"cameras":[],"cameras":[]}"#, r#"{"name":"r1","name":"r2"}"#] {
            assert_eq!(Described::new(serde_json::from_str(twice).unwrap()), None);
        }
    }

    /// As many cameras in as few bytes as can be.
    #[test]
    fn what_is_kept_grows_with_the_text() {
        let text = format!(r#"{{"cameras":[{}]}}"#, vec![r#"{"id":""}"#; 3_000].join(","));
        let described = Described::new(serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(described.cameras().count(), 3_000);
        let kept_bytes = text.len() + size_of_val(&*described.cameras);
        assert!(kept_bytes < 5 * text.len(), "{kept_bytes} for {}", text.len());
    }
}
