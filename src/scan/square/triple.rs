//! Which three finder patterns belong together, which of them is the corner, and how many modules may lie between them.

use super::{super::grey::Spot, finder::Finder};

/// Larger codes are left to the other readers: ours are payment codes, order numbers and vouchers, which need version 10 at
/// most, and what looks like a large one by chance costs the most.
const LARGEST_VERSION: f32 = 14.0;

/// Three corners of a code that may be one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Triple {
    pub(super) top_left: Spot,
    pub(super) top_right: Spot,
    pub(super) bottom_left: Spot,
    /// Modules a side as measured, not yet a version's.
    pub(super) modules: f32,
    /// How unlike the corner of a square it is: 0 is perfect.
    pub(super) oddity: f32,
}

impl Triple {
    /// The fourth corner as far as the three tell: that of the parallelogram.
    pub(super) fn fourth(&self) -> Spot {
        let (tl, tr, bl) = (self.top_left, self.top_right, self.bottom_left);
        Spot::new(tr.x + bl.x - tl.x, tr.y + bl.y - tl.y)
    }

    /// Whether another one means the same places.
    pub(super) fn is_near(&self, other: &Self) -> bool {
        let near = |one: Spot, two: Spot| one.distance(two) < 1.5;
        near(self.top_left, other.top_left)
            && near(self.top_right, other.top_right)
            && near(self.bottom_left, other.bottom_left)
    }

    /// The versions it may be, likeliest first, up to [`LARGEST_VERSION`].
    pub(super) fn versions(&self) -> impl Iterator<Item = u32> + use<> {
        let exact = (self.modules - 17.0) / 4.0;
        let nearest = exact.round().clamp(1.0, 40.0);
        let side = if exact >= nearest { 1.0 } else { -1.0 };
        let reach = if nearest > 6.0 { 2 } else { 1 };
        let others = (1..=reach).flat_map(move |away| [side * away as f32, -side * away as f32]);
        std::iter::once(0.0)
            .chain(others)
            .map(move |away| nearest + away)
            .filter(|v| (1.0..=LARGEST_VERSION).contains(v))
            .map(|v| v as u32)
    }

    /// From a corner and two others of a code that isn't mirrored.
    fn of(corner: &Finder, one: &Finder, two: &Finder) -> Option<Self> {
        let (to_one, to_two) = (away(corner.centre, one.centre), away(corner.centre, two.centre));
        let turn = to_one.0 * to_two.1 - to_one.1 * to_two.0;
        let (right, below, to_right, to_below) =
            if turn > 0.0 { (one, two, to_one, to_two) } else { (two, one, to_two, to_one) };
        let (across, down) = (to_right.0.hypot(to_right.1), to_below.0.hypot(to_below.1));
        let cosine = (to_right.0 * to_below.0 + to_right.1 * to_below.1) / (across * down).max(1.0);
        let legs = (across / down.max(1.0)).ln().abs();
        let sizes = [corner.size(), right.size(), below.size()];
        let (small, large) =
            (sizes.iter().copied().fold(f32::MAX, f32::min), sizes.iter().copied().fold(0.0, f32::max));
        if cosine.abs() > 0.62 || legs > 0.95 || large > small * 2.2 {
            return None;
        }
        let modules = (across / along(corner, right, to_right) + down / along(corner, below, to_below)) / 2.0 + 7.0;
        (15.0..80.0).contains(&modules).then(|| Self {
            top_left: corner.centre,
            top_right: right.centre,
            bottom_left: below.centre,
            modules,
            oddity: cosine.abs() + legs + (large / small).ln() * 1.5,
        })
    }
}

fn away(from: Spot, to: Spot) -> (f32, f32) {
    (to.x - from.x, to.y - from.y)
}

/// Pixels a module along a leg. A square that is turned is cut wider by rows and columns than it is.
fn along(one: &Finder, two: &Finder, leg: (f32, f32)) -> f32 {
    let length = leg.0.hypot(leg.1).max(1.0);
    let (cosine, sine) = ((leg.0 / length).abs(), (leg.1 / length).abs());
    let straight = if cosine > sine { (one.width + two.width) / 2.0 } else { (one.height + two.height) / 2.0 };
    (straight * cosine.max(sine) / 7.0).max(0.5)
}

/// All triples that may be corners of a code, the squarest first.
pub(super) fn triples(finders: &[Finder]) -> Vec<Triple> {
    let mut found = Vec::new();
    for (first, a) in finders.iter().enumerate() {
        for (second, b) in finders.iter().enumerate().skip(first + 1) {
            for c in &finders[second + 1..] {
                let (ab, bc, ca) =
                    (a.centre.distance(b.centre), b.centre.distance(c.centre), c.centre.distance(a.centre));
                let (corner, one, two) = if bc >= ab && bc >= ca {
                    (a, b, c)
                } else if ca >= ab {
                    (b, a, c)
                } else {
                    (c, a, b)
                };
                found.extend(Triple::of(corner, one, two));
            }
        }
    }
    found.sort_by(|a, b| a.oddity.total_cmp(&b.oddity));
    found
}

/// Where a third finder pattern may be hidden (by glare, a thumb): all ways in which two may belong together. The hidden
/// one is put where a square has it.
pub(super) fn pairs(finders: &[Finder]) -> Vec<Triple> {
    let mut found = Vec::new();
    for (first, a) in finders.iter().enumerate() {
        for b in &finders[first + 1..] {
            if a.size() > b.size() * 1.5 || b.size() > a.size() * 1.5 {
                continue;
            }
            let (x, y) = away(a.centre, b.centre);
            let modules = a.centre.distance(b.centre) / along(a, b, (x, y));
            let (here, there) = (a.centre, b.centre);
            let oddity = (a.size() / b.size()).ln().abs();
            let mut add = |top_left, top_right, bottom_left, modules| {
                found.push(Triple { top_left, top_right, bottom_left, modules, oddity });
            };
            // A quarter turn in a picture takes what is to the right to below.
            let moved = |from: Spot, x: f32, y: f32| Spot::new(from.x + x, from.y + y);
            add(here, there, moved(here, -y, x), modules + 7.0);
            add(there, here, moved(there, y, -x), modules + 7.0);
            add(here, moved(here, y, -x), there, modules + 7.0);
            add(there, moved(there, -y, x), here, modules + 7.0);
            // The diagonal: half of it, turned a quarter, leads from its middle to the hidden corner.
            let middle = here.moved(here, there, 0.5);
            for (right, below, half_x, half_y) in [(here, there, x / 2.0, y / 2.0), (there, here, -x / 2.0, -y / 2.0)] {
                let top_left = moved(middle, -half_y, half_x);
                add(top_left, right, below, top_left.distance(right) / along(a, b, away(top_left, right)) + 7.0);
            }
        }
    }
    found.retain(|one| (19.0..90.0).contains(&one.modules));
    found.sort_by(|a, b| a.oddity.total_cmp(&b.oddity));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finder(x: f32, y: f32) -> Finder {
        Finder { centre: Spot::new(x, y), width: 35.0, height: 35.0, lines: 9, nth: 0 }
    }

    /// Version 1 at five pixels a module: centres 14 modules apart.
    const CORNERS: [(f32, f32); 3] = [(100.0, 100.0), (170.0, 100.0), (100.0, 170.0)];

    #[test]
    fn the_corner_and_the_version_are_told_whatever_the_order() {
        let [tl, tr, bl] = CORNERS.map(|(x, y)| finder(x, y));
        for order in [[tl, tr, bl], [bl, tl, tr], [tr, bl, tl]] {
            let found = triples(&order);
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].top_left, found[0].top_right), (tl.centre, tr.centre));
            assert_eq!(found[0].versions().next(), Some(1));
            assert_eq!(found[0].fourth(), Spot::new(170.0, 170.0));
        }
        assert!(triples(&[tl, tr, finder(240.0, 101.0)]).is_empty());
    }

    #[test]
    fn any_two_corners_find_the_third() {
        let all = CORNERS.map(|(x, y)| finder(x, y));
        for hidden in 0..3 {
            let seen: Vec<Finder> = (0..3).filter(|at| *at != hidden).map(|at| all[at]).collect();
            let right = pairs(&seen).into_iter().filter(|one| {
                let places = [one.top_left, one.top_right, one.bottom_left];
                places.iter().zip(&all).all(|(place, real)| place.distance(real.centre) < 1.0)
            });
            assert_eq!(right.count(), 1, "{hidden}");
        }
        assert!(pairs(&all[..1]).is_empty());
    }
}
