//! Where each module of a code lies. A perspective through four corners is moved until what must be dark and light falls
//! on dark and light, and the rest of the modules falls on either, not between; then patches of it are moved on their own,
//! for paper that bends and lenses that do.

use super::{
    super::grey::{Grey, Spot},
    layout::Layout,
    levels::Levels,
    triple::Triple,
};

/// Middle of a finder pattern, in modules from the outer edge.
const FINDER_CENTRE: f32 = 3.5;

/// A grid that fits no better than this at its best fourth corner won't by moving it a little.
const HOPELESS: f32 = 0.42;

/// How much a module of unknown colour counts in a fit, against a known one.
const UNKNOWN: f32 = 0.4;

/// A perspective given by where four points of the square lie: the middles of the finder patterns and their like in the
/// fourth corner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Perspective {
    /// Top left, top right, bottom right, bottom left.
    pub(super) corners: [Spot; 4],
    pub(super) modules: f32,
}

impl Perspective {
    pub(super) fn of(triple: &Triple, modules: usize) -> Self {
        let corners = [triple.top_left, triple.top_right, triple.fourth(), triple.bottom_left];
        Self { corners, modules: modules as f32 }
    }

    /// The map from modules to pixels. Source: Heckbert, "Fundamentals of Texture Mapping", 2.2.3.
    pub(super) fn map(&self) -> Map {
        let [p0, p1, p2, p3] = self.corners;
        let (dx1, dx2, dx3) = (p1.x - p2.x, p3.x - p2.x, p0.x - p1.x + p2.x - p3.x);
        let (dy1, dy2, dy3) = (p1.y - p2.y, p3.y - p2.y, p0.y - p1.y + p2.y - p3.y);
        let whole = dx1 * dy2 - dx2 * dy1;
        let (g, h) = if whole.abs() < 1e-6 {
            (0.0, 0.0)
        } else {
            ((dx3 * dy2 - dx2 * dy3) / whole, (dx1 * dy3 - dx3 * dy1) / whole)
        };
        let unit = [
            [p1.x - p0.x + g * p1.x, p3.x - p0.x + h * p3.x, p0.x],
            [p1.y - p0.y + g * p1.y, p3.y - p0.y + h * p3.y, p0.y],
            [g, h, 1.0],
        ];
        // From modules to the unit square: moved by a finder's middle, then scaled.
        let scale = 1.0 / (self.modules - 2.0 * FINDER_CENTRE);
        Map(unit.map(|[a, b, c]| [a * scale, b * scale, c - (a + b) * scale * FINDER_CENTRE]))
    }
}

/// A perspective map from modules to pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Map([[f32; 3]; 3]);

impl Map {
    pub(super) fn at(&self, x: f32, y: f32) -> Spot {
        let [down, aside, depth] = self.0.map(|[a, b, c]| a * x + b * y + c);
        let depth = if depth.abs() < 1e-6 { 1e-6 } else { depth };
        Spot::new(down / depth, aside / depth)
    }
}

/// The modules that a fit looks at: each with its place and what it must be (1 dark, -1 light, 0 either).
pub(super) struct Targets {
    places: Vec<(f32, f32, f32, usize)>,
}

impl Targets {
    /// All of a layout, and the quiet zone's nearest ring.
    pub(super) fn all(layout: &Layout) -> Self {
        let far = layout.modules;
        let mut places = Vec::with_capacity(far * (far + 4));
        for y in 0..far {
            for x in 0..far {
                let sign = layout.known[y * far + x].map_or(0.0, |dark| if dark { 1.0 } else { -1.0 });
                places.push((x as f32 + 0.5, y as f32 + 0.5, sign, y * far + x));
            }
        }
        for at in 0..far {
            let (along, end) = (at as f32 + 0.5, far as f32 + 0.5);
            places.push((along, -0.5, -1.0, at));
            places.push((-0.5, along, -1.0, at * far));
            places.push((along, end, -1.0, (far - 1) * far + at));
            places.push((end, along, -1.0, at * far + far - 1));
        }
        Self { places }
    }

    /// Every `nth`, of unknown colour; all known ones.
    fn thinned(&self, nth: usize) -> Self {
        let kept = self.places.iter().enumerate().filter(|(at, place)| place.2 != 0.0 || at % nth == 0);
        Self { places: kept.map(|(_, place)| *place).collect() }
    }

    /// Those within `reach` modules of a point.
    fn near(&self, x: f32, y: f32, reach: f32) -> Self {
        let near = |place: &&(f32, f32, f32, usize)| (place.0 - x).abs() <= reach && (place.1 - y).abs() <= reach;
        Self { places: self.places.iter().filter(near).copied().collect() }
    }

    /// How well a map puts them on dark and light: 1 is perfect, 0 is chance.
    pub(super) fn fit(&self, grey: Grey<'_>, levels: &Levels, map: impl Fn(f32, f32) -> Spot) -> f32 {
        let (mut sum, mut most) = (0.0, 1e-3);
        for &(x, y, sign, module) in &self.places {
            let spot = map(x, y);
            let value = levels.darkness(module, grey.at(spot.x, spot.y));
            if sign == 0.0 {
                sum += UNKNOWN * value.abs();
                most += UNKNOWN;
            } else {
                sum += sign * value;
                most += 1.0;
            }
        }
        sum / most
    }
}

/// How well the three finder patterns and the timing between them look as they must on a perspective, before anything is
/// moved: the mean of their correlations, 1 for a perfect print. Cheap, to rank candidates by.
pub(super) fn promise(perspective: &Perspective, grey: Grey<'_>) -> f32 {
    let map = perspective.map();
    let far = perspective.modules;
    let finder = |left: f32, top: f32| {
        let places = (0..81).map(move |at| {
            let (x, y) = ((at % 9) as f32, (at / 9) as f32);
            let ring = (x - 4.0).abs().max((y - 4.0).abs()) as i32;
            (left + x - 0.5, top + y - 0.5, if matches!(ring, 2 | 4) { -1.0 } else { 1.0 })
        });
        correlation(places.map(|(x, y, sign)| {
            let spot = map.at(x, y);
            (grey.at(spot.x, spot.y), sign)
        }))
    };
    let finders = [finder(0.0, 0.0), finder(far - 7.0, 0.0), finder(0.0, far - 7.0)];
    let timing = |down: bool| {
        let places = (7..far as usize - 7).map(move |at| (at as f32 + 0.5, if at % 2 == 0 { 1.0 } else { -1.0 }));
        correlation(places.map(|(along, sign)| {
            let spot = if down { map.at(6.5, along) } else { map.at(along, 6.5) };
            (grey.at(spot.x, spot.y), sign)
        }))
    };
    let sum: f32 = finders.iter().sum();
    (sum + 0.5 * (timing(false) + timing(true))) / 4.0
}

/// Pearson's correlation of darkness with signs.
fn correlation(pairs: impl Iterator<Item = (f32, f32)>) -> f32 {
    let (mut n, mut v, mut vv, mut s, mut ss, mut vs) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for (value, sign) in pairs {
        n += 1.0;
        v += value;
        vv += value * value;
        s += sign;
        ss += sign * sign;
        vs += value * sign;
    }
    let spread = (n * vv - v * v) * (n * ss - s * s);
    if spread > n { (v * s - n * vs) / spread.sqrt() } else { 0.0 }
}

/// Finds the fourth corner, then moves all four in ever smaller steps. Returns the fit that was reached.
pub(super) fn settle(perspective: &mut Perspective, grey: Grey<'_>, layout: &Layout, targets: &Targets) -> f32 {
    let levels = Levels::of(grey, layout.modules, |x, y| perspective.map().at(x, y));
    let coarse = targets.thinned(if layout.modules > 29 { 3 } else { 2 });
    let [tl, tr, _, bl] = perspective.corners;
    let far = perspective.modules - 2.0 * FINDER_CENTRE;
    let (across, down) = (((tr.x - tl.x) / far, (tr.y - tl.y) / far), ((bl.x - tl.x) / far, (bl.y - tl.y) / far));
    let moved =
        |spot: Spot, x: f32, y: f32| Spot::new(spot.x + across.0 * x + down.0 * y, spot.y + across.1 * x + down.1 * y);
    let reach = (far * 0.22).clamp(3.0, 9.0) as i32;
    let start = perspective.corners[2];
    let (mut best, mut best_fit) = (*perspective, f32::MIN);
    for y in -reach..=reach {
        for x in -reach..=reach {
            let mut tried = *perspective;
            tried.corners[2] = moved(start, x as f32, y as f32);
            let map = tried.map();
            // Far off needs a little more evidence.
            let fit = coarse.fit(grey, &levels, |x, y| map.at(x, y)) - 0.002 * (x.abs() + y.abs()) as f32;
            if fit > best_fit {
                (best, best_fit) = (tried, fit);
            }
        }
    }
    *perspective = best;
    if best_fit < HOPELESS {
        return best_fit;
    }
    let levels = Levels::of(grey, layout.modules, |x, y| perspective.map().at(x, y));
    let coarse_steps = [0.5, 0.25];
    for (targets, steps) in [(&coarse, &coarse_steps[..]), (targets, &[0.25, 0.12][..])] {
        let fit_of = |one: &Perspective| {
            let map = one.map();
            targets.fit(grey, &levels, |x, y| map.at(x, y))
        };
        best_fit = fit_of(perspective);
        for &step in steps {
            for _ in 0..4 {
                let before = best_fit;
                for corner in [2, 0, 1, 3] {
                    for (x, y) in [(step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step)] {
                        let mut tried = *perspective;
                        tried.corners[corner] = moved(tried.corners[corner], x, y);
                        let fit = fit_of(&tried);
                        if fit > best_fit {
                            (*perspective, best_fit) = (tried, fit);
                        }
                    }
                }
                if best_fit <= before + 1e-4 {
                    break;
                }
            }
        }
    }
    best_fit
}

/// A perspective and, on top of it, a net of small shifts: between its knots they change evenly.
pub(super) struct Net {
    map: Map,
    knots: usize,
    spacing: f32,
    shifts: Vec<(f32, f32)>,
}

impl Net {
    /// No shifts.
    pub(super) fn flat(perspective: &Perspective) -> Self {
        let knots = ((perspective.modules / 6.0).ceil() as usize + 1).clamp(4, 12);
        let spacing = perspective.modules / (knots - 1) as f32;
        Self { map: perspective.map(), knots, spacing, shifts: vec![(0.0, 0.0); knots * knots] }
    }

    pub(super) fn at(&self, x: f32, y: f32) -> Spot {
        let last = (self.knots - 1) as f32;
        let (across, down) = ((x / self.spacing).clamp(0.0, last), (y / self.spacing).clamp(0.0, last));
        let (left, top) = ((across as usize).min(self.knots - 2), (down as usize).min(self.knots - 2));
        let (across, down) = (across - left as f32, down - top as f32);
        let knot = |right: usize, below: usize| self.shifts[(top + below) * self.knots + left + right];
        let mix = |a: (f32, f32), b: (f32, f32), share: f32| (a.0 + (b.0 - a.0) * share, a.1 + (b.1 - a.1) * share);
        let shift = mix(mix(knot(0, 0), knot(1, 0), across), mix(knot(0, 1), knot(1, 1), across), down);
        self.map.at(x + shift.0, y + shift.1)
    }

    /// Moves each knot to where the modules around it fall best, in two rounds. From the corners inwards: there the finder
    /// patterns say for sure which module is which, and neighbours follow each other.
    pub(super) fn bend(&mut self, grey: Grey<'_>, levels: &Levels, targets: &Targets) {
        let last = self.knots - 1;
        let mut order: Vec<(usize, usize)> =
            (0..self.knots).flat_map(|y| (0..self.knots).map(move |x| (x, y))).collect();
        let from_edge = |at: usize| at.min(last - at);
        order.sort_by_key(|&(x, y)| from_edge(x) + from_edge(y));
        for step in [0.35, 0.18] {
            for &(x, y) in &order {
                let near = targets.near(x as f32 * self.spacing, y as f32 * self.spacing, self.spacing);
                let at = y * self.knots + x;
                let neighbours = self.mean_around(x, y);
                let mut best = (f32::MIN, self.shifts[at]);
                let here = self.shifts[at];
                for (aside, down) in [
                    (0.0, 0.0),
                    (step, 0.0),
                    (-step, 0.0),
                    (0.0, step),
                    (0.0, -step),
                    (step, step),
                    (-step, -step),
                    (step, -step),
                    (-step, step),
                ] {
                    self.shifts[at] = (here.0 + aside, here.1 + down);
                    let stretch = (self.shifts[at].0 - neighbours.0).hypot(self.shifts[at].1 - neighbours.1);
                    let fit = near.fit(grey, levels, |x, y| self.at(x, y)) - 0.06 * stretch;
                    if fit > best.0 {
                        best = (fit, self.shifts[at]);
                    }
                }
                self.shifts[at] = best.1;
            }
        }
    }

    fn mean_around(&self, x: usize, y: usize) -> (f32, f32) {
        let (mut sum, mut count) = ((0.0, 0.0), 0.0);
        for (aside, down) in [(0, 1), (2, 1), (1, 0), (1, 2)] {
            let (Some(x), Some(y)) = ((x + aside).checked_sub(1), (y + down).checked_sub(1)) else { continue };
            if x < self.knots && y < self.knots {
                let (dx, dy) = self.shifts[y * self.knots + x];
                sum = (sum.0 + dx, sum.1 + dy);
                count += 1.0;
            }
        }
        (sum.0 / count, sum.1 / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perspective_puts_its_four_points_where_they_were_given() {
        let corners = [(10.0, 12.0), (90.0, 20.0), (100.0, 99.0), (5.0, 80.0)].map(|(x, y)| Spot::new(x, y));
        let map = Perspective { corners, modules: 25.0 }.map();
        let grid = [(3.5, 3.5), (21.5, 3.5), (21.5, 21.5), (3.5, 21.5)];
        for ((x, y), corner) in grid.into_iter().zip(corners) {
            assert!(map.at(x, y).distance(corner) < 0.01, "{:?}", map.at(x, y));
        }
    }
}
