//! How dark each module of a code is, with the doubt kept: 1 dark, -1 light, 0 unknown. And the way back through blur: an
//! equaliser learns from the modules that are known beforehand how neighbours run into each other.

use super::{super::grey::Grey, grid::Net, layout::Layout, levels::Levels};

/// Half modules to each side that an equaliser takes into account.
const REACH: usize = 4;

/// What blurs is the same on either side, so that the two samples opposite to each other share a weight: half of the square
/// of samples around a module, the module itself, and one that is always there.
const TAPS: usize = ((2 * REACH + 1) * (2 * REACH + 1) - 1) / 2 + 2;

/// Keeps an equaliser from learning noise.
const RIDGE: f32 = 0.01;

/// How often it learns: from what it knows, then from what it has made out.
const ROUNDS: usize = 4;

/// Doubtful modules of a code, row by row.
#[derive(Clone, Debug)]
pub(super) struct Soft {
    /// Version, 1 to 40.
    pub(super) version: u32,
    /// Darkness of each module.
    pub(super) modules: Vec<f32>,
}

impl Soft {
    /// Reads the modules where a net puts them: the mean of nine points in the middle of each.
    pub(super) fn sampled(grey: Grey<'_>, layout: &Layout, net: &Net) -> Self {
        let side = layout.modules;
        let mut values = Vec::with_capacity(side * side);
        let mut reach_of_middle = 0.0;
        for y in 0..side {
            for x in 0..side {
                let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
                let spot = net.at(x, y);
                if reach_of_middle == 0.0 {
                    let (aside, below) = (net.at(x + 1.0, y), net.at(x, y + 1.0));
                    reach_of_middle = (spot.distance(aside).min(spot.distance(below)) * 0.25).max(0.05);
                }
                values.push(grey.around(spot.x, spot.y, reach_of_middle));
            }
        }
        let levels = Levels::from_values(&values, side);
        let modules = values.iter().enumerate().map(|(at, &value)| levels.darkness(at, value)).collect();
        Self { version: layout.version.getVersionNumber(), modules }
    }

    /// Share of the known modules that look as they must, weighed by how clearly: 1 all, 0 as by chance.
    pub(super) fn agreement(&self, layout: &Layout) -> f32 {
        let (mut agreed, mut most) = (0.0, 1e-3);
        for (value, known) in self.modules.iter().zip(&layout.known) {
            if let Some(dark) = known {
                agreed += if *dark { *value } else { -*value };
                most += 1.0;
            }
        }
        agreed / most
    }

    /// The modules with what runs into them from their neighbours taken out, from samples half a module apart. Learns from
    /// the known modules first, then also from those that have become clear.
    pub(super) fn equalised(&self, grey: Grey<'_>, layout: &Layout, net: &Net) -> Option<Self> {
        let samples = Samples::of(grey, layout, net);
        let mut current = self.modules.clone();
        let rows: Vec<[f32; TAPS]> = (0..current.len()).map(|at| samples.around(at)).collect();
        for round in 0..ROUNDS {
            let mut sums = [[0.0_f32; TAPS]; TAPS];
            let mut wanted = [0.0_f32; TAPS];
            let mut weight_in_all = 0.0;
            for (at, row) in rows.iter().enumerate() {
                let (target, weight) = match layout.known[at] {
                    // Blown out: it would teach that light is dark.
                    Some(_) if self.modules[at].abs() < 0.04 => continue,
                    Some(dark) => (if dark { 1.0 } else { -1.0 }, 1.0),
                    None if round > 0 && current[at].abs() > 0.4 => (current[at].signum(), 0.6),
                    None => continue,
                };
                weight_in_all += weight;
                for (i, &one) in row.iter().enumerate() {
                    let weighed = one * weight;
                    wanted[i] += weighed * target;
                    for (sum, &other) in sums[i][..=i].iter_mut().zip(row) {
                        *sum += weighed * other;
                    }
                }
            }
            for (i, row) in sums.iter_mut().enumerate() {
                row[i] += RIDGE * weight_in_all;
            }
            let filter = solved(&mut sums, wanted)?;
            for (to, row) in current.iter_mut().zip(&rows) {
                *to = row.iter().zip(&filter).map(|(one, tap)| one * tap).sum::<f32>().clamp(-1.3, 1.3);
            }
        }
        // What was unknown stays unknown: neighbours say little about a module that a reflection hides.
        for (at, to) in current.iter_mut().enumerate() {
            *to *= samples.clear(at);
        }
        Some(Self { version: self.version, modules: current })
    }
}

/// Darkness half a module apart, with a margin around the code. Straight from luma: what runs together does so in light,
/// before anyone judges it.
struct Samples {
    side: usize,
    width: usize,
    values: Vec<f32>,
    /// Contrast around each module, as a share of the code's.
    contrast: Vec<f32>,
}

impl Samples {
    fn of(grey: Grey<'_>, layout: &Layout, net: &Net) -> Self {
        let side = layout.modules;
        let width = 2 * side - 1 + 2 * REACH;
        let place = |at: usize| (at as f32 - REACH as f32) * 0.5 + 0.5;
        let mut values = Vec::with_capacity(width * width);
        for y in 0..width {
            for x in 0..width {
                let spot = net.at(place(x), place(y));
                values.push(grey.at(spot.x, spot.y));
            }
        }
        let of_module = |at: usize| (at / side * 2 + REACH) * width + at % side * 2 + REACH;
        let middles: Vec<f32> = (0..side * side).map(|at| values[of_module(at)]).collect();
        let levels = Levels::from_values(&middles, side);
        let contrast = middles.iter().enumerate().map(|(at, &value)| levels.clearness(at, value)).collect();
        for y in 0..width {
            for x in 0..width {
                let module = |at: usize| (at.saturating_sub(REACH) / 2).min(side - 1);
                let value = &mut values[y * width + x];
                *value = levels.linear(module(y) * side + module(x), *value);
            }
        }
        Self { side, width, values, contrast }
    }

    fn around(&self, module: usize) -> [f32; TAPS] {
        let (x, y) = (module % self.side * 2 + REACH, module / self.side * 2 + REACH);
        let middle = y * self.width + x;
        let wide = 2 * REACH + 1;
        std::array::from_fn(|tap| match tap {
            0 => 1.0,
            1 => self.values[middle],
            // Opposite samples lie as far before the middle as after it.
            _ => {
                let nth = tap - 1;
                let (down, aside) = ((nth + REACH) / wide, (nth + REACH) % wide);
                let away = down * self.width + aside;
                (self.values[middle + away - REACH] + self.values[middle + REACH - away]) * 0.5
            }
        })
    }

    fn clear(&self, module: usize) -> f32 {
        self.contrast[module]
    }
}

/// Solves a symmetric system given by its lower half, by Cholesky. `None` where it has no single solution.
fn solved(matrix: &mut [[f32; TAPS]; TAPS], mut right: [f32; TAPS]) -> Option<[f32; TAPS]> {
    for i in 0..TAPS {
        for j in 0..=i {
            let (upper, lower) = matrix.split_at(i);
            let row_j = if j < i { &upper[j] } else { &lower[0] };
            let sum = lower[0][j] - lower[0][..j].iter().zip(&row_j[..j]).map(|(a, b)| a * b).sum::<f32>();
            if i == j {
                if sum <= 1e-6 {
                    return None;
                }
                matrix[i][i] = sum.sqrt();
            } else {
                matrix[i][j] = sum / matrix[j][j];
            }
        }
    }
    for i in 0..TAPS {
        let sum: f32 = (0..i).map(|j| matrix[i][j] * right[j]).sum();
        right[i] = (right[i] - sum) / matrix[i][i];
    }
    for i in (0..TAPS).rev() {
        let sum: f32 = (i + 1..TAPS).map(|j| matrix[j][i] * right[j]).sum();
        right[i] = (right[i] - sum) / matrix[i][i];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma};

    use super::*;
    use crate::scan::{grey::Spot, square::grid::Perspective};

    /// A code out of focus by a module to each side: noise-free, as what is tested is whether it can be undone.
    #[test]
    fn what_blur_has_mixed_is_told_apart_again() {
        const PIXELS: usize = 5;
        const QUIET: usize = 4;
        let drawn = fast_qr::QRBuilder::new("134567890123456789").version(fast_qr::Version::V02).build().unwrap();
        let layout = Layout::of(2).unwrap();
        let side = layout.modules;
        let dark = |x: usize, y: usize| {
            let (x, y) = ((x / PIXELS).wrapping_sub(QUIET), (y / PIXELS).wrapping_sub(QUIET));
            x < side && y < side && drawn[y][x].value()
        };
        let width = (side + 2 * QUIET) * PIXELS;
        let radius = PIXELS as i32;
        let luma = GrayImage::from_fn(width as u32, width as u32, |x, y| {
            let disc = (-radius..=radius).flat_map(|dy| (-radius..=radius).map(move |dx| (dx, dy)));
            let (mut sum, mut count) = (0.0, 0.0);
            for (dx, dy) in disc.filter(|(dx, dy)| dx * dx + dy * dy <= radius * radius) {
                let inside = |at: u32, by: i32| (at as i32 + by).clamp(0, width as i32 - 1) as usize;
                sum += if dark(inside(x, dx), inside(y, dy)) { 30.0 } else { 220.0 };
                count += 1.0;
            }
            Luma([(sum / count) as u8])
        });
        let at = |module: f32| (module + QUIET as f32) * PIXELS as f32;
        let far = side as f32 - 3.5;
        let corners = [(3.5, 3.5), (far, 3.5), (far, far), (3.5, far)].map(|(x, y)| Spot::new(at(x), at(y)));
        let net = Net::flat(&Perspective { corners, modules: side as f32 });
        let truth = |at: usize| if drawn[at / side][at % side].value() { 1.0 } else { -1.0 };
        let wrong =
            |soft: &Soft| soft.modules.iter().enumerate().filter(|(at, value)| **value * truth(*at) <= 0.0).count();
        let soft = Soft::sampled(Grey::of(&luma), &layout, &net);
        let clear = soft.equalised(Grey::of(&luma), &layout, &net).unwrap();
        assert!(wrong(&soft) >= 30, "{}", wrong(&soft));
        assert!(wrong(&clear) <= 4, "{}", wrong(&clear));
        assert!(clear.agreement(&layout) > soft.agreement(&layout) + 0.1);
    }
}
