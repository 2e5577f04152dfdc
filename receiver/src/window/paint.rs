//! What SDL draws of simple things: areas, round corners, hatching, text, pictures of cameras. Knows
//! nothing of what they mean.

use std::collections::HashMap;

use rovercast_protocol::ids::CameraId;
use sdl2::pixels::{Color, PixelFormatEnum};
use sdl2::rect::Rect;
use sdl2::render::{BlendMode, ScaleMode, Texture, TextureCreator, WindowCanvas};
use sdl2::video::WindowContext;

use crate::window::layout::Area;
use crate::window::planes::Planes;
use crate::window::text::{Type, Weight};

/// What drawing gives: the error is SDL's.
pub(crate) type Drawn = Result<(), String>;

/// How text looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) size: u32,
    pub(crate) weight: Weight,
    pub(crate) color: Color,
}

/// At which edge of its area text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Middle,
    Right,
}

/// Text that was not part of so many drawings is forgotten.
const FORGOTTEN: u64 = 256;

/// Stripes of the hatching in one of its textures, each way.
const STRIPES: u32 = 8;

/// A brush with its textures. They are remade only when what they show changes.
pub(crate) struct Painter<'t> {
    canvas: WindowCanvas,
    creator: &'t TextureCreator<WindowContext>,
    fonts: Type,
    texts: HashMap<TextKey, Text<'t>>,
    discs: HashMap<u32, Texture<'t>>,
    hatchings: HashMap<u32, Texture<'t>>,
    pictures: HashMap<CameraId, Texture<'t>>,
    /// How often something was drawn.
    drawings: u64,
    /// Room for samples that have to be copied.
    spare: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TextKey {
    text: String,
    size: u32,
    weight: Weight,
    widest: u32,
}

struct Text<'t> {
    texture: Texture<'t>,
    size: (u32, u32),
    /// The last drawing that it was part of.
    used: u64,
}

impl<'t> Painter<'t> {
    /// One that draws here; textures are made by the canvas's own creator.
    pub(crate) fn new(
        canvas: WindowCanvas,
        creator: &'t TextureCreator<WindowContext>,
        fonts: Type,
    ) -> Self {
        Self {
            canvas,
            creator,
            fonts,
            texts: HashMap::new(),
            discs: HashMap::new(),
            hatchings: HashMap::new(),
            pictures: HashMap::new(),
            drawings: 0,
            spare: Vec::new(),
        }
    }

    /// The window that is drawn in.
    pub(crate) fn canvas(&mut self) -> &mut WindowCanvas {
        &mut self.canvas
    }

    /// Forgets all textures: the renderer has lost them.
    pub(crate) fn forget(&mut self) {
        self.texts.clear();
        self.discs.clear();
        self.hatchings.clear();
        self.pictures.clear();
    }

    /// Empties the window.
    pub(crate) fn clear(&mut self, color: Color) {
        self.canvas.set_draw_color(color);
        self.canvas.clear();
    }

    /// Shows what was drawn, and forgets text that has not been for long.
    pub(crate) fn present(&mut self) {
        self.canvas.present();
        self.drawings += 1;
        let drawings = self.drawings;
        self.texts.retain(|_, text| drawings - text.used < FORGOTTEN);
    }

    /// Fills an area; a color that is not opaque lets through what was there.
    pub(crate) fn fill(&mut self, area: Area, color: Color) -> Drawn {
        self.canvas.set_blend_mode(BlendMode::Blend);
        self.canvas.set_draw_color(color);
        self.canvas.fill_rect(rect(area))
    }

    /// Fills an area with round corners.
    pub(crate) fn rounded(&mut self, area: Area, radius: i32, color: Color) -> Drawn {
        let radius = radius.min(area.width / 2).min(area.height / 2);
        if radius < 1 {
            return self.fill(area, color);
        }
        let Area { x, y, width, height } = area;
        let between = height - 2 * radius;
        self.fill(Area::new(x + radius, y, width - 2 * radius, radius), color)?;
        self.fill(Area::new(x, y + radius, width, between), color)?;
        self.fill(Area::new(x + radius, y + radius + between, width - 2 * radius, radius), color)?;
        let size = radius.unsigned_abs();
        if !self.discs.contains_key(&size) {
            let texture = self.texture(2 * size, 2 * size, |column, row| {
                let off = |at: u32| f64::from(at) + 0.5 - f64::from(size);
                let covered = f64::from(size) - off(column).hypot(off(row)) + 0.5;
                [255, 255, 255, (covered.clamp(0.0, 1.0) * 255.0) as u8]
            })?;
            self.discs.insert(size, texture);
        }
        let Some(disc) = self.discs.get_mut(&size) else { return Ok(()) };
        disc.set_color_mod(color.r, color.g, color.b);
        disc.set_alpha_mod(color.a);
        for (column, left) in [(0, x), (radius, x + width - radius)] {
            for (row, top) in [(0, y), (radius, y + height - radius)] {
                let quarter = Rect::new(column, row, size, size);
                self.canvas.copy(disc, quarter, Rect::new(left, top, size, size))?;
            }
        }
        Ok(())
    }

    /// Hatches an area, one stripe in so many pixels: in this color, dimmed between.
    pub(crate) fn hatch(&mut self, area: Area, stripe: u32, color: Color) -> Drawn {
        let side = stripe * STRIPES;
        if !self.hatchings.contains_key(&stripe) {
            let texture = self.texture(side, side, |column, row| {
                let phase = f64::from((column + row) % stripe);
                // The middle of the stripe is at a quarter of its period; its edges are smooth.
                let off = (phase - f64::from(stripe) / 4.0).abs();
                let covered = (f64::from(stripe) / 5.0 - off + 0.5).clamp(0.0, 1.0);
                let mix =
                    |on: u8, off: f64| (f64::from(on) * covered + off * (1.0 - covered)) as u8;
                [mix(color.r, 0.0), mix(color.g, 0.0), mix(color.b, 0.0), mix(color.a, 90.0)]
            })?;
            self.hatchings.insert(stripe, texture);
        }
        let Some(hatching) = self.hatchings.get(&stripe) else { return Ok(()) };
        for top in (0..area.height.unsigned_abs()).step_by(side as usize) {
            for left in (0..area.width.unsigned_abs()).step_by(side as usize) {
                let width = side.min(area.width.unsigned_abs() - left);
                let height = side.min(area.height.unsigned_abs() - top);
                let at = Rect::new(area.x + left as i32, area.y + top as i32, width, height);
                self.canvas.copy(hatching, Rect::new(0, 0, width, height), at)?;
            }
        }
        Ok(())
    }

    /// Writes one line, in the middle of the area's height. Returns how wide it is.
    pub(crate) fn text(
        &mut self,
        text: &str,
        style: Style,
        area: Area,
        align: Align,
    ) -> Result<i32, String> {
        let Style { size, weight, color } = style;
        if text.is_empty() || area.width < 1 {
            return Ok(0);
        }
        let key =
            TextKey { text: text.to_owned(), size, weight, widest: area.width.unsigned_abs() };
        if !self.texts.contains_key(&key) {
            let line = self.fonts.line(text, size, weight, key.widest);
            let texture = self.texture(line.width, line.height, |column, row| {
                [255, 255, 255, line.coverage[(row * line.width + column) as usize]]
            })?;
            let text = Text { texture, size: (line.width, line.height), used: self.drawings };
            self.texts.insert(key.clone(), text);
        }
        let Some(text) = self.texts.get_mut(&key) else { return Ok(0) };
        text.used = self.drawings;
        text.texture.set_color_mod(color.r, color.g, color.b);
        text.texture.set_alpha_mod(color.a);
        let (width, height) = text.size;
        let spare = area.width - width as i32;
        let x = area.x
            + match align {
                Align::Left => 0,
                Align::Middle => spare / 2,
                Align::Right => spare,
            };
        let y = area.y + (area.height - height as i32) / 2;
        self.canvas.copy(&text.texture, None, Rect::new(x, y, width, height))?;
        Ok(width as i32)
    }

    /// How wide a line would be.
    pub(crate) fn width(&self, text: &str, style: Style) -> i32 {
        self.fonts.width(text, style.size, style.weight).ceil() as i32
    }

    /// Text in lines that are no wider than that.
    pub(crate) fn wrap(&self, text: &str, style: Style, widest: i32, lines: usize) -> Vec<String> {
        self.fonts.wrap(text, style.size, style.weight, widest.unsigned_abs(), lines)
    }

    /// Draws a camera's picture; nothing when it has none.
    pub(crate) fn picture(&mut self, camera: &CameraId, area: Area) -> Drawn {
        match self.pictures.get(camera) {
            Some(picture) => self.canvas.copy(picture, None, rect(area)),
            None => Ok(()),
        }
    }

    /// Takes a camera's picture. Returns its width to height.
    pub(crate) fn take(&mut self, camera: &CameraId, sample: &gst::Sample) -> Result<f64, String> {
        let planes = Planes::of(sample)?;
        let (format, (width, height)) = (planes.format(), planes.size());
        let fits = self.pictures.get(camera).is_some_and(|texture| {
            let known = texture.query();
            (known.format, known.width, known.height) == (format, width, height)
        });
        if !fits {
            let texture = self.creator.create_texture_streaming(format, width, height);
            let mut texture = texture.map_err(|error| error.to_string())?;
            texture.set_scale_mode(ScaleMode::Linear);
            self.pictures.insert(camera.clone(), texture);
        }
        if let Some(texture) = self.pictures.get_mut(camera) {
            planes.upload(texture, &mut self.spare)?;
        }
        Ok(planes.aspect())
    }

    /// Forgets a camera's picture.
    pub(crate) fn drop_picture(&mut self, camera: &CameraId) {
        self.pictures.remove(camera);
    }

    fn texture(
        &self,
        width: u32,
        height: u32,
        pixel: impl Fn(u32, u32) -> [u8; 4],
    ) -> Result<Texture<'t>, String> {
        let places = (0..height).flat_map(|row| (0..width).map(move |column| (column, row)));
        let pixels: Vec<u8> = places.flat_map(|(column, row)| pixel(column, row)).collect();
        let texture = self.creator.create_texture_static(PixelFormatEnum::RGBA32, width, height);
        let mut texture = texture.map_err(|error| error.to_string())?;
        let updated = texture.update(None, &pixels, width as usize * 4);
        updated.map_err(|error| error.to_string())?;
        texture.set_blend_mode(BlendMode::Blend);
        Ok(texture)
    }
}

fn rect(area: Area) -> Rect {
    Rect::new(area.x, area.y, area.width.unsigned_abs(), area.height.unsigned_abs())
}
