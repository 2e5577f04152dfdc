//! What an access unit carries of its times, from where it left the encoder to every session: a
//! meta of its buffer, so that it is written once, however many viewers there are.

use gst::{ClockTime, ReferenceTimestampMeta};

/// By this name the meta is known from others of its kind.
const NAME: &str = "timestamp/x-rovercast-capture";

/// The times of one frame, on the shared clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When its picture was captured.
    pub captured: ClockTime,
    /// When its access unit left the encoder, or came from where it was encoded.
    pub encoded: ClockTime,
}

/// Writes them.
#[derive(Debug)]
pub struct Stamp(gst::Caps);

impl Default for Stamp {
    fn default() -> Self {
        Self(gst::Caps::new_empty_simple(NAME))
    }
}

impl Stamp {
    /// Puts them on an access unit.
    pub fn put(&self, buffer: &mut gst::BufferRef, times: Times) {
        let took = times.encoded.saturating_sub(times.captured);
        ReferenceTimestampMeta::add(buffer, &self.0, times.captured, took);
    }
}

/// Reads them; none where there are none.
pub fn times(buffer: &gst::BufferRef) -> Option<Times> {
    let mut metas = buffer.iter_meta::<ReferenceTimestampMeta>();
    let ours = metas.find(|meta| meta.reference().structure(0).is_some_and(|it| it.name() == NAME));
    let ours = ours?;
    let (captured, took) = (ours.timestamp(), ours.duration()?);
    Some(Times { captured, encoded: captured.checked_add(took)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_among_others() {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        let other = gst::Caps::new_empty_simple("timestamp/x-ntp");
        let late = ClockTime::from_seconds(9);
        ReferenceTimestampMeta::add(buffer.make_mut(), &other, late, late);
        assert_eq!(times(&buffer), None);
        let told = Times {
            captured: ClockTime::from_mseconds(1500),
            encoded: ClockTime::from_useconds(1_502_345),
        };
        Stamp::default().put(buffer.make_mut(), told);
        assert_eq!(times(&buffer.copy()), Some(told));
    }
}
