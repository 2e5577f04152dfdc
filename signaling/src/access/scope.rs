//! Scopes: the words of a token that say what its bearer may do, and to which robots and cameras.

use rovercast_protocol::ids::MAX_NAME_LEN;

/// What a token's `scope` allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scopes(Vec<Scope>);

/// A word that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no scope: use publish:ROBOT, view:ROBOT, view:ROBOT/CAMERA, control:ROBOT or metrics; \
     names are letters, digits, '-', '_' and '.', and `*` stands for all, or ends a name"
)]
pub struct BadScope(String);

impl Scopes {
    /// Reads words between spaces. Those that are no scopes allow nothing: they may be meant for
    /// other programs, or for later versions.
    pub(super) fn read(text: &str) -> Self {
        Self(text.split_ascii_whitespace().filter_map(|word| Scope::read(word).ok()).collect())
    }

    /// Reads words between spaces, all of which must be scopes.
    pub(super) fn read_strictly(text: &str) -> Result<Self, BadScope> {
        text.split_ascii_whitespace().map(Scope::read).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn may_publish(&self, robot: Option<&str>) -> bool {
        self.any(|scope| matches!(scope, Scope::Publish(robots) if robots.covers(robot)))
    }

    pub(super) fn may_view(&self, robot: Option<&str>) -> bool {
        self.any(|scope| matches!(scope, Scope::View(robots, _) if robots.covers(robot)))
    }

    pub(super) fn may_view_camera(&self, robot: Option<&str>, camera: &str) -> bool {
        self.any(|scope| match scope {
            Scope::View(robots, cameras) => robots.covers(robot) && cameras.covers(Some(camera)),
            _ => false,
        })
    }

    pub(super) fn views_all_cameras(&self, robot: Option<&str>) -> bool {
        self.any(|scope| matches!(scope, Scope::View(robots, Names::All) if robots.covers(robot)))
    }

    pub(super) fn may_control(&self, robot: Option<&str>) -> bool {
        self.any(|scope| matches!(scope, Scope::Control(robots) if robots.covers(robot)))
    }

    pub(super) fn may_have_sessions(&self) -> bool {
        self.any(|scope| matches!(scope, Scope::Publish(_) | Scope::View(..)))
    }

    pub(super) fn may_scrape(&self) -> bool {
        self.0.contains(&Scope::Metrics)
    }

    fn any(&self, allows: impl Fn(&Scope) -> bool) -> bool {
        self.0.iter().any(allows)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    Publish(Names),
    /// These cameras of these robots.
    View(Names, Names),
    Control(Names),
    Metrics,
}

impl Scope {
    fn read(word: &str) -> Result<Self, BadScope> {
        let read = || match word.split_once(':') {
            None if word == "metrics" => Some(Self::Metrics),
            Some(("publish", robot)) => Names::read(robot).map(Self::Publish),
            Some(("control", robot)) => Names::read(robot).map(Self::Control),
            Some(("view", rest)) => {
                let (robot, camera) = rest.split_once('/').unwrap_or((rest, "*"));
                Some(Self::View(Names::read(robot)?, Names::read(camera)?))
            }
            _ => None,
        };
        // Of a word that is long nobody needs more to find it.
        read().ok_or_else(|| BadScope(word.chars().take(MAX_NAME_LEN).collect()))
    }
}

/// Names of robots or of cameras.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    All,
    BeginningWith(Box<str>),
    One(Box<str>),
}

impl Names {
    fn read(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let (name, open) = match text.strip_suffix('*') {
            Some("") => return Some(Self::All),
            Some(beginning) => (beginning, true),
            None => (text, false),
        };
        if !(1..=MAX_NAME_LEN).contains(&name.len()) || !name.bytes().all(is_plain) {
            return None;
        }
        Some(if open { Self::BeginningWith(name.into()) } else { Self::One(name.into()) })
    }

    /// Whether the name is one of these. What has no name is covered by all alone.
    fn covers(&self, name: Option<&str>) -> bool {
        match (self, name) {
            (Self::All, _) => true,
            (_, None) => false,
            (Self::BeginningWith(beginning), Some(name)) => name.starts_with(&**beginning),
            (Self::One(one), Some(name)) => **one == *name,
        }
    }
}
