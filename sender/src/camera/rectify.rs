//! Takes a lens's distortion out of the pictures, by its calibration. Pure: the arithmetic, and
//! the same as a shader for the graphics processor, which is where robots have time for it.
//!
//! The model is OpenCV's (Brown-Conrady), with the camera matrix kept as it is: what was straight
//! becomes straight, the centre keeps its place and scale, and where the lens showed nothing the
//! picture is black.
//!
//! The shader needs a GL context, but neither a display nor a screen. GStreamer looks for Wayland,
//! X11 and then `/dev/dri` (GBM) by itself. A Raspberry Pi without a desktop has the last, and the
//! sender's user must be in the groups `video` and `render`. A Jetson without a desktop needs
//! `GST_GL_WINDOW=egl-device` in the environment of the sender, and so does a computer without a
//! graphics processor, where Mesa does the work on the CPU: enough for small pictures. Frames in
//! a Jetson's own memory (NVMM) must pass `nvvidconv` before.

use crate::config::Lens;

/// The elements that are needed, none of which comes without the others.
const ELEMENTS: [&str; 4] = ["glupload", "glcolorconvert", "glshader", "gldownload"];
/// Where they come from.
const PACKAGE: &str = "gstreamer1.0-gl";

/// How finely the model is searched for the radius where it stops being true.
const REACH_STEPS: u32 = 1024;

/// No number in a shader is larger: its range is smaller than that of ours.
const LARGEST: f64 = 1e30;

/// The luma of what the lens did not show.
const BLACK: u8 = 16;

/// Draws the picture where it is. GStreamer's own has another version in some GL contexts, and then
/// does not go with ours.
const VERTEX_SHADER: &str = "#version 100
attribute vec4 a_position;
attribute vec2 a_texcoord;
varying vec2 v_texcoord;
void main() {
  gl_Position = a_position;
  v_texcoord = a_texcoord;
}
";

/// What the fragment shader begins with. Not every graphics processor has more than the least
/// precision.
const HEAD: &str = "#version 100
#ifdef GL_ES
#ifdef GL_FRAGMENT_PRECISION_HIGH
precision highp float;
#else
precision mediump float;
#endif
#endif
varying vec2 v_texcoord;
uniform sampler2D tex;
";

/// What it does with the constants in between.
const BODY: &str = "
void main() {
  vec2 p = (v_texcoord - centre) / focal;
  float r2 = dot(p, p);
  float radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
  vec2 skew = 2.0 * vec2(p1, p2) * p.x * p.y + vec2(p2, p1) * (r2 + 2.0 * p * p);
  vec2 source = (p * radial + skew) * focal + centre;
  bool outside = any(lessThan(source, vec2(0.0))) || any(greaterThan(source, vec2(1.0)));
  gl_FragColor = r2 > reach || outside ? vec4(0.0, 0.0, 0.0, 1.0) : texture2D(tex, source);
}
";

/// A lens's distortion, for pictures of any size that show what the calibrated ones show. Places
/// are parts of the picture: from 0 at the left and upper edge to 1 at the right and lower one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rectification {
    focal: [f64; 2],
    centre: [f64; 2],
    radial: [f64; 3],
    tangential: [f64; 2],
    /// The square of the radius from which on the polynomial runs back towards the centre, and
    /// would show again what has been shown: nothing was calibrated out there.
    reach: f64,
}

/// Whether everything is `installed` that the launch fragment is made of. The error says what to do.
pub fn check(installed: impl Fn(&str) -> bool) -> Result<(), String> {
    match ELEMENTS.into_iter().find(|element| !installed(element)) {
        None => Ok(()),
        Some(missing) => Err(format!(
            "picture.lens needs the element {missing}: install the package {PACKAGE}, \
             or leave picture.lens out"
        )),
    }
}

impl Rectification {
    /// Of this lens.
    pub fn new(lens: &Lens) -> Self {
        let size = [f64::from(lens.width), f64::from(lens.height)];
        let focal = [lens.fx / size[0], lens.fy / size[1]];
        // OpenCV counts from the centre of the first pixel.
        let centre = [(lens.cx + 0.5) / size[0], (lens.cy + 0.5) / size[1]];
        let Lens { radial, tangential, .. } = *lens;
        let reach = reach(radial, focal, centre);
        Self { focal, centre, radial, tangential, reach }
    }

    /// Which place of the camera's picture is to be seen at a place of the rectified one; `None`
    /// where there is none.
    pub fn source_of(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let ([k1, k2, k3], [p1, p2]) = (self.radial, self.tangential);
        let (x, y) = ((x - self.centre[0]) / self.focal[0], (y - self.centre[1]) / self.focal[1]);
        let r2 = x * x + y * y;
        let radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
        let source = [
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
            y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
        ];
        let [x, y] = [0, 1].map(|axis| source[axis] * self.focal[axis] + self.centre[axis]);
        let inside = |at: f64| (0.0..=1.0).contains(&at);
        (r2 < self.reach && inside(x) && inside(y)).then_some((x, y))
    }

    /// The rectified luma plane of a picture, in rows without gaps: what the shader does, to
    /// measure it by. Far too slow for video.
    pub fn rectify_luma(
        &self,
        samples: &[u8],
        stride: usize,
        width: usize,
        height: usize,
    ) -> Vec<u8> {
        let sample = |x: f64, y: f64| {
            let x = (x.max(0.0) as usize).min(width - 1);
            let y = (y.max(0.0) as usize).min(height - 1);
            f64::from(samples.get(y * stride + x).copied().unwrap_or(BLACK))
        };
        let pixel = |x: usize, y: usize| {
            let (x, y) = ((x as f64 + 0.5) / width as f64, (y as f64 + 0.5) / height as f64);
            let Some((x, y)) = self.source_of(x, y) else { return BLACK };
            // Between the centres of four pixels.
            let (x, y) = (x * width as f64 - 0.5, y * height as f64 - 0.5);
            let (left, top) = (x.floor(), y.floor());
            let (right, down) = (x - left, y - top);
            let row = |y: f64| sample(left, y) * (1.0 - right) + sample(left + 1.0, y) * right;
            (row(top) * (1.0 - down) + row(top + 1.0) * down).round() as u8
        };
        (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| pixel(x, y))
            .collect()
    }

    /// The same as a fragment shader: GLSL ES 1.00, which desktops take, too.
    pub fn fragment_shader(&self) -> String {
        let ([k1, k2, k3], [p1, p2]) = (self.radial, self.tangential);
        let mut shader = HEAD.to_owned();
        let mut say = |line: String| shader.push_str(&line);
        for (name, value) in
            [("k1", k1), ("k2", k2), ("k3", k3), ("p1", p1), ("p2", p2), ("reach", self.reach)]
        {
            say(format!("const float {name} = {};\n", literal(value)));
        }
        for (name, [x, y]) in [("focal", self.focal), ("centre", self.centre)] {
            say(format!("const vec2 {name} = vec2({}, {});\n", literal(x), literal(y)));
        }
        shader + BODY
    }

    /// The fragment of a launch line that takes raw video in the computer's own memory, and gives
    /// it on as I420 or NV12 of the same size. To be used after [`check`].
    pub fn launch(&self) -> String {
        let fragment = self.fragment_shader();
        // The first of them lets formats in that the graphics processor is not given.
        format!(
            "videoconvert ! glupload ! glcolorconvert \
             ! glshader vertex=\"{VERTEX_SHADER}\" fragment=\"{fragment}\" \
             ! glcolorconvert ! video/x-raw(memory:GLMemory),format={{I420,NV12}} \
             ! gldownload ! video/x-raw"
        )
    }
}

/// See [`Rectification::reach`]; infinite where the whole picture is within it. Found by steps: a
/// polynomial may turn back more than once, and nobody sees the difference of a step.
fn reach([k1, k2, k3]: [f64; 3], focal: [f64; 2], centre: [f64; 2]) -> f64 {
    let far = [0, 1].map(|axis| centre[axis].abs().max((1.0 - centre[axis]).abs()) / focal[axis]);
    let corner = (far[0].powi(2) + far[1].powi(2)).min(LARGEST);
    // How much further out the source is for a step outwards.
    let grows = |r2: f64| 1.0 + r2 * (3.0 * k1 + r2 * (5.0 * k2 + r2 * 7.0 * k3)) > 0.0;
    (0..=REACH_STEPS)
        .map(|step| corner * f64::from(step) / f64::from(REACH_STEPS))
        .find(|&r2| !grows(r2))
        .unwrap_or(f64::INFINITY)
}

/// A number as GLSL takes it: with an exponent, and within what its numbers can be.
fn literal(number: f64) -> String {
    format!("{:e}", number.clamp(-LARGEST, LARGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Lens = Lens {
        width: 640,
        height: 480,
        fx: 500.0,
        fy: 510.0,
        cx: 319.5,
        cy: 239.5,
        radial: [0.0; 3],
        tangential: [0.0; 2],
    };
    const BARREL: Lens =
        Lens { radial: [-0.25, 0.06, -0.005], tangential: [0.002, -0.003], cx: 300.0, ..PLAIN };

    /// Where something at `x`, `y` before the lens is in the camera's picture, by the model alone.
    fn seen_at(lens: &Lens, x: f64, y: f64) -> [f64; 2] {
        let ([k1, k2, k3], [p1, p2]) = (lens.radial, lens.tangential);
        let r = x.hypot(y);
        let bend = 1.0 + k1 * r.powi(2) + k2 * r.powi(4) + k3 * r.powi(6);
        let x_seen = x * bend + 2.0 * p1 * x * y + p2 * (r.powi(2) + 2.0 * x.powi(2));
        let y_seen = y * bend + p1 * (r.powi(2) + 2.0 * y.powi(2)) + 2.0 * p2 * x * y;
        [lens.cx + lens.fx * x_seen, lens.cy + lens.fy * y_seen]
    }

    /// [`Rectification::source_of`] in pixels, as OpenCV counts them.
    fn source(lens: &Lens, x: f64, y: f64) -> Option<[f64; 2]> {
        let (width, height) = (f64::from(lens.width), f64::from(lens.height));
        let rectification = Rectification::new(lens);
        let (x, y) = rectification.source_of((x + 0.5) / width, (y + 0.5) / height)?;
        Some([x * width - 0.5, y * height - 0.5])
    }

    #[test]
    fn without_distortion_everything_stays() {
        let picture: Vec<u8> = (0..64 * 48).map(|index| (index * 7 % 251) as u8).collect();
        assert_eq!(Rectification::new(&PLAIN).rectify_luma(&picture, 64, 64, 48), picture);
        let [x, y] = source(&PLAIN, 0.0, 479.0).unwrap();
        assert!(x.abs() < 1e-9 && (y - 479.0).abs() < 1e-9);
    }

    #[test]
    fn a_grid_bent_by_the_lens_becomes_straight() {
        for row in -4..=4 {
            for column in -5..=5 {
                let (x, y) = (f64::from(column) / 10.0, f64::from(row) / 10.0);
                // On straight lines, where a lens without distortion has it.
                let straight = [BARREL.cx + BARREL.fx * x, BARREL.cy + BARREL.fy * y];
                let bent = seen_at(&BARREL, x, y);
                let found = source(&BARREL, straight[0], straight[1]).unwrap();
                assert!((found[0] - bent[0]).hypot(found[1] - bent[1]) < 1e-9);
            }
        }
        let corner = seen_at(&BARREL, -0.5, -0.4);
        let moved = (corner[0] - 50.0).hypot(corner[1] - 35.5);
        assert!(moved > 20.0, "the lens does bend: {moved} pixels in the corner");
    }

    #[test]
    fn a_line_bent_by_the_lens_becomes_straight_in_the_picture() {
        // A dark camera's picture with what a straight bright line looks like through the lens.
        let mut picture = vec![BLACK; 640 * 480];
        for step in -5000..=5000 {
            let [x, y] = seen_at(&BARREL, f64::from(step) / 10_000.0, -0.35);
            for y in [y - 1.0, y, y + 1.0] {
                picture[y.round() as usize * 640 + x.round() as usize] = 235;
            }
        }
        let rectified = Rectification::new(&BARREL).rectify_luma(&picture, 640, 640, 480);
        // The middle of the line in each column, weighed by brightness.
        let off = |plane: &[u8]| -> f64 {
            let expected = BARREL.cy - 0.35 * BARREL.fy;
            let columns = 70..530;
            let middle = |x: usize| {
                let bright = |y: usize| f64::from(plane[y * 640 + x].saturating_sub(BLACK));
                let sum: f64 = (0..480).map(bright).sum();
                (0..480).map(|y| y as f64 * bright(y)).sum::<f64>() / sum
            };
            columns.map(|x| (middle(x) - expected).abs()).fold(0.0, f64::max)
        };
        assert!(off(&picture) > 10.0, "bent by {}", off(&picture));
        assert!(off(&rectified) < 1.0, "still bent by {}", off(&rectified));
    }

    #[test]
    fn calibration_holds_for_every_size() {
        let double = Lens {
            width: 1280,
            height: 960,
            fx: BARREL.fx * 2.0,
            fy: BARREL.fy * 2.0,
            cx: (BARREL.cx + 0.5) * 2.0 - 0.5,
            cy: (BARREL.cy + 0.5) * 2.0 - 0.5,
            ..BARREL
        };
        let [small, large] = [BARREL, double].map(|lens| Rectification::new(&lens));
        let ((x, y), (same_x, same_y)) =
            (small.source_of(0.2, 0.9).unwrap(), large.source_of(0.2, 0.9).unwrap());
        assert!((x - same_x).abs() < 1e-12 && (y - same_y).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_shown_twice() {
        // Bends back well within the picture.
        let lens = Lens { radial: [-0.8, 0.0, 0.0], ..PLAIN };
        let mut last = 319.5;
        for x in 320..640 {
            match source(&lens, f64::from(x), 239.5) {
                Some([source, _]) => {
                    assert!(source > last, "at {x}");
                    last = source;
                }
                None => assert!(x > 600, "at {x}"),
            }
        }
        assert_eq!(source(&lens, 0.0, 0.0), None);
        assert_eq!(Rectification::new(&BARREL).reach, f64::INFINITY);
    }

    #[test]
    fn any_finite_calibration_makes_a_shader_and_a_picture() {
        for extreme in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 1e9] {
            let lens = Lens {
                fx: extreme.abs(),
                cx: extreme,
                radial: [extreme; 3],
                tangential: [-extreme; 2],
                ..PLAIN
            };
            let rectification = Rectification::new(&lens);
            assert_eq!(rectification.rectify_luma(&[99; 256], 16, 16, 16).len(), 256);
            let shader = rectification.fragment_shader();
            assert!(!shader.contains("inf") && !shader.contains("NaN"), "{shader}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        assert_eq!(check(|_| true), Ok(()));
        let said = check(|name| name != "glshader").unwrap_err();
        assert!(said.contains("glshader") && said.contains("gstreamer1.0-gl"), "{said}");
    }
}
