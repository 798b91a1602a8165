//! Why nothing was read, measured: the cashier is told what to change. A first version: it measures the whole picture, not
//! the code's place in it.

use image::GrayImage;

use super::chain;

/// Below this 95th percentile of luma even the lightest parts are dark.
const DARK_BELOW: u8 = 100;
/// Luma from which a pixel is blown out.
const BLOWN_FROM: u8 = 250;
/// The side of a tile, in pixels, that is glare when every pixel in it is blown out. Letters on white paper are smaller.
const TILE: u32 = 16;
/// Share of such tiles from which glare is blamed.
const GLARE_FROM: f32 = 0.02;
/// The steepest edges of a sharp picture climb half of its contrast from one pixel to the next.
const BLURRED_BELOW: f32 = 0.22;
/// With less contrast there is nothing to be sharp or blurred.
const CONTRAST_OF_SOMETHING: u8 = 24;
/// A QR code's module must be about this many pixels wide.
const FAR_BELOW_PIXELS: f32 = 2.0;

/// The measured reason (contract §3, `frame_unreadable`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Too little light.
    Dark,
    /// A reflection, or too much light.
    Glare,
    /// Moved, or out of focus.
    Blurred,
    /// A code is in sight and too small.
    Far,
    /// A code is in sight and leaves the picture.
    CutOff,
    /// No code in sight.
    NoCode,
}

impl Unread {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Glare => "glare",
            Self::Blurred => "blurred",
            Self::Far => "far",
            Self::CutOff => "cut off",
            Self::NoCode => "none",
        }
    }
}

/// What was measured in a picture in which nothing was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sight {
    /// The reason, from the measures below.
    pub reason: Unread,
    /// Mean luma, 0 to 255.
    pub mean: u8,
    /// Luma between the 5th and the 95th percentile.
    pub contrast: u8,
    /// Share of tiles that are blown out, 0 to 1.
    pub blown: f32,
    /// The steepest hundredth of edges, as a share of the contrast: 0 is smooth, 0.5 and more is sharp.
    pub sharpness: f32,
    /// Finder patterns of QR codes in sight.
    pub finder_patterns: usize,
}

impl Sight {
    pub(super) fn of(luma: &GrayImage) -> Self {
        let (light, steps) = histograms(luma);
        let (low, high) = (percentile(&light, 0.05), percentile(&light, 0.95));
        let contrast = high - low;
        let range = percentile(&light, 0.99).saturating_sub(percentile(&light, 0.01)).max(1);
        let sharpness = (f32::from(percentile(&steps, 0.99)) / f32::from(range)).min(1.0);
        let blown = blown_share(luma);
        let patterns = chain::finder_patterns(luma);
        let reason = if high < DARK_BELOW {
            Unread::Dark
        } else if contrast < CONTRAST_OF_SOMETHING {
            if low >= BLOWN_FROM { Unread::Glare } else { Unread::NoCode }
        } else if let Some(reason) = of_patterns(&patterns, luma) {
            reason
        } else if !patterns.is_empty() && blown >= GLARE_FROM {
            Unread::Glare
        } else if sharpness < BLURRED_BELOW {
            Unread::Blurred
        } else {
            Unread::NoCode
        };
        Self { reason, mean: mean(&light), contrast, blown, sharpness, finder_patterns: patterns.len() }
    }
}

/// What the finder patterns (centre and width) say: three of them and small, or fewer and one at the border.
fn of_patterns(patterns: &[(f32, f32, f32)], luma: &GrayImage) -> Option<Unread> {
    let (width, height) = (luma.width() as f32, luma.height() as f32);
    let small = patterns.iter().filter(|(_, _, size)| size / 7.0 < FAR_BELOW_PIXELS).count();
    if patterns.len() >= 3 && small == patterns.len() {
        return Some(Unread::Far);
    }
    let at_border = |&(x, y, size): &(f32, f32, f32)| x.min(y).min(width - x).min(height - y) < size;
    (matches!(patterns.len(), 1 | 2) && patterns.iter().any(at_border)).then_some(Unread::CutOff)
}

/// How often each luma and each step from a pixel to its right neighbour occurs, on every second row.
fn histograms(luma: &GrayImage) -> ([u32; 256], [u32; 256]) {
    let (mut light, mut steps) = ([0; 256], [0; 256]);
    for row in luma.as_raw().chunks_exact(luma.width() as usize).step_by(2) {
        for pair in row.windows(2) {
            light[usize::from(pair[0])] += 1;
            steps[usize::from(pair[0].abs_diff(pair[1]))] += 1;
        }
    }
    (light, steps)
}

fn percentile(histogram: &[u32; 256], share: f64) -> u8 {
    let total: u64 = histogram.iter().map(|&n| u64::from(n)).sum();
    let wanted = (total as f64 * share) as u64;
    let mut seen = 0;
    for (value, &n) in (0..=u8::MAX).zip(histogram) {
        seen += u64::from(n);
        if seen > wanted {
            return value;
        }
    }
    u8::MAX
}

fn mean(light: &[u32; 256]) -> u8 {
    let total: u64 = light.iter().map(|&n| u64::from(n)).sum();
    let sum: u64 = light.iter().zip(0u64..).map(|(&n, value)| u64::from(n) * value).sum();
    u8::try_from(sum / total.max(1)).unwrap_or(u8::MAX)
}

fn blown_share(luma: &GrayImage) -> f32 {
    let (across, down) = (luma.width() / TILE, luma.height() / TILE);
    let is_blown = |tile_x: u32, tile_y: u32| {
        (0..TILE).all(|y| {
            let from = ((tile_y * TILE + y) * luma.width() + tile_x * TILE) as usize;
            luma.as_raw()[from..from + TILE as usize].iter().all(|&pixel| pixel >= BLOWN_FROM)
        })
    };
    let blown = (0..down).flat_map(|y| (0..across).map(move |x| (x, y))).filter(|&(x, y)| is_blown(x, y)).count();
    blown as f32 / (across * down).max(1) as f32
}
