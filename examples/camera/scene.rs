//! What is in front of the camera: a wall, things on it, a telephone, and on its screen a code.

use std::error::Error;

use super::{Hardship, random::Random};

/// A code as light and dark modules.
#[derive(Clone)]
pub(crate) struct Code {
    text: String,
    /// Row by row; bars have one row.
    dark: Vec<bool>,
    across: usize,
    /// Rows of modules; bars are this many modules high.
    down: usize,
    bars: bool,
}

impl Code {
    /// A payment code or an order number, as the corpus has them.
    pub(crate) fn of(bars: bool, random: &mut Random) -> Result<Self, Box<dyn Error>> {
        let text = text(random);
        if bars {
            let dark: Vec<bool> = barcoders::sym::code128::Code128::new(written(&text))
                .map_err(|error| error.to_string())?
                .encode()
                .into_iter()
                .map(|one| one == 1)
                .collect();
            let across = dark.len();
            return Ok(Self { text, dark, across, down: 34 + random.below(12), bars });
        }
        use fast_qr::{ECL, QRBuilder, Version};
        let level = [ECL::L, ECL::M, ECL::Q, ECL::H][random.below(4)];
        let least =
            [Version::V01, Version::V02, Version::V03, Version::V04, Version::V05, Version::V06][random.below(6)];
        let built = QRBuilder::new(text.as_str()).ecl(level).version(least).build();
        let built = match built {
            Ok(built) => built,
            Err(_) => QRBuilder::new(text.as_str()).ecl(level).build().map_err(|error| error.to_string())?,
        };
        let dark = (0..built.size * built.size).map(|at| built[at / built.size][at % built.size].value()).collect();
        Ok(Self { text, dark, across: built.size, down: built.size, bars })
    }

    /// Leaves nothing of the code but its paper.
    pub(crate) fn wipe(&mut self) {
        self.dark.fill(false);
        self.text.clear();
    }

    /// Dark at a place in modules, within the code.
    fn is_dark(&self, x: f32, y: f32) -> bool {
        let column = (x as usize).min(self.across - 1);
        let row = if self.bars { 0 } else { (y as usize).min(self.down - 1) };
        self.dark[row * self.across + column]
    }
}

fn text(random: &mut Random) -> String {
    let mut pick = |from: &str, count: usize| -> String {
        let from: Vec<char> = from.chars().collect();
        (0..count).map(|_| from[random.below(from.len())]).collect()
    };
    let digits = "0123456789";
    let kind = pick("0011222", 1);
    match kind.as_str() {
        "0" => format!("1{}{}", pick("012345", 1), pick(digits, 16)),
        "1" => format!("28{}", pick(digits, 16)),
        _ => {
            let prefix = ["RF", "SO", "ORD-", ""][pick("0123", 1).parse().unwrap_or(0)];
            let length = 6 + pick("0123456789", 1).parse().unwrap_or(0);
            let date = format!("202{}0{}1{}", pick("456", 1), pick("123456789", 1), pick(digits, 1));
            format!("{prefix}{date}{}", pick("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", length))
        }
    }
}

/// The text as the encoder wants it: with the set that it begins in, and set C where four digits and more follow.
fn written(text: &str) -> String {
    let (set_b, set_c) = ('\u{0181}', '\u{0106}');
    let mut written = String::new();
    let (characters, mut at): (Vec<char>, usize) = (text.chars().collect(), 0);
    let mut in_c = None;
    while at < characters.len() {
        let digits = characters[at..].iter().take_while(|one| one.is_ascii_digit()).count() / 2 * 2;
        let wants_c = digits >= 4;
        if in_c != Some(wants_c) {
            written.push(if wants_c { set_c } else { set_b });
            in_c = Some(wants_c);
        }
        let take = if wants_c { digits } else { 1 };
        written.extend(&characters[at..at + take]);
        at += take;
    }
    written
}

/// A shape on the wall: a circle or a half plane's corner, of one shade.
#[derive(Clone)]
struct Thing {
    x: f32,
    y: f32,
    size: f32,
    angle: f32,
    shade: f32,
    round: bool,
}

/// Everything that a frame shows before a lens sees it.
#[derive(Clone)]
pub(crate) struct Scene {
    code: Code,
    width: usize,
    height: usize,
    module: f32,
    /// From pixels to modules of the code, by a perspective: (a b c; d e f; g h i).
    view: [f32; 9],
    things: Vec<Thing>,
    wall: (f32, f32, f32),
    ink: f32,
    paper: f32,
}

impl Scene {
    pub(crate) fn of(
        code: Code,
        hardship: Hardship,
        severity: u32,
        (width, height): (usize, usize),
        random: &mut Random,
    ) -> Self {
        let severe = severity as f32;
        let bars = code.bars;
        let largest =
            (width as f32 * 0.92 / (code.across as f32 + 12.0)).min(height as f32 * 0.8 / (code.down as f32 + 8.0));
        let wanted = match (bars, hardship) {
            (false, Hardship::Small) => random.between(1.4, 3.0),
            (false, _) => random.between(3.2, 7.9),
            (true, Hardship::Small) => random.between(1.25, 1.9),
            (true, _) => random.between(1.6, 3.0),
        };
        let module = wanted.min(largest);
        let turn = match (bars, hardship) {
            (false, Hardship::Rotation) => random.between(-180.0, 180.0),
            (true, Hardship::Rotation) if random.below(3) == 0 => 90.0 + random.between(-6.0, 6.0),
            (true, Hardship::Rotation) => random.between(8.0, 30.0) * if random.below(2) == 0 { 1.0 } else { -1.0 },
            _ => random.between(-5.0, 5.0),
        };
        let tilt = match hardship {
            Hardship::Perspective => 0.08 + 0.06 * severe,
            Hardship::Combo => 0.1,
            _ => 0.05,
        };
        let extent = module * code.across.max(code.down) as f32;
        let (tilt_x, tilt_y) = (random.between(-tilt, tilt) * 2.0 / extent, random.between(-tilt, tilt) * 2.0 / extent);
        let room = |side: usize, used: f32| ((side as f32 - used * 1.2) / 2.0).max(0.0);
        let (across, down) = (module * code.across as f32, module * code.down as f32);
        let centre = (
            width as f32 / 2.0 + random.between(-0.7, 0.7) * room(width, across),
            height as f32 / 2.0 + random.between(-0.5, 0.5) * room(height, down),
        );
        let (sine, cosine) = turn.to_radians().sin_cos();
        // Pixels less the centre, turned and scaled to modules, over the depth; then moved to the code's middle.
        let (a, b) = (cosine / module, sine / module);
        let (mid_x, mid_y) = (code.across as f32 / 2.0, code.down as f32 / 2.0);
        let depth = 1.0 - tilt_x * centre.0 - tilt_y * centre.1;
        let view = [
            a + mid_x * tilt_x,
            b + mid_x * tilt_y,
            mid_x * depth - a * centre.0 - b * centre.1,
            -b + mid_y * tilt_x,
            a + mid_y * tilt_y,
            mid_y * depth + b * centre.0 - a * centre.1,
            tilt_x,
            tilt_y,
            depth,
        ];
        let things = (0..3 + random.below(6)).map(|_| Thing {
            x: random.between(0.0, width as f32),
            y: random.between(0.0, height as f32),
            size: random.between(0.05, 0.4) * height as f32,
            angle: random.between(0.0, std::f32::consts::TAU),
            shade: random.between(20.0, 170.0),
            round: random.below(2) == 0,
        });
        let things = things.collect();
        let wall = (random.between(50.0, 130.0), random.between(-0.03, 0.03), random.between(-0.03, 0.03));
        let (mut ink, mut paper) = (random.between(12.0, 40.0), random.between(205.0, 245.0));
        if hardship == Hardship::Inverted {
            (ink, paper) = (paper, ink);
        }
        Self { code, width, height, module, view, things, wall, ink, paper }
    }

    /// Pixels a module in the middle of the code.
    pub(crate) const fn module(&self) -> f32 {
        self.module
    }

    pub(crate) fn text(&self) -> &str {
        &self.code.text
    }

    /// The same, a little moved by the hand that holds the telephone.
    pub(crate) fn shaken(&self, random: &mut Random) -> Self {
        let (mid_x, mid_y) = (self.code.across as f32 / 2.0, self.code.down as f32 / 2.0);
        let (turn, x, y) = (random.between(-0.02, 0.02), random.between(-0.8, 0.8), random.between(-0.8, 0.8));
        let mut scene = self.clone();
        for at in 0..3 {
            // A small turn about the code's middle and a small step, both in modules; the last row is the depth.
            let (across, down, depth) = (self.view[at], self.view[at + 3], self.view[at + 6]);
            scene.view[at] = across - turn * (down - mid_y * depth) + x * depth;
            scene.view[at + 3] = down + turn * (across - mid_x * depth) + y * depth;
        }
        scene
    }

    /// Where a pixel lies, in modules of the code.
    pub(crate) fn on_code(&self, x: f32, y: f32) -> (f32, f32) {
        let [a, b, c, d, e, f, g, h, i] = self.view;
        let depth = (g * x + h * y + i).max(0.05);
        ((a * x + b * y + c) / depth, (d * x + e * y + f) / depth)
    }

    fn shade(&self, x: f32, y: f32) -> f32 {
        let (u, v) = self.on_code(x, y);
        let (across, down) = (self.code.across as f32, self.code.down as f32);
        if (0.0..across).contains(&u) && (0.0..down).contains(&v) {
            return if self.code.is_dark(u, v) { self.ink } else { self.paper };
        }
        let unit = if self.code.bars { across / 20.0 } else { across / 8.0 };
        let margin = if self.code.bars { 10.0 } else { 4.5 };
        if (-margin..across + margin).contains(&u) && (-unit * 1.6 - 5.0..down + unit * 6.0).contains(&v) {
            // Lines of writing above and below the code.
            let line = |from: f32, to: f32, until: f32| {
                (from..to).contains(&v)
                    && (0.0..across * until).contains(&u)
                    && (u * 1.3).sin() + (u * 3.1 + v).sin() > 0.1
            };
            let words = line(down + unit, down + unit * 1.4, 0.5)
                || line(down + unit * 2.2, down + unit * 2.6, 0.3)
                || line(-unit * 1.2 - 4.0, -unit * 0.8 - 4.0, 0.8);
            return if words { self.ink } else { self.paper };
        }
        if (-margin * 1.5..across + margin * 1.5).contains(&u) && (-unit * 4.0 - 5.0..down + unit * 8.0).contains(&v) {
            return 90.0;
        }
        if (-margin * 2.0..across + margin * 2.0).contains(&u) && (-unit * 4.6 - 5.0..down + unit * 8.6).contains(&v) {
            return 25.0;
        }
        let mut shade = self.wall.0 + self.wall.1 * x + self.wall.2 * y;
        for thing in &self.things {
            let (dx, dy) = (x - thing.x, y - thing.y);
            let (s, c) = thing.angle.sin_cos();
            let inside = if thing.round {
                dx.hypot(dy) < thing.size * 0.5
            } else {
                let (p, q) = (dx * c + dy * s, dy * c - dx * s);
                (0.0..thing.size).contains(&p) && (0.0..p).contains(&q)
            };
            if inside {
                shade = thing.shade;
            }
        }
        shade
    }

    /// The frame that a perfect camera would take.
    pub(crate) fn drawn(&self) -> Picture {
        let mut luma = Vec::with_capacity(self.width * self.height);
        for y in 0..self.height {
            for x in 0..self.width {
                let (left, top) = (x as f32, y as f32);
                let corners = [(0.02, 0.02), (0.98, 0.02), (0.02, 0.98), (0.98, 0.98)];
                let four = corners.map(|(dx, dy)| self.shade(left + dx, top + dy));
                // Even pixels need no closer look.
                if four.iter().all(|shade| (shade - four[0]).abs() < 3.0) {
                    let (u, _) = self.on_code(left, top);
                    if self.module > 1.6 || u < 0.0 || u > self.code.across as f32 {
                        luma.push(four[0]);
                        continue;
                    }
                }
                let looks = (0..16).map(|nth| {
                    self.shade(left + (nth % 4) as f32 * 0.25 + 0.125, top + (nth / 4) as f32 * 0.25 + 0.125)
                });
                luma.push(looks.sum::<f32>() / 16.0);
            }
        }
        Picture { width: self.width, height: self.height, luma }
    }

    pub(crate) const fn size(&self) -> (usize, usize) {
        (self.code.across, self.code.down)
    }
}

/// Luma with fractions, 0 to 255 and beyond.
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) luma: Vec<f32>,
}
