//! What the operator has done to the window: what is enlarged, frozen, unfolded. Pure.

use rovercast_protocol::ids::CameraId;

use crate::window::keys::Wish;

/// How the operator wants the window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desk {
    /// The camera that is large; its place in the order may change.
    pub enlarged: Option<CameraId>,
    /// Whether pictures stand still.
    pub frozen: bool,
    /// Whether every camera's details are shown.
    pub details: bool,
    /// Whether the help is shown.
    pub help: bool,
    /// Whether the window has the whole screen.
    pub full_screen: bool,
}

/// What somebody else has to do about a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Saves the pictures of these cameras, as they are shown.
    Save(Vec<CameraId>),
    /// Begins or ends a recording.
    Record,
    /// Ends everything.
    Quit,
}

impl Desk {
    /// Takes a wish, given the cameras in their order. Returns what is not the desk's to do.
    pub fn wish(&mut self, wish: Wish, cameras: &[CameraId]) -> Option<Deed> {
        match wish {
            Wish::Toggle(index) => {
                let camera = cameras.get(index)?;
                let large = self.enlarged.as_ref() == Some(camera);
                self.enlarged = (!large).then(|| camera.clone());
            }
            Wish::All => self.enlarged = None,
            Wish::Back if self.help => self.help = false,
            Wish::Back if self.enlarged.is_some() => self.enlarged = None,
            Wish::Back => self.full_screen = false,
            Wish::FullScreen => self.full_screen = !self.full_screen,
            Wish::Details => self.details = !self.details,
            Wish::Freeze => self.frozen = !self.frozen,
            Wish::Help => self.help = !self.help,
            Wish::Snapshot => {
                let one = self.enlarged.clone().filter(|camera| cameras.contains(camera));
                return Some(Deed::Save(one.map_or_else(|| cameras.to_vec(), |one| vec![one])));
            }
            Wish::Record => return Some(Deed::Record),
            Wish::Quit => return Some(Deed::Quit),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cameras() -> Vec<CameraId> {
        ["a", "b", "c"].map(|id| id.parse().unwrap()).into()
    }

    #[test]
    fn a_camera_is_enlarged_and_returns() {
        let (mut desk, cameras) = (Desk::default(), cameras());
        desk.wish(Wish::Toggle(1), &cameras);
        assert_eq!(desk.enlarged, Some(cameras[1].clone()));
        desk.wish(Wish::Toggle(2), &cameras);
        assert_eq!(desk.enlarged, Some(cameras[2].clone()));
        desk.wish(Wish::Toggle(7), &cameras);
        assert_eq!(desk.enlarged, Some(cameras[2].clone()), "there is no such camera");
        desk.wish(Wish::Toggle(2), &cameras);
        assert_eq!(desk.enlarged, None);
        desk.wish(Wish::Toggle(0), &cameras);
        desk.wish(Wish::All, &cameras);
        assert_eq!(desk.enlarged, None);
    }

    #[test]
    fn back_is_one_step_at_a_time() {
        let (mut desk, cameras) = (Desk::default(), cameras());
        for wish in [Wish::FullScreen, Wish::Toggle(0), Wish::Help] {
            desk.wish(wish, &cameras);
        }
        desk.wish(Wish::Back, &cameras);
        assert!(!desk.help && desk.enlarged.is_some());
        desk.wish(Wish::Back, &cameras);
        assert!(desk.enlarged.is_none() && desk.full_screen);
        desk.wish(Wish::Back, &cameras);
        assert!(!desk.full_screen);
    }

    #[test]
    fn what_is_shown_is_saved() {
        let (mut desk, cameras) = (Desk::default(), cameras());
        assert_eq!(desk.wish(Wish::Snapshot, &cameras), Some(Deed::Save(cameras.clone())));
        desk.wish(Wish::Toggle(1), &cameras);
        let one = vec![cameras[1].clone()];
        assert_eq!(desk.wish(Wish::Snapshot, &cameras), Some(Deed::Save(one)));
        assert_eq!(desk.wish(Wish::Quit, &cameras), Some(Deed::Quit));
        assert_eq!(desk.wish(Wish::Record, &cameras), Some(Deed::Record));
    }
}
