//! Finder patterns: dark and light in the ratio 1 : 1 : 3 : 1 : 1 across and down, in black and white by a threshold that
//! follows the light. Blur eats the thin rings, so the ratios are taken loosely: what is no code is found out later.

use super::super::{
    deadline::Deadline,
    grey::{Grey, Spot},
};

/// A pixel is dark when it is this much darker than the mean around it: paper and screens are not perfectly even.
const DARKER: i32 = 3;

/// How many finder patterns are kept. A frame with more squares than these is wallpaper.
const MOST: usize = 18;

/// Those that no line can add to any more are thinned out when they are this many: noise is full of them.
const MANY: usize = 512;

/// Rows between two looks at the clock.
const ROWS: usize = 16;

/// A finder pattern in sight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finder {
    pub(super) centre: Spot,
    /// Its extent across and down, in pixels: 7 modules when it stands upright.
    pub(super) width: f32,
    pub(super) height: f32,
    /// How many lines saw it.
    pub(super) lines: u32,
    /// The how manieth that was seen: among equals the first comes first.
    pub(super) nth: usize,
}

impl Finder {
    /// Pixels a module, give or take the turn.
    pub(super) fn size(&self) -> f32 {
        (self.width + self.height) / 2.0
    }

    /// What one line alone saw of something large is a chance.
    fn is_likely(&self) -> bool {
        self.lines >= 2 || self.size() < 24.0
    }

    /// The same in a picture `times` as large.
    pub(super) fn scaled(self, times: f32) -> Self {
        let centre = Spot::new(self.centre.x * times, self.centre.y * times);
        Self { centre, width: self.width * times, height: self.height * times, ..self }
    }

    /// The same in a picture of which this one is a part that begins at (x, y).
    pub(super) fn moved(self, x: f32, y: f32) -> Self {
        Self { centre: Spot::new(self.centre.x + x, self.centre.y + y), ..self }
    }
}

/// Black and white: 1 is dark.
pub(super) struct Dark {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Dark {
    /// By the mean of the square `reach` pixels around each pixel. With `inverted` what is lighter counts as dark. Where the time
    /// is over the rest stays light.
    pub(super) fn of(grey: Grey<'_>, reach: usize, inverted: bool, deadline: Deadline) -> Self {
        let (width, height) = (grey.width, grey.height);
        let mut pixels = vec![0; width * height];
        // Sums of columns, moved down a row at a time; then a window moved along them.
        let mut columns = vec![0_i32; width];
        let row = |y: usize| &grey.pixels[y * width..(y + 1) * width];
        for y in 0..reach.min(height) {
            columns.iter_mut().zip(row(y)).for_each(|(sum, &pixel)| *sum += i32::from(pixel));
        }
        let mut sums = vec![0_i32; width + 1];
        for y in 0..height {
            if y % ROWS == 0 && deadline.is_over() {
                break;
            }
            if y + reach < height {
                columns.iter_mut().zip(row(y + reach)).for_each(|(sum, &pixel)| *sum += i32::from(pixel));
            }
            if y > reach {
                columns.iter_mut().zip(row(y - reach - 1)).for_each(|(sum, &pixel)| *sum -= i32::from(pixel));
            }
            let rows = ((y + reach).min(height - 1) - y.saturating_sub(reach) + 1) as i32;
            let mut total = 0;
            for (to, &column) in sums[1..].iter_mut().zip(&columns) {
                total += column;
                *to = total;
            }
            let line = &mut pixels[y * width..(y + 1) * width];
            for (x, (to, &pixel)) in line.iter_mut().zip(row(y)).enumerate() {
                let (left, right) = (x.saturating_sub(reach), (x + reach + 1).min(width));
                let count = (right - left) as i32 * rows;
                let difference = sums[right] - sums[left] - i32::from(pixel) * count;
                *to = u8::from(if inverted { -difference } else { difference } > DARKER * count);
            }
        }
        Self { width, height, pixels }
    }

    /// The finder patterns in sight, those seen by most lines first; those above the row at which the time was over.
    pub(super) fn finders(&self, deadline: Deadline) -> Vec<Finder> {
        let mut sightings = Sightings::default();
        let step = if self.height > 600 { 2 } else { 1 };
        let mut ends: Vec<usize> = Vec::with_capacity(self.width);
        for (nth, y) in (1..self.height).step_by(step).enumerate() {
            if nth % ROWS == 0 {
                if deadline.is_over() {
                    break;
                }
                sightings.close_above(y as f32);
            }
            let line = &self.pixels[y * self.width..(y + 1) * self.width];
            ends.clear();
            ends.push(0);
            let changes = line.windows(2).enumerate().filter(|(_, pair)| pair[0] != pair[1]);
            ends.extend(changes.map(|(at, _)| at + 1));
            ends.push(self.width);
            // Runs alternate; the first dark one is the first or the second.
            let first = usize::from(line.first() == Some(&0));
            for at in (first..ends.len().saturating_sub(5)).step_by(2) {
                let runs: [f32; 5] = std::array::from_fn(|nth| (ends[at + nth + 1] - ends[at + nth]) as f32);
                if !looks_like_one(runs) {
                    continue;
                }
                let middle = (ends[at + 2] + ends[at + 3]) / 2;
                if let Some((centre, width, height)) = self.confirmed(middle, y, runs.iter().sum()) {
                    sightings.add(centre, width, height);
                }
            }
        }
        sightings.best()
    }

    /// Looks down and across from a middle found in a row: centre, width and height of what is there.
    fn confirmed(&self, x: usize, y: usize, across: f32) -> Option<(Spot, f32, f32)> {
        let (height, centre_y) = self.through(x, y, false, across)?;
        let (width, centre_x) = self.through(x, centre_y as usize, true, across)?;
        (0.4..2.5).contains(&(width / height)).then(|| (Spot::new(centre_x, centre_y), width, height))
    }

    /// The five runs through a dark pixel, along its row or column: their sum, the middle of the third.
    fn through(&self, x: usize, y: usize, along_row: bool, about: f32) -> Option<(f32, f32)> {
        let (start, length, stride) =
            if along_row { (y * self.width, self.width, 1) } else { (x, self.height, self.width) };
        let from = if along_row { x } else { y };
        let dark = |at: usize| self.pixels[start + at * stride] == 1;
        if from >= length || !dark(from) {
            return None;
        }
        let most = (about * 2.5) as usize + 4;
        let mut ends = [0; 6];
        let mut at = from;
        for (nth, wanted) in [(2, true), (1, false), (0, true)] {
            while at > 0 && from - at < most && dark(at - 1) == wanted {
                at -= 1;
            }
            ends[nth] = at;
        }
        at = from + 1;
        for (nth, wanted) in [(3, true), (4, false), (5, true)] {
            while at < length && at - from < most && dark(at) == wanted {
                at += 1;
            }
            ends[nth] = at;
        }
        let runs: [f32; 5] = std::array::from_fn(|nth| (ends[nth + 1] - ends[nth]) as f32);
        let sum: f32 = runs.iter().sum();
        (looks_like_one(runs)).then(|| (sum, (ends[2] + ends[3]) as f32 / 2.0))
    }
}

/// What the rows have shown so far. Only those that the next rows may still cut are compared with what is seen there: in noise
/// there are thousands.
#[derive(Default)]
struct Sightings {
    open: Vec<Finder>,
    closed: Vec<Finder>,
    seen: usize,
}

impl Sightings {
    fn add(&mut self, centre: Spot, width: f32, height: f32) {
        let size = (width + height) / 2.0;
        let near = |old: &Finder| {
            let (x, y) = (old.centre.x - centre.x, old.centre.y - centre.y);
            let within = old.size() * 0.25;
            x * x + y * y < within * within && (0.6..1.6).contains(&(old.size() / size))
        };
        match self.open.iter_mut().find(|old| near(old)) {
            Some(old) => {
                let share = 1.0 / (old.lines + 1) as f32;
                old.centre = old.centre.moved(old.centre, centre, share);
                old.width += (width - old.width) * share;
                old.height += (height - old.height) * share;
                old.lines += 1;
            }
            None => {
                self.open.push(Finder { centre, width, height, lines: 1, nth: self.seen });
                self.seen += 1;
            }
        }
    }

    /// No row from `y` on cuts these: a row that shows one lies in the middle third of it.
    fn close_above(&mut self, y: f32) {
        let closed = &mut self.closed;
        self.open.retain(|one| {
            let open = y < one.centre.y + one.size() * 1.5;
            if !open && one.is_likely() {
                closed.push(*one);
            }
            open
        });
        if self.closed.len() > MANY {
            thin_out(&mut self.closed);
        }
    }

    fn best(mut self) -> Vec<Finder> {
        self.closed.extend(self.open.into_iter().filter(Finder::is_likely));
        thin_out(&mut self.closed);
        self.closed
    }
}

/// Keeps those that most lines saw, of equals the first.
fn thin_out(found: &mut Vec<Finder>) {
    found.sort_by_key(|one| (std::cmp::Reverse(one.lines), one.nth));
    found.truncate(MOST);
}

/// Whether five runs, dark first, may cut a finder pattern through its middle.
fn looks_like_one(runs: [f32; 5]) -> bool {
    let sum: f32 = runs.iter().sum();
    if sum < 7.0 || runs.contains(&0.0) {
        return false;
    }
    let module = sum / 7.0;
    let thin = |run: f32| (module * 0.35 - 0.5..=module * 1.85 + 0.5).contains(&run);
    let thick = (module * 1.9 - 0.5..=module * 4.3 + 0.5).contains(&runs[2]);
    thick && [runs[0], runs[1], runs[3], runs[4]].into_iter().all(thin) && runs[2] > runs[1].max(runs[3])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use image::{GrayImage, Luma};

    use super::*;
    use crate::scan::deadline::Clock;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(60), Clock::Wall)
    }

    /// A finder pattern of `module` pixels a module, in the shade of a slope from left to right.
    fn drawn(module: u32, left: u32, top: u32, inverted: bool) -> GrayImage {
        GrayImage::from_fn(160, 120, |x, y| {
            let inside = (left..left + 7 * module).contains(&x) && (top..top + 7 * module).contains(&y);
            let ring = || ((x - left) / module).abs_diff(3).max(((y - top) / module).abs_diff(3));
            let dark = inside && ring() != 2;
            let (paper, ink) = (90 + x, 20 + x / 2);
            Luma([if dark != inverted { ink } else { paper } as u8])
        })
    }

    #[test]
    fn it_is_found_in_any_size_shade_and_polarity_and_nothing_else() {
        for (module, left, top) in [(2, 30, 40), (3, 100, 20), (6, 60, 50)] {
            for inverted in [false, true] {
                let luma = drawn(module, left, top, inverted);
                let found = Dark::of(Grey::of(&luma), 24, inverted, soon()).finders(soon());
                assert_eq!(found.len(), 1, "{module} {inverted}");
                let middle = Spot::new(left as f32 + 3.5 * module as f32, top as f32 + 3.5 * module as f32);
                assert!(found[0].centre.distance(middle) <= 1.0, "{:?}", found[0]);
                assert!((found[0].size() - 7.0 * module as f32).abs() <= 1.5);
                assert!(Dark::of(Grey::of(&luma), 24, !inverted, soon()).finders(soon()).is_empty());
            }
        }
    }

    #[test]
    fn an_even_picture_has_none_and_a_tiny_one_does_no_harm() {
        for (width, height) in [(1, 1), (3, 200), (200, 3), (64, 64)] {
            let luma = GrayImage::from_pixel(width, height, Luma([128]));
            assert!(Dark::of(Grey::of(&luma), 24, false, soon()).finders(soon()).is_empty());
        }
    }
    #[test]
    fn when_the_time_is_over_it_stops() {
        let luma = drawn(6, 60, 50, false);
        let over = Deadline::after(Duration::ZERO, Clock::Wall);
        assert!(Dark::of(Grey::of(&luma), 24, false, soon()).finders(over).is_empty());
        assert!(Dark::of(Grey::of(&luma), 24, false, over).finders(soon()).is_empty());
    }

    #[test]
    fn noise_is_not_kept_and_does_not_hide_a_pattern_below_it() {
        let mut sightings = Sightings::default();
        for row in 0..400 {
            let y = row as f32 * 8.0;
            sightings.close_above(y);
            for column in 0..300 {
                sightings.add(Spot::new(column as f32 * 12.0, y), 8.0, 8.0);
            }
            assert!(sightings.open.len() <= 900 && sightings.closed.len() <= MANY + 900, "row {row}");
        }
        for _ in 0..9 {
            sightings.add(Spot::new(500.5, 3300.5), 70.0, 70.0);
        }
        let best = sightings.best();
        assert_eq!((best.len(), best[0].lines), (MOST, 9));
    }
}
