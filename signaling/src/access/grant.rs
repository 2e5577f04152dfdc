//! What one peer may do: read from its token once, and asked at every request.

use std::fmt;
use std::sync::Arc;

use super::scope::{BadScope, Scopes};

/// What one peer may do. A copy costs next to nothing.
///
/// Robots are named by `meta.name`; one without a name (`None`) is covered by the wildcard `*`
/// alone. Viewing, control and publishing imply nothing of each other.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant(Option<Arc<Limited>>);

#[derive(PartialEq, Eq)]
struct Limited {
    subject: String,
    expires_at_unix_s: u64,
    scopes: Scopes,
}

impl Grant {
    /// Everything, for ever: what everybody has at a broker without keys.
    pub fn open() -> Self {
        Self(None)
    }

    /// What a token says: words of `scope` that are no scopes allow nothing.
    pub fn new(subject: impl Into<String>, expires_at_unix_s: u64, scope: &str) -> Self {
        Self::limited(subject.into(), expires_at_unix_s, Scopes::read(scope))
    }

    /// As [`Grant::new`], but every word of `scope` must be a scope.
    pub fn strict(
        subject: impl Into<String>,
        expires_at_unix_s: u64,
        scope: &str,
    ) -> Result<Self, BadScope> {
        let scopes = Scopes::read_strictly(scope)?;
        Ok(Self::limited(subject.into(), expires_at_unix_s, scopes))
    }

    fn limited(subject: String, expires_at_unix_s: u64, scopes: Scopes) -> Self {
        Self(Some(Arc::new(Limited { subject, expires_at_unix_s, scopes })))
    }

    /// Whether it is [`Grant::open`], of a broker that knows no tokens.
    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Whose token it was: who this is. None at a broker without keys.
    pub fn subject(&self) -> Option<&str> {
        self.0.as_ref().map(|limited| limited.subject.as_str())
    }

    /// The second, on the Unix clock, from which on it is void; None if that never comes.
    pub fn expires_at(&self) -> Option<u64> {
        self.0.as_ref().map(|limited| limited.expires_at_unix_s)
    }

    /// Whether this peer may be this robot.
    pub fn may_publish(&self, robot: Option<&str>) -> bool {
        self.allows(|scopes| scopes.may_publish(robot))
    }

    /// Whether this peer may know of the robot: it may view a camera of it, should it have that.
    pub fn may_view(&self, robot: Option<&str>) -> bool {
        self.allows(|scopes| scopes.may_view(robot))
    }

    /// Whether this peer may view this camera of this robot.
    pub fn may_view_camera(&self, robot: Option<&str>, camera: &str) -> bool {
        self.allows(|scopes| scopes.may_view_camera(robot, camera))
    }

    /// Whether this peer may view whatever cameras the robot has or will have. False where each
    /// camera must be asked for by itself, even if all of today's are allowed.
    pub fn views_all_cameras(&self, robot: Option<&str>) -> bool {
        self.allows(|scopes| scopes.views_all_cameras(robot))
    }

    /// Whether the broker lets this peer control the robot; the robot has the last word.
    pub fn may_control(&self, robot: Option<&str>) -> bool {
        self.allows(|scopes| scopes.may_control(robot))
    }

    /// Whether there is any session that this peer may be in: it may publish or view some robot.
    pub fn may_have_sessions(&self) -> bool {
        self.allows(Scopes::may_have_sessions)
    }

    /// Whether this peer may read the broker's metrics.
    pub fn may_scrape(&self) -> bool {
        self.allows(Scopes::may_scrape)
    }

    fn allows(&self, asks: impl FnOnce(&Scopes) -> bool) -> bool {
        self.0.as_ref().is_none_or(|limited| asks(&limited.scopes))
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Grant(open)"),
            Some(limited) => f
                .debug_struct("Grant")
                .field("subject", &limited.subject)
                .field("expires_at_unix_s", &limited.expires_at_unix_s)
                .field("scopes", &limited.scopes)
                .finish(),
        }
    }
}
