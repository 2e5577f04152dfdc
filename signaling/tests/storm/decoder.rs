//! Any bytes at all, given to the decoder of messages: the entry that the fuzzer and the tests
//! share.

use rovercast_protocol::signaling::PeerRequest;

/// What is said of a message that is refused is no longer than this, in bytes, whatever was in it.
const MAX_DETAILS_BYTES: usize = 1024;

/// Decodes them; panics if what comes of it is not as promised. True if they are a message.
pub(crate) fn decode(bytes: &[u8]) -> bool {
    // The socket hands on text alone.
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match PeerRequest::parse(text) {
        Ok(request) => {
            let again = serde_json::to_string(&request).expect("what was read can be written");
            assert_eq!(PeerRequest::parse(&again).as_ref(), Ok(&request), "{text} became {again}");
            true
        }
        Err(refusal) => {
            assert!(refusal.code.is_some(), "a refusal without a code: {text}");
            let bytes = refusal.details.len();
            assert!(
                bytes <= MAX_DETAILS_BYTES,
                "{} bytes in, {bytes} bytes of details",
                text.len()
            );
            false
        }
    }
}
