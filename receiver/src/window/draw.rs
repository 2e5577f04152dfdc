//! A scene, drawn. What it says and where its tiles are has been decided; here is how it looks.

use rovercast_protocol::ids::CameraId;
use sdl2::pixels::Color;

use crate::window::layout::{Area, Role};
use crate::window::paint::{Align, Drawn, Painter, Style};
use crate::window::scene::{Bar, Scene, Tile};
use crate::window::text::Weight;
use crate::window::verdict::{Link, State, Way};

const GROUND: Color = Color::RGB(11, 14, 18);
const RAISED: Color = Color::RGB(21, 27, 34);
const EMPTY: Color = Color::RGB(6, 8, 10);
const EDGE: Color = Color::RGB(43, 53, 65);
const TEXT: Color = Color::RGB(238, 243, 248);
const QUIET: Color = Color::RGB(165, 180, 195);
const DARK: Color = Color::RGB(14, 14, 10);
const ACCENT: Color = Color::RGB(79, 209, 255);
const GOOD: Color = Color::RGB(74, 222, 128);
const WARN: Color = Color::RGB(255, 201, 51);
const BAD: Color = Color::RGB(255, 107, 94);

/// Draws a scene; it is shown by [`Painter::present`]. Where `before` is still there, only what
/// differs from it is drawn, and the tiles of cameras with `fresh` pictures.
pub(crate) fn draw(
    painter: &mut Painter<'_>,
    scene: &Scene,
    before: Option<&Scene>,
    fresh: &[CameraId],
) -> Drawn {
    let before = before.filter(|before| stays(before, scene));
    if before.is_none() {
        painter.clear(GROUND);
    }
    let mut sheet = Sheet { painter, scale: scene.scale };
    for (index, tile) in scene.tiles.iter().enumerate() {
        let same = before.is_some_and(|before| before.tiles[index] == *tile);
        if !same || fresh.contains(&tile.camera) {
            sheet.painter.fill(tile.place.frame, GROUND)?;
            sheet.tile(tile)?;
        }
    }
    if before.is_none_or(|before| before.bar != scene.bar) {
        sheet.painter.fill(scene.bar.area, GROUND)?;
        sheet.bar(&scene.bar)?;
    }
    let style = sheet.style(26.0, Weight::Regular, QUIET);
    sheet.painter.text(&scene.empty, style, scene.window, Align::Middle)?;
    if let Some(note) = &scene.note {
        sheet.note(&note.text, note.bad, scene.window)?;
    }
    if let Some(rows) = scene.help {
        sheet.help(rows, scene.window)?;
    }
    Ok(())
}

/// Whether two scenes differ only within their tiles and bars, and nothing lies across those.
fn stays(before: &Scene, scene: &Scene) -> bool {
    let bare = |scene: &Scene| scene.note.is_none() && scene.help.is_none();
    let frames = |scene: &Scene| -> Vec<_> {
        scene.tiles.iter().map(|tile| (tile.camera.clone(), tile.place)).collect()
    };
    bare(before)
        && bare(scene)
        && before.window == scene.window
        && before.empty == scene.empty
        && frames(before) == frames(scene)
}

struct Sheet<'p, 't> {
    painter: &'p mut Painter<'t>,
    scale: f64,
}

impl Sheet<'_, '_> {
    fn px(&self, size: f64) -> i32 {
        (size * self.scale).round() as i32
    }

    fn style(&self, size: f64, weight: Weight, color: Color) -> Style {
        Style { size: self.px(size).max(8).unsigned_abs(), weight, color }
    }

    fn bar(&mut self, bar: &Bar) -> Drawn {
        let mut left = Area { x: bar.area.x + self.px(14.0), ..bar.area };
        left.width -= self.px(28.0);
        let name = self.style(21.0, Weight::Bold, TEXT);
        let width = self.painter.text(&bar.robot, name, left, Align::Left)?;
        left.x += width + self.px(14.0);
        let (color, word) = match bar.way {
            Way::NoBroker => (BAD, "no link to the broker"),
            Way::Offline => (BAD, "off-line"),
            Way::Connecting => (WARN, "connecting"),
            Way::Connected => (GOOD, "connected"),
        };
        left.x += self.dot(left.x, bar.area, color)?;
        let style = self.style(17.0, Weight::Regular, QUIET);
        let width = self.painter.text(word, style, left, Align::Left)?;
        let taken = left.x + width + self.px(20.0);
        let mut right = Area { x: taken, ..bar.area };
        right.width = bar.area.x + bar.area.width - self.px(14.0) - taken;
        if let Some(elapsed) = &bar.recording {
            let text = format!("● REC {elapsed}");
            let style = self.style(18.0, Weight::Bold, BAD);
            self.put_right(&text, style, &mut right)?;
        }
        if let Some(warning) = &bar.warning {
            let style = self.style(17.0, Weight::Bold, WARN);
            self.put_right(warning, style, &mut right)?;
        }
        if let Some(age) = &bar.frozen {
            let style = self.style(18.0, Weight::Bold, DARK);
            let text = format!("FROZEN {age}");
            let width = self.painter.width(&text, style) + self.px(24.0);
            let x = right.x + right.width - width;
            let plate = Area { x, width, ..right }.inset(0);
            let inset = self.px(6.0);
            let plate = Area::new(plate.x, plate.y + inset, plate.width, plate.height - 2 * inset);
            self.painter.rounded(plate, self.px(6.0), ACCENT)?;
            self.painter.text(&text, style, plate, Align::Middle)?;
            right.width -= width + self.px(18.0);
        }
        let style = self.style(17.0, Weight::Regular, QUIET);
        let figures = bar.figures.join("    ");
        self.put_right(&figures, style, &mut right)
    }

    /// Writes at the right end of an area, and takes that away from it.
    fn put_right(&mut self, text: &str, style: Style, area: &mut Area) -> Drawn {
        let width = self.painter.text(text, style, *area, Align::Right)?;
        if width > 0 {
            area.width = (area.width - width - self.px(14.0)).max(0);
        }
        Ok(())
    }

    /// Draws a dot at this place of a line. Returns how much room it takes.
    fn dot(&mut self, x: i32, line: Area, color: Color) -> Result<i32, String> {
        let size = self.px(9.0);
        let area = Area::new(x, line.y + (line.height - size) / 2, size, size);
        self.painter.rounded(area, size / 2, color)?;
        Ok(size + self.px(7.0))
    }

    fn tile(&mut self, tile: &Tile) -> Drawn {
        let look = Look::of(tile.verdict.state);
        let frame = tile.place.frame;
        let border = tile.place.header.x - frame.x;
        self.painter.rounded(frame, self.px(9.0), look.border)?;
        self.painter.rounded(frame.inset(border), self.px(7.0), RAISED)?;
        self.header(tile, &look)?;
        let picture = tile.place.picture;
        let room = tile.place.room();
        self.painter.fill(room, EMPTY)?;
        if tile.picture {
            self.painter.picture(&tile.camera, picture)?;
        }
        self.cover(tile)?;
        if tile.place.role != Role::Aside {
            self.details(&tile.details, room)?;
        }
        self.footer(tile)
    }

    fn header(&mut self, tile: &Tile, look: &Look) -> Drawn {
        let header = tile.place.header;
        if look.header != RAISED {
            self.painter.rounded(header, self.px(7.0), look.header)?;
            let half = header.height / 2;
            let lower = Area::new(header.x, header.y + half, header.width, header.height - half);
            self.painter.fill(lower, look.header)?;
        }
        let aside = tile.place.role == Role::Aside;
        let size = if aside { 15.0 } else { 18.0 };
        let mut line = header.inset(0);
        line.x += self.px(8.0);
        line.width -= self.px(16.0);
        let mut right = line;
        let bold = self.style(size, Weight::Bold, look.state);
        self.put_right(tile.verdict.state.word(), bold, &mut right)?;
        if let Some(link) = tile.link.filter(|_| !aside) {
            self.bars(link, look, &mut right)?;
        }
        let age = Style { color: look.age, ..bold };
        self.put_right(&tile.age, age, &mut right)?;
        line.width = right.width;
        if let Some(key) = tile.key {
            line = self.key(key, size, look, line)?;
        }
        let label = Style { color: look.label, ..bold };
        self.painter.text(&tile.label, label, line, Align::Left).map(drop)
    }

    /// Draws the key that enlarges a tile. Returns what it leaves of the line.
    fn key(&mut self, key: u8, size: f64, look: &Look, line: Area) -> Result<Area, String> {
        let side = self.px(size + 2.0);
        let cap = Area::new(line.x, line.y + (line.height - side) / 2, side, side);
        self.painter.rounded(cap, self.px(4.0), look.quiet)?;
        self.painter.rounded(cap.inset(self.px(1.0).max(1)), self.px(3.0), look.header)?;
        let style = self.style(size - 3.0, Weight::Bold, look.quiet);
        self.painter.text(&key.to_string(), style, cap, Align::Middle)?;
        let taken = side + self.px(8.0);
        Ok(Area::new(line.x + taken, line.y, line.width - taken, line.height))
    }

    fn bars(&mut self, link: Link, look: &Look, area: &mut Area) -> Drawn {
        let (wide, gap, high) = (self.px(3.0).max(2), self.px(2.0).max(1), self.px(14.0));
        let left = area.x + area.width - 4 * (wide + gap);
        let bottom = area.y + (area.height + high) / 2;
        let on = match (look.header == RAISED, link.bars) {
            (false, _) => look.quiet,
            (true, 0 | 1) => BAD,
            (true, 2) => WARN,
            (true, _) => GOOD,
        };
        for bar in 0..4 {
            let height = high * (i32::from(bar) + 1) / 4;
            let color = if bar < link.bars { on } else { Color { a: 70, ..look.quiet } };
            let x = left + i32::from(bar) * (wide + gap);
            self.painter.fill(Area::new(x, bottom - height, wide, height), color)?;
        }
        area.width = (area.width - 4 * (wide + gap) - self.px(12.0)).max(0);
        Ok(())
    }

    fn cover(&mut self, tile: &Tile) -> Drawn {
        let picture = tile.place.picture;
        let verdict = &tile.verdict;
        match verdict.state {
            State::Live | State::Late => return Ok(()),
            State::Frozen => return self.frozen(tile),
            State::Stale => {
                self.painter.fill(picture, Color::RGBA(0, 0, 0, 100))?;
                let stripe = self.px(36.0).max(12).unsigned_abs();
                self.painter.hatch(picture, stripe, Color::RGBA(255, 201, 51, 110))?;
            }
            State::Lost => self.painter.fill(picture, Color::RGBA(30, 10, 9, 246))?,
            State::Off | State::Waiting => {
                self.painter.fill(picture, Color { a: 215, ..GROUND })?
            }
        }
        let unit = f64::from(picture.height).min(f64::from(picture.width) * 0.6) / self.scale;
        let title_color = match verdict.state {
            State::Stale => WARN,
            State::Lost => BAD,
            _ => QUIET,
        };
        let title = self.style((unit * 0.1).clamp(12.0, 44.0), Weight::Bold, title_color);
        let age = self.style((unit * 0.2).clamp(18.0, 96.0), Weight::Bold, TEXT);
        let detail = self.style((unit * 0.065).clamp(12.0, 26.0), Weight::Regular, TEXT);
        let inner = picture.inset(self.px(10.0));
        let mut lines = vec![(verdict.title.to_owned(), title), (verdict.age.clone(), age)];
        let reason = self.painter.wrap(&verdict.detail, detail, inner.width, 3);
        lines.extend(reason.into_iter().map(|line| (line, detail)));
        lines.retain(|(text, _)| !text.is_empty());
        self.lines(&lines, inner, verdict.state == State::Stale)
    }

    /// Writes lines in the middle of an area, on a plate where what is below is restless.
    fn lines(&mut self, lines: &[(String, Style)], area: Area, plate: bool) -> Drawn {
        let between = self.px(3.0);
        let high = |style: &Style| style.size as i32 + between;
        let height: i32 = lines.iter().map(|(_, style)| high(style)).sum();
        let width = lines.iter().map(|(text, style)| self.painter.width(text, *style)).max();
        let mut y = area.y + (area.height - height) / 2;
        if plate {
            let pad = self.px(14.0);
            let width = (width.unwrap_or(0) + 2 * pad).min(area.width);
            let x = area.x + (area.width - width) / 2;
            let plate = Area::new(x, y - pad / 2, width, height + pad);
            self.painter.rounded(plate, self.px(10.0), Color::RGBA(0, 0, 0, 190))?;
        }
        for (text, style) in lines {
            let line = Area::new(area.x, y, area.width, high(style));
            self.painter.text(text, *style, line, Align::Middle)?;
            y += high(style);
        }
        Ok(())
    }

    /// Says so above a picture that is to be looked at.
    fn frozen(&mut self, tile: &Tile) -> Drawn {
        let picture = tile.place.picture;
        let aside = tile.place.role == Role::Aside;
        let size = if aside { 14.0 } else { 22.0 };
        let style = self.style(size, Weight::Bold, DARK);
        let text = match aside {
            true => tile.verdict.age.clone(),
            false => format!("FROZEN {}  ·  {}", tile.verdict.age, tile.verdict.detail),
        };
        let width = (self.painter.width(&text, style) + self.px(24.0)).min(picture.width);
        let x = picture.x + (picture.width - width) / 2;
        let plate = Area::new(x, picture.y + self.px(10.0), width, self.px(size + 12.0));
        let thick = self.px(4.0);
        for edge in edges(picture, thick) {
            self.painter.fill(edge, ACCENT)?;
        }
        self.painter.rounded(plate, self.px(8.0), ACCENT)?;
        self.painter.text(&text, style, plate.inset(self.px(4.0)), Align::Middle).map(drop)
    }

    fn details(&mut self, rows: &[(String, String)], room: Area) -> Drawn {
        let (line, pad) = (self.px(18.0), self.px(9.0));
        let most = ((room.height - 2 * pad - 2 * self.px(8.0)) / line.max(1)).max(0) as usize;
        let rows = &rows[..rows.len().min(most)];
        if rows.is_empty() {
            return Ok(());
        }
        let name = self.style(15.0, Weight::Regular, QUIET);
        let value = self.style(15.0, Weight::Bold, TEXT);
        let widest = |painter: &Painter<'_>, style, of: fn(&(String, String)) -> &String| {
            rows.iter().map(|row| painter.width(of(row), style)).max().unwrap_or(0)
        };
        let names = widest(self.painter, name, |row| &row.0) + self.px(16.0);
        let values = widest(self.painter, value, |row| &row.1);
        let (x, y) = (room.x + self.px(8.0), room.y + self.px(8.0));
        let width = (names + values + 2 * pad).min(room.width - 2 * self.px(8.0));
        let panel = Area::new(x, y, width, line * rows.len() as i32 + 2 * pad);
        self.painter.rounded(panel, self.px(8.0), Color::RGBA(8, 11, 15, 205))?;
        let inner = panel.inset(pad);
        for (index, (row, text)) in rows.iter().enumerate() {
            let y = inner.y + index as i32 * line;
            let at = Area::new(inner.x, y, inner.width, line);
            self.painter.text(row, name, at, Align::Left)?;
            let at = Area::new(inner.x + names, y, inner.width - names, line);
            self.painter.text(text, value, at, Align::Left)?;
        }
        Ok(())
    }

    fn footer(&mut self, tile: &Tile) -> Drawn {
        let mut line = tile.place.footer;
        if line.height == 0 {
            return Ok(());
        }
        line.x += self.px(8.0);
        line.width -= self.px(16.0);
        let style = self.style(15.0, Weight::Regular, QUIET);
        let width = self.painter.text(&tile.figures, style, line, Align::Left)?;
        line.x += width + self.px(16.0);
        line.width -= width + self.px(16.0);
        self.painter.text(&tile.told, style, line, Align::Right).map(drop)
    }

    fn note(&mut self, text: &str, bad: bool, window: Area) -> Drawn {
        let color = if bad { BAD } else { TEXT };
        let style = self.style(19.0, Weight::Bold, color);
        let (pad, height) = (self.px(18.0), self.px(42.0));
        let width = (self.painter.width(text, style) + 2 * pad).min(window.width - 2 * pad);
        let x = window.x + (window.width - width) / 2;
        let plate = Area::new(x, window.height - height - self.px(46.0), width, height);
        self.painter.rounded(plate, self.px(10.0), if bad { BAD } else { EDGE })?;
        self.painter.rounded(plate.inset(self.px(1.0).max(1)), self.px(9.0), RAISED)?;
        let inner = Area::new(plate.x + pad, plate.y, plate.width - 2 * pad, plate.height);
        self.painter.text(text, style, inner, Align::Middle).map(drop)
    }

    fn help(&mut self, rows: &[(&str, &str)], window: Area) -> Drawn {
        self.painter.fill(window, Color::RGBA(0, 0, 0, 150))?;
        let keys = self.style(19.0, Weight::Bold, ACCENT);
        let words = self.style(19.0, Weight::Regular, TEXT);
        let (line, pad) = (self.px(32.0), self.px(28.0));
        let (left, width) = (self.px(170.0), self.px(560.0).min(window.width));
        let height = line * (rows.len() as i32 + 2) + 2 * pad;
        let (x, y) = ((window.width - width) / 2, (window.height - height) / 2);
        let panel = Area::new(x, y, width, height);
        self.painter.rounded(panel, self.px(14.0), EDGE)?;
        self.painter.rounded(panel.inset(self.px(1.0).max(1)), self.px(13.0), RAISED)?;
        let inner = panel.inset(pad);
        let title = self.style(24.0, Weight::Bold, TEXT);
        let head = Area { height: line, ..inner };
        self.painter.text("Keys", title, head, Align::Left)?;
        for (index, (key, what)) in rows.iter().enumerate() {
            let y = inner.y + (index as i32 + 1) * line + line / 2;
            self.painter.text(key, keys, Area::new(inner.x, y, left, line), Align::Left)?;
            let (x, style) = match key.is_empty() {
                true => (inner.x, Style { color: WARN, ..words }),
                false => (inner.x + left, words),
            };
            let width = inner.x + inner.width - x;
            self.painter.text(what, style, Area::new(x, y, width, line), Align::Left)?;
        }
        Ok(())
    }
}

/// The colors of a tile.
struct Look {
    border: Color,
    header: Color,
    label: Color,
    quiet: Color,
    state: Color,
    age: Color,
}

impl Look {
    fn of(state: State) -> Self {
        let plain = Self {
            border: EDGE,
            header: RAISED,
            label: TEXT,
            quiet: QUIET,
            state: QUIET,
            age: TEXT,
        };
        let filled = |color| Self {
            border: color,
            header: color,
            label: DARK,
            quiet: DARK,
            state: DARK,
            age: DARK,
        };
        match state {
            State::Live => Self { state: GOOD, ..plain },
            State::Late => Self { border: WARN, state: WARN, age: WARN, ..plain },
            State::Stale => filled(WARN),
            State::Frozen => filled(ACCENT),
            State::Waiting | State::Off => plain,
            State::Lost => {
                Self { border: BAD, header: Color::RGB(92, 26, 21), state: BAD, ..plain }
            }
        }
    }
}

/// The four edges of an area, each so thick, within it.
fn edges(area: Area, thick: i32) -> [Area; 4] {
    let Area { x, y, width, height } = area;
    [
        Area::new(x, y, width, thick),
        Area::new(x, y + height - thick, width, thick),
        Area::new(x, y + thick, thick, height - 2 * thick),
        Area::new(x + width - thick, y + thick, thick, height - 2 * thick),
    ]
}
