//! What is dark and what is light in each part of a code: a screen in the sun has both elsewhere than its shaded half.

use super::super::grey::{Grey, Spot};

/// Modules to each side that a module is compared with: wider than a finder pattern's dark middle, and than any patch of
/// one colour that a mask leaves.
const REACH: usize = 4;

/// Modules a side for which the light is measured together.
const PATCH: usize = 3;

/// Contrast below which a module says less and less, as a share of the code's contrast: in a reflection, or where something
/// grey lies over light paper and looks dark beside it.
const FAINT: f32 = 0.55;

/// Luma that only a reflection has where paper, in the middle of its range, stays below the other.
const BLOWN_OUT: f32 = 250.0;
const BRIGHT_PAPER: f32 = 240.0;

/// What a module in a reflection is worth: as good as nothing.
const IN_REFLECTION: f32 = 0.04;

/// Middle and half of the range between dark and light, a module each.
pub(super) struct Levels {
    middle: Vec<f32>,
    half: Vec<f32>,
    /// Half of the contrast of the code as a whole.
    whole: f32,
    /// Luma from which a module is a reflection and not paper.
    reflection: f32,
}

impl Levels {
    /// Sampled at the middles of `modules` a side.
    pub(super) fn of(grey: Grey<'_>, modules: usize, map: impl Fn(f32, f32) -> Spot) -> Self {
        let mut values = Vec::with_capacity(modules * modules);
        for y in 0..modules {
            for x in 0..modules {
                let spot = map(x as f32 + 0.5, y as f32 + 0.5);
                values.push(grey.at(spot.x, spot.y));
            }
        }
        Self::from_values(&values, modules)
    }

    /// From a value a module. The levels are the means of what is above and below the mean, twice.
    pub(super) fn from_values(values: &[f32], modules: usize) -> Self {
        let (mut middle, mut half) = (vec![0.0; values.len()], vec![0.0; values.len()]);
        let mut window = Vec::with_capacity((2 * REACH + 1) * (2 * REACH + 1));
        // Light changes slowly: measured in the middle of each patch of modules, it holds for all of them.
        for top in (0..modules).step_by(PATCH) {
            for left in (0..modules).step_by(PATCH) {
                let (x, y) = ((left + PATCH / 2).min(modules - 1), (top + PATCH / 2).min(modules - 1));
                window.clear();
                for row in y.saturating_sub(REACH)..(y + REACH + 1).min(modules) {
                    let from = row * modules;
                    window.extend_from_slice(
                        &values[from + x.saturating_sub(REACH)..from + (x + REACH + 1).min(modules)],
                    );
                }
                let (low, high) = two_means(&window);
                for row in top..(top + PATCH).min(modules) {
                    let patch = row * modules + left..row * modules + (left + PATCH).min(modules);
                    middle[patch.clone()].fill((low + high) / 2.0);
                    half[patch].fill((high - low) / 2.0);
                }
            }
        }
        let mut sorted = half.clone();
        sorted.sort_by(f32::total_cmp);
        // The upper quarter: a reflection over half of the code doesn't change what its contrast is.
        let whole = sorted.get(sorted.len() * 3 / 4).copied().unwrap_or(0.0).max(1.0);
        let mut light: Vec<f32> =
            values.iter().zip(&middle).filter(|(value, middle)| value > middle).map(|(value, _)| *value).collect();
        light.sort_by(f32::total_cmp);
        let paper = light.get(light.len() / 2).copied().unwrap_or(f32::MAX);
        // Where paper itself is nearly blown out, a reflection can't be told from it.
        let reflection = if paper < BRIGHT_PAPER { BLOWN_OUT } else { f32::MAX };
        Self { middle, half, whole, reflection }
    }

    /// As [`Self::darkness`], but neither cut off nor weighed: for sums of several values.
    pub(super) fn linear(&self, module: usize, value: f32) -> f32 {
        (self.middle[module] - value) / self.half[module].max(self.whole * FAINT)
    }

    /// How much there is to tell by at a place where luma is `value`: 1 enough, 0 nothing.
    pub(super) fn clearness(&self, module: usize, value: f32) -> f32 {
        let clear = (self.half[module] / (self.whole * FAINT)).min(1.0);
        if value >= self.reflection { clear * IN_REFLECTION } else { clear }
    }

    /// How dark a value is for its place: 1 dark, -1 light, near 0 where there is nothing to tell by.
    pub(super) fn darkness(&self, module: usize, value: f32) -> f32 {
        let half = self.half[module];
        let clear = self.clearness(module, value);
        ((self.middle[module] - value) / half.max(0.5)).clamp(-1.3, 1.3) * clear
    }
}

fn two_means(values: &[f32]) -> (f32, f32) {
    let all: f32 = values.iter().sum();
    let mut middle = all / values.len().max(1) as f32;
    let (mut low, mut high) = (middle, middle);
    for _ in 0..2 {
        let (mut dark, mut count) = (0.0, 0.0);
        for &value in values {
            let is_dark = f32::from(u8::from(value <= middle));
            dark += value * is_dark;
            count += is_dark;
        }
        let rest = values.len() as f32 - count;
        low = if count > 0.0 { dark / count } else { middle };
        high = if rest > 0.0 { (all - dark) / rest } else { middle };
        middle = (low + high) / 2.0;
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_judged_by_its_own_light_and_a_reflection_says_nothing() {
        let modules = 21;
        // A chessboard; the light falls off to the right, and the lower third is blown out.
        let value = |at: usize| {
            let (x, y) = (at % modules, at / modules);
            let light = 200.0 - 6.0 * x as f32;
            if y >= 14 {
                255.0
            } else if (x + y) % 2 == 0 {
                light * 0.2
            } else {
                light
            }
        };
        let values: Vec<f32> = (0..modules * modules).map(value).collect();
        let levels = Levels::from_values(&values, modules);
        for (at, &value) in values.iter().enumerate() {
            let (x, y) = (at % modules, at / modules);
            let darkness = levels.darkness(at, value);
            match y {
                0..9 => assert!(if (x + y) % 2 == 0 { darkness > 0.4 } else { darkness < -0.4 }, "{x} {y} {darkness}"),
                19.. => assert!(darkness.abs() < 0.1, "{x} {y} {darkness}"),
                _ => {}
            }
        }
    }
}
