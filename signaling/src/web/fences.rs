//! Headers that fence in what browsers do with a response, whatever it is.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

/// Scripts, styles and connections (WebSockets included) of this server only; nothing inline. The
/// pictures of cameras are streams, not files, which no rule is about.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the viewer never needs, lest a flaw in it gives them away.
const PERMISSIONS_POLICY: &str = "bluetooth=(), camera=(), display-capture=(), geolocation=(), \
    hid=(), microphone=(), midi=(), payment=(), serial=(), usb=()";

/// Half a year, in seconds.
const STRICT_TRANSPORT_SECURITY: &str = "max-age=15552000";

const ALWAYS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // For browsers that do not know frame-ancestors.
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Whether browsers shall never again come without TLS. Not where a certificate is self-signed: they
/// would then let nobody pass who accepts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Strict(pub(crate) bool);

/// Puts the fences around a response.
pub(crate) async fn fence(
    State(Strict(strict)): State<Strict>,
    mut response: Response,
) -> Response {
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if strict {
        let value = HeaderValue::from_static(STRICT_TRANSPORT_SECURITY);
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    response
}
