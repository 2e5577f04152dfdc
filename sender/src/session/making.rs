//! The connection of a session, with its tracks, before it negotiates: for our own offer, or for the
//! viewer's.

use rovercast_peer::connection::{Connection, ConnectionError, ConnectionSettings};
use rovercast_peer::negotiation::Description;
use rovercast_protocol::codec::Codec;

use crate::session::media::{Feed, SentTrack};
use crate::session::placing::place;
use crate::session::task::{End, SessionCamera};
use crate::session::times::Telling;

/// A connection before it negotiates.
pub(super) struct Made {
    pub(super) connection: Connection,
    pub(super) tracks: Vec<SentTrack>,
    pub(super) answering: Option<Answering>,
}

/// A viewer's offer, and the section that each track has in it.
pub(super) struct Answering {
    pub(super) offer: Description,
    pub(super) sections: Vec<usize>,
}

/// Makes it, with a track for each camera; for an `offer`, for each that has a place there. To be called
/// where blocking is allowed.
pub(super) fn make(
    name: &str,
    settings: &ConnectionSettings,
    offer: Option<&str>,
    cameras: Vec<SessionCamera>,
    telling: Telling,
) -> Result<Made, End> {
    let mut feeds: Vec<Option<Feed>> =
        cameras.into_iter().map(|camera| Some(camera.feed)).collect();
    let Some(text) = offer else {
        let mut connection = Connection::new(name, settings)?;
        let tracks = feeds
            .into_iter()
            .flatten()
            .map(|feed| SentTrack::add(&mut connection, feed, telling))
            .collect::<Result<_, _>>()?;
        return Ok(Made { connection, tracks, answering: None });
    };
    let offer = Description::parse(text).map_err(ConnectionError::from)?;
    let codecs: Vec<Codec> = feeds.iter().flatten().map(|feed| feed.codec).collect();
    let places = place(&offer.sections, &codecs)?;
    let mut connection = Connection::new(name, settings)?;
    let mut tracks = Vec::new();
    for (index, section) in offer.sections.iter().enumerate() {
        let place = places.iter().find(|place| place.section == index);
        if let Some(place) = place {
            let Some(feed) = feeds.get_mut(place.camera).and_then(Option::take) else { continue };
            let track = SentTrack::add_answering(&mut connection, feed, telling, section, *place);
            tracks.push(track?);
        } else if ["audio", "video"].contains(&section.kind.as_str()) {
            connection.leave_out(index, &section.kind)?;
        }
    }
    let sections = places.iter().map(|place| place.section).collect();
    Ok(Made { connection, tracks, answering: Some(Answering { offer, sections }) })
}
