//! The window itself, and the loop in which it lives, on the program's main thread. What happens in
//! the loop is elsewhere.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rovercast_protocol::ids::RobotId;
use sdl2::EventPump;
use sdl2::event::{Event, EventType};
use sdl2::render::{TextureCreator, WindowCanvas};
use sdl2::video::WindowContext;
use tokio::sync::mpsc;

use crate::window::live::{Ends, LOOK, Live, SOFTWARE};
use crate::window::paint::Painter;
use crate::window::save::Saver;
use crate::window::text::Type;
use crate::window::wall::Wall;
use crate::window::{Renderer, WindowCommand, WindowSettings};

/// Commands that may wait for the program; more are dropped, since nobody presses so fast.
const COMMANDS: usize = 16;

/// A window that shows one robot. It stays open while it exists; handles to it must not outlive it.
pub struct Window {
    ends: Ends,
    canvas: Option<WindowCanvas>,
    creator: TextureCreator<WindowContext>,
    pump: EventPump,
}

impl std::fmt::Debug for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Window").field("robot", &self.ends.robot).finish_non_exhaustive()
    }
}

impl Window {
    /// Opens it, on the program's main thread. Beside it come the handle for other threads, and
    /// what the operator wants. The error says what a display is missing.
    pub fn open(
        robot: RobotId,
        settings: WindowSettings,
    ) -> anyhow::Result<(Self, Wall, mpsc::Receiver<WindowCommand>)> {
        settings.check()?;
        for (name, value) in [
            // Ctrl-C and SIGTERM are the program's business.
            ("SDL_NO_SIGNAL_HANDLERS", "1"),
            ("SDL_APP_NAME", "Rovercast"),
            ("SDL_VIDEO_X11_WMCLASS", "rovercast-receiver"),
            // A screen that is not looked at shows nothing, and one that is, shows all of it.
            ("SDL_VIDEO_MINIMIZE_ON_FOCUS_LOSS", "0"),
            ("SDL_RENDER_SCALE_QUALITY", "linear"),
            // What the processor has drawn need not go through an OpenGL of its own.
            ("SDL_FRAMEBUFFER_ACCELERATION", "0"),
        ] {
            sdl2::hint::set(name, value);
        }
        let sdl = sdl2::init().map_err(|error| anyhow!(error))?;
        let video = sdl.video().map_err(no_display)?;
        let mut pump = sdl.event_pump().map_err(|error| anyhow!(error))?;
        pump.disable_event(EventType::MouseMotion);
        let (width, height) = settings.size;
        let mut window = video.window(&format!("{robot} – Rovercast"), width, height);
        window.position_centered().resizable().allow_highdpi();
        let window = window.build().map_err(|error| no_display(error.to_string()))?;
        let mut canvas = window.into_canvas();
        if settings.vsync {
            canvas = canvas.present_vsync();
        }
        if !wants_gpu(settings.renderer) {
            canvas = canvas.software();
        }
        let canvas = canvas.build().context("the window cannot be drawn")?;
        match (canvas.info().name, settings.renderer) {
            (SOFTWARE, Renderer::Software) => {}
            (SOFTWARE, _) => tracing::info!("there is no GPU: the processor draws the window"),
            (renderer, _) => tracing::debug!("{renderer} draws the window"),
        }
        let events = sdl.event().map_err(|error| anyhow!(error))?.event_sender();
        let wall = Wall::new(move || events.push_event(news()).is_ok());
        let (commands, wanted) = mpsc::channel(COMMANDS);
        let saver = Saver::start(settings.snapshots.clone(), wall.clone())?;
        let creator = canvas.texture_creator();
        let ends = Ends { robot, settings, wall: wall.clone(), commands, saver };
        Ok((Self { ends, canvas: Some(canvas), creator, pump }, wall, wanted))
    }

    /// Shows what comes, until the operator quits or [`Wall::close`] is called. Then it is hidden.
    pub fn run(&mut self) -> anyhow::Result<()> {
        let canvas = self.canvas.take().context("the window has ended")?;
        let painter = Painter::new(canvas, &self.creator, Type::load()?);
        let mut live = Live::new(&self.ends, painter);
        let mut wait = Duration::ZERO;
        while !live.is_over() {
            let wait_ms = wait.as_micros().div_ceil(1000).min(LOOK.as_millis());
            let first = self.pump.wait_event_timeout(u32::try_from(wait_ms).unwrap_or(0));
            for event in first.into_iter().chain(self.pump.poll_iter()) {
                live.on_event(&event);
            }
            wait = live.refresh();
        }
        live.hide();
        Ok(())
    }
}

/// An event that only says that there is something to look at. Nobody registers others.
fn news() -> Event {
    Event::User {
        timestamp: 0,
        window_id: 0,
        type_: EventType::User as u32,
        code: 0,
        data1: std::ptr::null_mut(),
        data2: std::ptr::null_mut(),
    }
}

/// Whether a GPU is to draw. An OpenGL that is made of software costs more than drawing without.
fn wants_gpu(renderer: Renderer) -> bool {
    const DEVICES: [&str; 4] =
        ["/dev/dri/renderD128", "/dev/nvidia0", "/dev/nvhost-gpu", "/dev/mali0"];
    match renderer {
        Renderer::Gpu => true,
        Renderer::Software => false,
        Renderer::Auto => DEVICES.iter().any(|device| Path::new(device).exists()),
    }
}

fn no_display(error: String) -> anyhow::Error {
    anyhow!(
        "no window can be opened: {error}. Set DISPLAY or WAYLAND_DISPLAY to a display that there \
         is, or receive without a window by --sink null"
    )
}
