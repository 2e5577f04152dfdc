//! Where the bar and the cameras' tiles go, in pixels of the window. Pure.

/// A rectangle, in pixels of the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Area {
    /// Its left edge.
    pub x: i32,
    /// Its upper edge.
    pub y: i32,
    /// How wide it is; never negative.
    pub width: i32,
    /// How high it is; never negative.
    pub height: i32,
}

impl Area {
    /// A rectangle; what would be negative has no extent.
    pub fn new(x: i32, y: i32, width: i32, height: i32) -> Self {
        Self { x, y, width: width.max(0), height: height.max(0) }
    }

    /// The same, smaller by this much on every side.
    pub fn inset(self, by: i32) -> Self {
        Self::new(self.x + by, self.y + by, self.width - 2 * by, self.height - 2 * by)
    }

    /// Whether a point lies in it.
    pub fn contains(self, x: i32, y: i32) -> bool {
        (self.x..self.x + self.width).contains(&x) && (self.y..self.y + self.height).contains(&y)
    }

    /// The largest rectangle of this aspect (width to height) in its middle.
    pub fn fit(self, aspect: f64) -> Self {
        let (width, height) = fitted(f64::from(self.width), f64::from(self.height), aspect);
        let (width, height) = (width.round() as i32, height.round() as i32);
        let (x, y) = (self.x + (self.width - width) / 2, self.y + (self.height - height) / 2);
        Self::new(x, y, width, height)
    }
}

/// How much larger than on a small screen everything is, so that it is read on a large one, too.
pub fn scale(width: i32, height: i32) -> f64 {
    (f64::from(width) / 1280.0).min(f64::from(height) / 720.0).clamp(0.8, 3.0)
}

/// What a tile is among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// One of equals.
    Equal,
    /// The one that takes most of the room.
    Enlarged,
    /// One of those beside it.
    Aside,
}

/// Where one tile goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// What it is among the others.
    pub role: Role,
    /// All of it.
    pub frame: Area,
    /// Its name and its state.
    pub header: Area,
    /// Its picture.
    pub picture: Area,
    /// Its figures; without height where there is no room for them.
    pub footer: Area,
}

impl Place {
    /// The room between header and footer, in whose middle the picture is.
    pub fn room(&self) -> Area {
        let Area { x, y, width, height } = self.header;
        Area::new(x, y + height, width, self.footer.y - y - height)
    }
}

/// The parts of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What concerns the robot.
    pub bar: Area,
    /// One for each camera.
    pub tiles: Vec<Place>,
}

/// Lays out a window of this size for pictures of these aspects, one of which may be enlarged.
pub fn layout(width: i32, height: i32, aspects: &[f64], enlarged: Option<usize>) -> Layout {
    let sizes = Sizes::of(width, height);
    let bar = Area::new(0, 0, width, sizes.bar);
    let room = Area::new(0, sizes.bar, width, height - sizes.bar).inset(sizes.gap);
    let tiles = match enlarged.filter(|&index| index < aspects.len()) {
        None => sizes.cells(room, aspects, Role::Equal),
        Some(index) => sizes.with_strip(room, aspects, index),
    };
    Layout { bar, tiles }
}

/// The tile at a point of the window.
pub fn tile_at(tiles: &[Place], x: i32, y: i32) -> Option<usize> {
    tiles.iter().position(|tile| tile.frame.contains(x, y))
}

struct Sizes {
    bar: i32,
    gap: i32,
    border: i32,
    header: i32,
    footer: i32,
    aside_header: i32,
}

impl Sizes {
    fn of(width: i32, height: i32) -> Self {
        let scale = scale(width, height);
        let px = |size: f64| (size * scale).round() as i32;
        Self {
            bar: px(40.0),
            gap: px(8.0),
            border: px(2.0).max(1),
            header: px(30.0),
            footer: px(26.0),
            aside_header: px(24.0),
        }
    }

    fn bars(&self, role: Role) -> (i32, i32) {
        match role {
            // Enough below for the round corners.
            Role::Aside => (self.aside_header, self.gap / 2),
            _ => (self.header, self.footer),
        }
    }

    fn place(&self, frame: Area, aspect: f64, role: Role) -> Place {
        let inner = frame.inset(self.border);
        let (header, footer) = self.bars(role);
        let middle =
            Area::new(inner.x, inner.y + header, inner.width, inner.height - header - footer);
        let below = middle.y + middle.height;
        let footer = if role == Role::Aside { 0 } else { footer };
        Place {
            role,
            frame,
            header: Area::new(inner.x, inner.y, inner.width, header),
            picture: middle.fit(aspect),
            footer: Area::new(inner.x, below, inner.width, footer),
        }
    }

    /// Equal cells, with as many columns as show most of all pictures, in the middle of their room;
    /// an incomplete last row is centred, too.
    fn cells(&self, room: Area, aspects: &[f64], role: Role) -> Vec<Place> {
        let count = aspects.len() as i32;
        let grid = |columns: i32| {
            let rows = (count + columns - 1) / columns;
            let width = (room.width - self.gap * (columns - 1)) / columns;
            let height = (room.height - self.gap * (rows - 1)) / rows;
            (Area::new(0, 0, width, height), columns, rows)
        };
        let shown = |cell: Area| -> i64 {
            aspects.iter().map(|&aspect| pixels(self.place(cell, aspect, role).picture)).sum()
        };
        // Of grids that show the same, the one with fewer columns.
        let best = (1..=count).map(grid).rev().max_by_key(|&(cell, ..)| shown(cell));
        let Some((cell, columns, rows)) = best else { return Vec::new() };
        let cell = self.shrunk(cell, aspects, role);
        let top = room.y + (room.height - rows * (cell.height + self.gap) + self.gap) / 2;
        let place = |(index, &aspect): (usize, &f64)| {
            let (row, column) = (index as i32 / columns, index as i32 % columns);
            let in_row = columns.min(count - row * columns);
            let left = room.x + (room.width - in_row * (cell.width + self.gap) + self.gap) / 2;
            let x = left + column * (cell.width + self.gap);
            let y = top + row * (cell.height + self.gap);
            self.place(Area::new(x, y, cell.width, cell.height), aspect, role)
        };
        aspects.iter().enumerate().map(place).collect()
    }

    /// A cell no larger than the pictures need it.
    fn shrunk(&self, cell: Area, aspects: &[f64], role: Role) -> Area {
        let pictures = aspects.iter().map(|&aspect| self.place(cell, aspect, role).picture);
        let (width, height) = pictures.fold((0, 0), |(width, height), picture| {
            (picture.width.max(width), picture.height.max(height))
        });
        let (header, footer) = self.bars(role);
        let borders = 2 * self.border;
        Area::new(
            0,
            0,
            (width + borders).min(cell.width),
            (height + borders + header + footer).min(cell.height),
        )
    }

    /// One large tile, the others in a strip along the edge that leaves more of the pictures.
    fn with_strip(&self, room: Area, aspects: &[f64], enlarged: usize) -> Vec<Place> {
        let mut others = aspects.to_vec();
        let aspect = others.remove(enlarged);
        if others.is_empty() {
            return vec![self.place(room, aspect, Role::Enlarged)];
        }
        let arrangement = |beside: bool| {
            let (big, strip) = self.split(room, aspect, beside);
            let mut tiles = self.cells(strip, &others, Role::Aside);
            tiles.insert(enlarged, self.place(big, aspect, Role::Enlarged));
            tiles
        };
        let shown =
            |tiles: &[Place]| -> i64 { tiles.iter().map(|tile| pixels(tile.picture)).sum() };
        let (beside, below) = (arrangement(true), arrangement(false));
        if shown(&beside) >= shown(&below) { beside } else { below }
    }

    /// The room of the large tile, and that of the strip: what the large picture leaves free, but
    /// neither too narrow to be looked at nor wider than it is worth.
    fn split(&self, room: Area, aspect: f64, beside: bool) -> (Area, Area) {
        let (header, footer) = self.bars(Role::Enlarged);
        let (width, height) = (f64::from(room.width), f64::from(room.height));
        let bars = f64::from(header + footer);
        let (along, spare) = match beside {
            true => (width, width - (height - bars) * aspect),
            false => (height, height - (width / aspect + bars)),
        };
        let strip = spare.clamp(along * 0.16, along * 0.3) as i32;
        if beside {
            let big = Area::new(room.x, room.y, room.width - strip - self.gap, room.height);
            (big, Area::new(room.x + room.width - strip, room.y, strip, room.height))
        } else {
            let big = Area::new(room.x, room.y, room.width, room.height - strip - self.gap);
            (big, Area::new(room.x, room.y + room.height - strip, room.width, strip))
        }
    }
}

fn pixels(area: Area) -> i64 {
    i64::from(area.width) * i64::from(area.height)
}

fn fitted(width: f64, height: f64, aspect: f64) -> (f64, f64) {
    if width <= 0.0 || height <= 0.0 || aspect <= 0.0 {
        return (0.0, 0.0);
    }
    (width.min(height * aspect), height.min(width / aspect))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: f64 = 16.0 / 9.0;
    const USUAL: f64 = 4.0 / 3.0;

    fn inside(part: Area, whole: Area) -> bool {
        part.x >= whole.x
            && part.y >= whole.y
            && part.x + part.width <= whole.x + whole.width
            && part.y + part.height <= whole.y + whole.height
    }

    fn apart(a: Area, b: Area) -> bool {
        a.x + a.width <= b.x
            || b.x + b.width <= a.x
            || a.y + a.height <= b.y
            || b.y + b.height <= a.y
    }

    #[test]
    fn tiles_lie_in_the_window_and_apart_and_pictures_keep_their_aspect() {
        for (width, height) in [(1280, 720), (640, 1200), (3840, 2160), (500, 300), (1920, 400)] {
            for count in 1..=12 {
                let aspects: Vec<f64> =
                    (0..count).map(|i| if i % 3 == 2 { USUAL } else { WIDE }).collect();
                for enlarged in [None, Some(0), Some(count - 1)] {
                    let Layout { bar, tiles } = layout(width, height, &aspects, enlarged);
                    let window = Area::new(0, 0, width, height);
                    assert_eq!(tiles.len(), count);
                    for (i, tile) in tiles.iter().enumerate() {
                        let what = format!("{width}x{height}, {count}, {enlarged:?}, {tile:?}");
                        assert!(inside(tile.frame, window) && apart(tile.frame, bar), "{what}");
                        assert!(inside(tile.picture, tile.frame), "{what}");
                        assert!(inside(tile.picture, tile.room()), "{what}");
                        assert!(apart(tile.picture, tile.header), "{what}");
                        assert!(apart(tile.picture, tile.footer), "{what}");
                        let Area { width, height, .. } = tile.picture;
                        let off = (f64::from(width) - f64::from(height) * aspects[i]).abs();
                        assert!(off <= 2.0, "{what}");
                        for other in &tiles[..i] {
                            assert!(apart(tile.frame, other.frame), "{what}, {other:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_grid_that_shows_most_is_taken() {
        let columns = |width, height, count| {
            let tiles = layout(width, height, &vec![WIDE; count], None).tiles;
            tiles.iter().filter(|tile| tile.frame.y == tiles[0].frame.y).count()
        };
        assert_eq!(columns(1280, 720, 1), 1);
        assert_eq!(columns(1280, 720, 4), 2);
        assert_eq!(columns(1280, 720, 9), 3);
        assert_eq!(columns(1920, 400, 3), 3);
        assert_eq!(columns(600, 1400, 3), 1);
    }

    #[test]
    fn the_strip_lies_where_it_wastes_less() {
        let strip = |width, height, aspect| {
            let tiles = layout(width, height, &[aspect; 3], Some(1)).tiles;
            assert_eq!(tiles[1].role, Role::Enlarged);
            assert!(pixels(tiles[1].picture) > 4 * pixels(tiles[0].picture));
            tiles[0].frame.x > tiles[1].frame.x
        };
        assert!(strip(1280, 720, USUAL), "beside");
        assert!(!strip(700, 1000, USUAL), "below");
    }

    #[test]
    fn an_incomplete_row_is_centred() {
        let tiles = layout(1280, 720, &[WIDE; 3], None).tiles;
        let middle = |place: &Place| place.frame.x + place.frame.width / 2;
        assert!((middle(&tiles[2]) - 640).abs() <= 1, "{tiles:?}");
    }

    #[test]
    fn a_click_finds_its_tile() {
        let tiles = layout(1280, 720, &[WIDE; 2], None).tiles;
        let Area { x, y, .. } = tiles[1].frame;
        assert_eq!(tile_at(&tiles, x + 1, y + 1), Some(1));
        assert_eq!(tile_at(&tiles, 1, 1), None);
    }

    #[test]
    fn a_window_without_room_has_empty_pictures() {
        for tile in layout(10, 10, &[WIDE; 5], Some(2)).tiles {
            assert!(tile.picture.width >= 0 && tile.picture.height >= 0);
        }
    }
}
