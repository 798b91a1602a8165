//! Where in a picture a code could be: parts with many edges, told from each other by whether the edges all run one way
//! (bars) or not (squares, letters). The dear readers look only there.

use super::grey::{Grey, Spot};

/// The side of a tile, in pixels. It is judged together with its neighbours to the right and below.
const TILE: usize = 8;

/// Edges of a tile, as a share of those of the busiest tiles, from which it belongs to a region.
const BUSY: f32 = 0.16;
/// And in twice the luma a pixel: below it there is only noise.
const FEWEST_EDGES: f32 = 3.0;

/// How much one way the edges must run (0 any way, 1 all one way) for bars.
const ONE_WAY: f32 = 0.55;

/// How far directions of neighbouring tiles of bars may differ, in radians.
const SAME_WAY: f32 = 0.3;

/// Sums over a tile of what its edges are: across, down, and both at once.
#[derive(Clone, Copy, Default)]
struct Tile {
    xx: f32,
    yy: f32,
    xy: f32,
}

impl Tile {
    fn edges(self) -> f32 {
        self.xx + self.yy
    }

    fn one_way(self) -> f32 {
        (self.xx - self.yy).hypot(2.0 * self.xy) / self.edges().max(1e-3)
    }

    /// The direction in which luma changes, 0 to the right, up to half a turn.
    fn direction(self) -> f32 {
        0.5 * (2.0 * self.xy).atan2(self.xx - self.yy)
    }

    fn add(&mut self, other: Self) {
        self.xx += other.xx;
        self.yy += other.yy;
        self.xy += other.xy;
    }
}

/// A part of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Region {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) right: usize,
    pub(super) bottom: usize,
}

impl Region {
    pub(super) const fn width(&self) -> usize {
        self.right - self.left
    }

    pub(super) const fn height(&self) -> usize {
        self.bottom - self.top
    }
}

/// A part with bars.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stripes {
    /// The middle of it.
    pub(super) middle: Spot,
    /// The direction across the bars, in radians from the right.
    pub(super) direction: f32,
    /// How far it goes from the middle, across the bars and along them, in pixels.
    pub(super) across: f32,
    pub(super) along: f32,
    /// Sum of its edges: what there is to read.
    edges: f32,
}

/// The edges of a picture, a tile each.
pub(super) struct Edges {
    across: usize,
    tiles: Vec<Tile>,
    /// Edges from which a tile is busy.
    busy: f32,
    width: usize,
    height: usize,
}

impl Edges {
    pub(super) fn of(grey: Grey<'_>) -> Self {
        let (across, down) = (grey.width / TILE, grey.height / TILE);
        let mut tiles = vec![Tile::default(); across * down];
        for y in 0..(down * TILE).min(grey.height.saturating_sub(1)) {
            let (row, below) = (&grey.pixels[y * grey.width..], &grey.pixels[(y + 1) * grey.width..]);
            for (tile, left) in tiles[y / TILE * across..][..across].iter_mut().zip((0..).step_by(TILE)) {
                let right = (left + TILE + 1).min(grey.width);
                let (mut xx, mut yy, mut xy) = (0, 0, 0);
                // Between four pixels: what lies between two would see a slope of one side and miss that of the other.
                for (pair, under) in row[left..right].windows(2).zip(below[left..right].windows(2)) {
                    let [here, aside, down, across] = [pair[0], pair[1], under[0], under[1]].map(i32::from);
                    let (dx, dy) = (aside + across - here - down, down + across - here - aside);
                    xx += dx * dx;
                    yy += dy * dy;
                    xy += dx * dy;
                }
                tile.add(Tile { xx: xx as f32, yy: yy as f32, xy: xy as f32 });
            }
        }
        for at in 0..tiles.len() {
            let right = (at + 1) % across != 0;
            for (to, there) in [(at + 1, right), (at + across, true), (at + across + 1, right)] {
                if let Some(&other) = tiles.get(to).filter(|_| there) {
                    tiles[at].add(other);
                }
            }
        }
        let mut sorted: Vec<f32> = tiles.iter().map(|tile| tile.edges()).collect();
        sorted.sort_by(f32::total_cmp);
        // The busiest but a few: a single glint doesn't raise the bar.
        let top = sorted.len().checked_sub(1 + (sorted.len() / 100).min(8)).map_or(0.0, |at| sorted[at]);
        let busy = (top * BUSY * BUSY.sqrt()).max(FEWEST_EDGES * FEWEST_EDGES * (4 * TILE * TILE) as f32);
        Self { across, tiles, busy, width: grey.width, height: grey.height }
    }

    /// Groups of busy tiles that touch and are alike, those with the most edges first.
    fn groups(&self, fits: impl Fn(Tile) -> bool, alike: impl Fn(Tile, Tile) -> bool) -> Vec<(f32, Vec<usize>)> {
        let mut free: Vec<bool> = self.tiles.iter().map(|tile| tile.edges() >= self.busy && fits(*tile)).collect();
        let mut groups = Vec::new();
        for first in 0..self.tiles.len() {
            if !free[first] {
                continue;
            }
            free[first] = false;
            let mut group = vec![first];
            let mut next = 0;
            while let Some(&at) = group.get(next) {
                next += 1;
                let (x, y) = (at % self.across, at / self.across);
                for (aside, below) in (0..9).map(|nth| (nth % 3, nth / 3)) {
                    let (column, row) = ((x + aside).wrapping_sub(1), (y + below).wrapping_sub(1));
                    let to = row.wrapping_mul(self.across).wrapping_add(column);
                    if column < self.across
                        && to < self.tiles.len()
                        && free[to]
                        && alike(self.tiles[at], self.tiles[to])
                    {
                        free[to] = false;
                        group.push(to);
                    }
                }
            }
            groups.push((group.iter().map(|&at| self.tiles[at].edges()).sum(), group));
        }
        groups.sort_by(|a: &(f32, Vec<usize>), b| b.0.total_cmp(&a.0));
        groups
    }

    /// Parts with edges that run any way, busiest first, with some tiles to spare on each side.
    pub(super) fn regions(&self) -> Vec<Region> {
        let groups = self.groups(|_| true, |_, _| true);
        let region = |(_, group): (f32, Vec<usize>)| {
            let columns = group.iter().map(|at| at % self.across);
            let rows = group.iter().map(|at| at / self.across);
            let (left, right) = (columns.clone().min()?, columns.max()?);
            let (top, bottom) = (rows.clone().min()?, rows.max()?);
            Some(Region {
                left: left.saturating_sub(2) * TILE,
                top: top.saturating_sub(2) * TILE,
                right: ((right + 4) * TILE).min(self.width),
                bottom: ((bottom + 4) * TILE).min(self.height),
            })
        };
        groups.into_iter().filter(|(_, group)| group.len() >= 6).filter_map(region).collect()
    }

    /// Parts with bars, those with the most edges first.
    pub(super) fn stripes(&self) -> Vec<Stripes> {
        let groups = self.groups(
            |tile| tile.one_way() >= ONE_WAY,
            |one, other| {
                let turn = (one.direction() - other.direction()).rem_euclid(std::f32::consts::PI);
                turn.min(std::f32::consts::PI - turn) < SAME_WAY
            },
        );
        let stripes = |(edges, group): (f32, Vec<usize>)| {
            let mut sum = Tile::default();
            let (mut x, mut y) = (0.0, 0.0);
            let place = |at: usize| ((at % self.across * TILE + TILE) as f32, (at / self.across * TILE + TILE) as f32);
            for &at in &group {
                sum.add(self.tiles[at]);
                let (tile_x, tile_y) = place(at);
                x += tile_x;
                y += tile_y;
            }
            let middle = Spot::new(x / group.len() as f32, y / group.len() as f32);
            let direction = sum.direction();
            let (cosine, sine) = (direction.cos(), direction.sin());
            let (mut across, mut along) = ((0.0_f32, 0.0_f32), (0.0_f32, 0.0_f32));
            for &at in &group {
                let (tile_x, tile_y) = place(at);
                let (dx, dy) = (tile_x - middle.x, tile_y - middle.y);
                let (u, v) = (dx * cosine + dy * sine, dy * cosine - dx * sine);
                across = (across.0.min(u), across.1.max(u));
                along = (along.0.min(v), along.1.max(v));
            }
            let (u, v) = ((across.0 + across.1) / 2.0, (along.0 + along.1) / 2.0);
            let half = TILE as f32 * 0.75;
            Stripes {
                middle: Spot::new(middle.x + u * cosine - v * sine, middle.y + u * sine + v * cosine),
                direction,
                across: (across.1 - across.0) / 2.0 + half,
                along: (along.1 - along.0) / 2.0 + half,
                edges,
            }
        };
        let mut found: Vec<Stripes> = groups.into_iter().map(stripes).collect();
        // Bars are wider than high, or nearly: an edge of a table has many edges too, but nothing beside them.
        found.retain(|one| one.across >= 3.0 * TILE as f32 && one.across > one.along * 0.4);
        found.sort_by(|a, b| b.edges.total_cmp(&a.edges));
        found
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma};

    use super::*;

    #[test]
    fn bars_are_found_where_they_are_and_as_they_are_turned() {
        for degrees in [0.0_f32, 20.0, 70.0, 90.0, 135.0] {
            let (sine, cosine) = degrees.to_radians().sin_cos();
            let luma = GrayImage::from_fn(400, 320, |x, y| {
                let (dx, dy) = (x as f32 - 220.0, y as f32 - 150.0);
                let (u, v) = (dx * cosine + dy * sine, dy * cosine - dx * sine);
                Luma([if u.abs() < 90.0 && v.abs() < 30.0 && (u + 90.0) % 8.0 < 4.0 { 20 } else { 220 }])
            });
            let found = Edges::of(Grey::of(&luma)).stripes();
            let best = found.first().unwrap_or_else(|| panic!("nothing at {degrees}"));
            let turn = (best.direction - degrees.to_radians()).rem_euclid(std::f32::consts::PI);
            assert!(turn.min(std::f32::consts::PI - turn) < 0.12, "{degrees}: {best:?}");
            assert!(best.middle.distance(Spot::new(220.0, 150.0)) < 14.0, "{best:?}");
            assert!((80.0..115.0).contains(&best.across), "{best:?}");
        }
    }

    #[test]
    fn what_is_even_or_noise_has_no_regions() {
        let even = GrayImage::from_fn(200, 100, |x, y| Luma([100 + (x * 7 + y * 13) as u8 % 3]));
        let edges = Edges::of(Grey::of(&even));
        assert!(edges.regions().is_empty() && edges.stripes().is_empty());
        let tiny = GrayImage::new(3, 3);
        assert!(Edges::of(Grey::of(&tiny)).regions().is_empty());
    }
}
