//! A window while it runs: what the operator does to it, and when it is drawn. What it shows is
//! decided elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use rovercast_peer::start::now_us;
use rovercast_protocol::ids::{CameraId, RobotId};
use sdl2::event::{Event, WindowEvent};
use sdl2::keyboard::{Keycode, Mod, Scancode};
use sdl2::mouse::MouseButton;
use sdl2::rect::Rect;
use sdl2::video::{FullscreenType, WindowPos};
use tokio::sync::mpsc;

use crate::window::desk::{Deed, Desk};
use crate::window::draw::draw;
use crate::window::keys::{Key, Wish, wish};
use crate::window::layout::tile_at;
use crate::window::paint::Painter;
use crate::window::save::Saver;
use crate::window::scene::Scene;
use crate::window::wall::{Picture, Wall};
use crate::window::{WindowCommand, WindowSettings};

/// Without news it is looked this often, should news ever fail to wake the loop.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// How much the newest picture counts in the average time from the decoder to the screen.
const NEWEST: f64 = 0.1;

/// SDL's renderer that draws by the processor. What it has drawn is still there the next time.
pub(crate) const SOFTWARE: &str = "software";

/// What a window has to do with.
pub(crate) struct Ends {
    pub(crate) robot: RobotId,
    pub(crate) settings: WindowSettings,
    pub(crate) wall: Wall,
    pub(crate) commands: mpsc::Sender<WindowCommand>,
    pub(crate) saver: Saver,
}

/// The window while it runs.
pub(crate) struct Live<'a> {
    ends: &'a Ends,
    painter: Painter<'a>,
    desk: Desk,
    /// The pictures on the screen.
    shown: BTreeMap<CameraId, Picture>,
    /// Newer ones that are not to be shown now.
    withheld: BTreeMap<CameraId, Picture>,
    /// What was drawn last; none when that is lost.
    scene: Option<Scene>,
    /// What was enlarged before a click that may be the first of two.
    before_click: Option<CameraId>,
    minimized: bool,
    /// Whether what was drawn is still there at the next drawing.
    keeps: bool,
    /// The key that is down has been so for a while.
    repeating: bool,
    /// Where the window was before it had the whole screen.
    windowed: Option<Rect>,
    /// What was last wrong with drawing: it is told once, not with every picture.
    complaint: String,
    quit: bool,
}

impl<'a> Live<'a> {
    /// One that draws with this.
    pub(crate) fn new(ends: &'a Ends, mut painter: Painter<'a>) -> Self {
        let keeps = painter.canvas().info().name == SOFTWARE;
        let desk = Desk { full_screen: ends.settings.full_screen, ..Desk::default() };
        let mut live = Self {
            ends,
            painter,
            desk,
            shown: BTreeMap::new(),
            withheld: BTreeMap::new(),
            scene: None,
            before_click: None,
            minimized: false,
            keeps,
            repeating: false,
            windowed: None,
            complaint: String::new(),
            quit: false,
        };
        if live.desk.full_screen {
            live.change_screen();
        }
        live
    }

    /// Whether it is to end.
    pub(crate) fn is_over(&self) -> bool {
        self.quit || self.ends.wall.is_closed()
    }

    /// The end of it: it is seen no longer.
    pub(crate) fn hide(mut self) {
        self.painter.canvas().window_mut().hide();
    }

    /// Takes what the operator does, or what happens to the window.
    pub(crate) fn on_event(&mut self, event: &Event) {
        match event {
            Event::Quit { .. } => self.wish(Wish::Quit),
            Event::KeyDown { keycode, scancode, keymod, repeat, .. } => {
                self.repeating = *repeat;
                let held =
                    Mod::LCTRLMOD | Mod::RCTRLMOD | Mod::LALTMOD | Mod::LGUIMOD | Mod::RGUIMOD;
                let key = key(*keycode, *scancode).filter(|_| !repeat && !keymod.intersects(held));
                if let Some(wish) = key.and_then(wish) {
                    self.wish(wish);
                }
            }
            // Which key gives a question mark depends on the keyboard.
            Event::TextInput { text, .. } if text == "?" && !self.repeating => {
                self.wish(Wish::Help);
            }
            Event::MouseButtonDown { mouse_btn: MouseButton::Left, clicks, x, y, .. } => {
                self.click(*clicks, *x, *y);
            }
            Event::Window { win_event, .. } => self.on_window(win_event),
            Event::RenderTargetsReset { .. } | Event::RenderDeviceReset { .. } => {
                tracing::info!("the GPU has lost the window's pictures; they are drawn anew");
                self.painter.forget();
                for (camera, picture) in &self.shown {
                    // What cannot be drawn now, could not before, and was told then.
                    let _ = self.painter.take(camera, &picture.sample);
                }
                self.scene = None;
            }
            _ => {}
        }
    }

    fn on_window(&mut self, event: &WindowEvent) {
        match event {
            WindowEvent::Close => self.wish(Wish::Quit),
            WindowEvent::Minimized | WindowEvent::Hidden => self.minimized = true,
            WindowEvent::Restored | WindowEvent::Shown | WindowEvent::Maximized => {
                (self.minimized, self.scene) = (false, None);
            }
            WindowEvent::Exposed | WindowEvent::SizeChanged(..) => self.scene = None,
            _ => {}
        }
    }

    /// The first click of two enlarges; the second takes that back, and has the whole screen.
    fn click(&mut self, clicks: u8, x: i32, y: i32) {
        if clicks == 2 {
            self.desk.enlarged = self.before_click.take();
            return self.wish(Wish::FullScreen);
        }
        let Some(scene) = &self.scene else { return };
        // Where pixels are finer than the mouse.
        let (wide, _) = self.painter.canvas().window().size();
        let factor = f64::from(scene.window.width) / f64::from(wide.max(1));
        let fine = |at: i32| (f64::from(at) * factor) as i32;
        let places: Vec<_> = scene.tiles.iter().map(|tile| tile.place).collect();
        let hit = tile_at(&places, fine(x), fine(y));
        self.before_click = self.desk.enlarged.clone();
        if self.desk.help {
            self.wish(Wish::Help);
        } else if let Some(index) = hit {
            self.wish(Wish::Toggle(index));
        }
    }

    fn wish(&mut self, wish: Wish) {
        let full_screen = self.desk.full_screen;
        let cameras: Vec<CameraId> = self
            .ends
            .wall
            .look(|board| board.cameras.iter().map(|camera| camera.face.id.clone()).collect());
        match self.desk.wish(wish, &cameras) {
            Some(Deed::Save(cameras)) => self.save(&cameras),
            Some(Deed::Record) => {
                let going_on = self.ends.wall.look(|board| board.recording.is_some());
                self.command(WindowCommand::Record(!going_on));
            }
            Some(Deed::Quit) => {
                self.command(WindowCommand::Quit);
                self.quit = true;
            }
            None => {}
        }
        if self.desk.full_screen != full_screen {
            self.change_screen();
        }
        self.scene = None;
    }

    fn change_screen(&mut self) {
        if let Err(error) = self.set_full_screen() {
            self.ends.wall.note(format!("no full screen: {error}"), true);
        }
    }

    /// Where no window manager sees to it, nothing but the size and the place makes it full.
    fn set_full_screen(&mut self) -> Result<(), String> {
        let window = self.painter.canvas().window_mut();
        if self.desk.full_screen {
            self.windowed = Some(Rect::new(
                window.position().0,
                window.position().1,
                window.size().0,
                window.size().1,
            ));
            let bounds = window.subsystem().display_bounds(window.display_index()?)?;
            place(window, bounds)?;
            window.set_fullscreen(FullscreenType::Desktop)
        } else {
            window.set_fullscreen(FullscreenType::Off)?;
            self.windowed.take().map_or(Ok(()), |bounds| place(window, bounds))
        }
    }

    fn save(&self, cameras: &[CameraId]) {
        let picture = |camera: &CameraId| {
            self.shown.get(camera).map(|picture| (camera.clone(), picture.sample.clone()))
        };
        let pictures: Vec<_> = cameras.iter().filter_map(picture).collect();
        if pictures.is_empty() {
            self.ends.wall.note("no snapshot: there is no picture yet", true);
        } else if !self.ends.saver.save(pictures) {
            self.ends.wall.note("no snapshot: earlier ones are still being written", true);
        }
    }

    fn command(&self, command: WindowCommand) {
        if self.ends.commands.try_send(command).is_err() {
            tracing::warn!("{command:?} was not heard");
        }
    }

    /// Takes the news, and draws when that makes a difference. Returns when to look again.
    pub(crate) fn refresh(&mut self) -> Duration {
        self.ends.wall.awake();
        let news = self.ends.wall.take_pictures();
        self.ends.wall.look(|board| {
            for (id, picture) in &news {
                if let Some(camera) = board.camera(id) {
                    camera.arrived_us = Some(picture.arrived_us);
                }
            }
        });
        self.withheld.extend(news);
        let fresh = self.take_fresh();
        let size = self.painter.canvas().output_size().unwrap_or(self.ends.settings.size);
        let size = (size.0 as i32, size.1 as i32);
        let now = now_us();
        let mut scene = self.ends.wall.look(|board| {
            Scene::build(&self.ends.robot, board, &self.desk, &self.ends.settings, size, now)
        });
        let changes_in = scene.changes_in.take();
        if !self.minimized && (!fresh.is_empty() || self.scene.as_ref() != Some(&scene)) {
            let before = self.scene.as_ref().filter(|_| self.keeps);
            let drawn = draw(&mut self.painter, &scene, before, &fresh);
            self.painter.present();
            self.complain(drawn);
            self.presented(&fresh);
            self.scene = Some(scene);
        }
        changes_in.unwrap_or(LOOK)
    }

    /// Gives the painter those new pictures that are to be shown. Returns their cameras.
    fn take_fresh(&mut self) -> Vec<CameraId> {
        let (frozen, minimized) = (self.desk.frozen, self.minimized);
        let may = |id: &CameraId, shown: &BTreeMap<CameraId, Picture>| {
            !minimized && (!frozen || !shown.contains_key(id))
        };
        let mut fresh = Vec::new();
        for (id, picture) in std::mem::take(&mut self.withheld) {
            if !may(&id, &self.shown) {
                self.withheld.insert(id, picture);
                continue;
            }
            match self.painter.take(&id, &picture.sample) {
                Ok(aspect) => {
                    self.ends.wall.look(|board| {
                        if let Some(camera) = board.camera(&id) {
                            camera.shown = Some((picture.arrived_us, aspect));
                        }
                    });
                    self.shown.insert(id.clone(), picture);
                    fresh.push(id);
                }
                Err(error) => self.complain(Err(format!("{id}: {error}"))),
            }
        }
        self.forget_strangers();
        fresh
    }

    /// Pictures of cameras that there are no longer go.
    fn forget_strangers(&mut self) {
        if self.shown.len() <= self.ends.wall.look(|board| board.cameras.len()) {
            return;
        }
        let known: Vec<CameraId> = self
            .ends
            .wall
            .look(|board| board.cameras.iter().map(|camera| camera.face.id.clone()).collect());
        for id in self.shown.keys().filter(|id| !known.contains(id)) {
            self.painter.drop_picture(id);
        }
        self.shown.retain(|id, _| known.contains(id));
    }

    fn presented(&mut self, fresh: &[CameraId]) {
        let at_us = now_us();
        for id in fresh {
            let Some(picture) = self.shown.get(id) else { continue };
            let lag_us = (at_us - picture.arrived_us) as f64;
            self.ends.wall.look(|board| {
                if let Some(camera) = board.camera(id) {
                    camera.screen_lag_us += (lag_us - camera.screen_lag_us) * NEWEST;
                }
            });
            if let Some(pts) = picture.sample.buffer().and_then(|buffer| buffer.pts()) {
                self.ends.wall.presented(id, pts.nseconds(), at_us);
            }
        }
    }

    fn complain(&mut self, drawn: Result<(), String>) {
        if let Err(error) = drawn
            && error != self.complaint
        {
            tracing::warn!("the window is not drawn whole: {error}");
            self.complaint = error;
        }
    }
}

fn place(window: &mut sdl2::video::Window, at: Rect) -> Result<(), String> {
    window.set_position(WindowPos::Positioned(at.x()), WindowPos::Positioned(at.y()));
    window.set_size(at.width(), at.height()).map_err(|error| error.to_string())
}

/// A key, by what it writes; digits also by their place, since some keyboards write them only with
/// the shift key.
fn key(keycode: Option<Keycode>, scancode: Option<Scancode>) -> Option<Key> {
    const DIGITS: [(Scancode, Scancode); 10] = [
        (Scancode::Num0, Scancode::Kp0),
        (Scancode::Num1, Scancode::Kp1),
        (Scancode::Num2, Scancode::Kp2),
        (Scancode::Num3, Scancode::Kp3),
        (Scancode::Num4, Scancode::Kp4),
        (Scancode::Num5, Scancode::Kp5),
        (Scancode::Num6, Scancode::Kp6),
        (Scancode::Num7, Scancode::Kp7),
        (Scancode::Num8, Scancode::Kp8),
        (Scancode::Num9, Scancode::Kp9),
    ];
    if keycode == Some(Keycode::Escape) {
        return Some(Key::Escape);
    }
    let digit =
        DIGITS.iter().position(|&(row, pad)| scancode.is_some_and(|at| at == row || at == pad));
    if let Some(digit) = digit {
        return char::from_digit(digit as u32, 10).map(Key::Character);
    }
    let code = u8::try_from(i32::from(keycode?)).ok()?;
    code.is_ascii_alphabetic()
        .then_some(Key::Character(code.into()))
        .or_else(|| (code == b' ').then_some(Key::Character(' ')))
}
