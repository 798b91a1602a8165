//! Grey to black and white by rxing's own rules, bit for bit, at a third of their time: the whole picture (its hybrid binarizer),
//! and one line of it (its global histogram). The whole costs more than finding and reading a QR code, and an answer about a
//! bar code needs it too, to know that no QR code is beside it.
//!
//! The rule for the whole: a black point for each block of 8 by 8 pixels, and for each block the mean of the 25 around it as
//! threshold. The rule for a line: sharpened, and one threshold, the valley between the two peaks of its histogram.

use image::GrayImage;
use rxing::{
    Binarizer, Luma8Source,
    common::{BitArray, BitMatrix, HybridBinarizer},
};

const BLOCK: usize = 8;
/// A block with less between its darkest and lightest pixel is all paper or all ink.
const MIN_DYNAMIC_RANGE: u8 = 24;
/// With fewer blocks a side there are no 25 around any: rxing then takes one threshold for the whole picture.
const FEWEST_BLOCKS: usize = 5;

/// The picture in black (true) and white. `None` where it has no two tones to tell apart.
pub(super) fn black_and_white(luma: &GrayImage) -> Option<BitMatrix> {
    let (width, height) = (luma.width() as usize, luma.height() as usize);
    if width.min(height) < BLOCK * FEWEST_BLOCKS {
        let source = Luma8Source::new_with_slice(luma.as_raw(), luma.width(), luma.height()).ok()?;
        return HybridBinarizer::new(source).get_black_matrix().ok().cloned();
    }
    let blocks = Blocks { across: width.div_ceil(BLOCK), down: height.div_ceil(BLOCK), width, height };
    let points = blocks.black_points(luma.as_raw());
    let mut matrix = BitMatrix::new(luma.width(), luma.height()).ok()?;
    let mut line = BitArray::with_size(width);
    let mut thresholds = vec![0; width];
    let mut of_last = vec![0; width];
    for down in 0..blocks.down {
        blocks.thresholds(&points, down, &mut thresholds);
        let mut first = down * BLOCK;
        if first + BLOCK > height {
            // The last blocks overlap those above: where two thresholds meet, either makes a pixel black.
            let overlap: Vec<u8> = thresholds.iter().zip(&of_last).map(|(one, two)| *one.max(two)).collect();
            for y in height - BLOCK..first {
                pack(&luma.as_raw()[y * width..][..width], &overlap, &mut line);
                matrix.setRow(y as u32, &line);
            }
            first = first.min(height);
        }
        for y in first..(first + BLOCK).min(height) {
            pack(&luma.as_raw()[y * width..][..width], &thresholds, &mut line);
            matrix.setRow(y as u32, &line);
        }
        of_last.copy_from_slice(&thresholds);
    }
    Some(matrix)
}

/// One row: a bit a pixel, lowest first, set where the pixel is no lighter than its threshold.
fn pack(luma: &[u8], thresholds: &[u8], line: &mut BitArray) {
    const WORD: usize = usize::BITS as usize;
    let (words, rest) = luma.as_chunks::<WORD>();
    let (limits, rest_limits) = thresholds.as_chunks::<WORD>();
    for (at, (pixels, limits)) in words.iter().zip(limits).enumerate() {
        line.setBulk(at * WORD, word_of(pixels, limits));
    }
    if !rest.is_empty() {
        let (mut pixels, mut limits) = ([u8::MAX; WORD], [0; WORD]);
        pixels[..rest.len()].copy_from_slice(rest);
        limits[..rest.len()].copy_from_slice(rest_limits);
        line.setBulk(words.len() * WORD, word_of(&pixels, &limits));
    }
}

fn word_of<const PIXELS: usize>(pixels: &[u8; PIXELS], limits: &[u8; PIXELS]) -> usize {
    let black: [u8; PIXELS] = std::array::from_fn(|at| u8::from(pixels[at] <= limits[at]));
    gathered(&black)
}

/// Bytes of 0 and 1 as the bits of a word, the first one lowest.
fn gathered<const PIXELS: usize>(black: &[u8; PIXELS]) -> usize {
    let eights = black.as_chunks::<8>().0;
    eights.iter().rev().fold(0, |word, eight| {
        // Gathers the lowest bits of eight bytes in the highest byte, the first byte's lowest.
        let gathered = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        word << 8 | gathered as usize
    })
}

/// Tones that a histogram of a line tells apart, and how many lie in each.
const TONES: usize = 32;
const TONE: usize = 256 / TONES;

/// One line in black (true) and white. `None` where it has no two tones to tell apart.
pub(super) fn black_line(luma: &[u8]) -> Option<BitArray> {
    const WORD: usize = usize::BITS as usize;
    let limit = 2 * i16::from(black_point(&histogram(luma))?);
    let mut line = BitArray::with_size(luma.len());
    // each pixel but the outermost, against its neighbours: blur is taken back a little
    let inner = luma.get(2..)?.iter().zip(luma.get(1..)?).zip(luma);
    let inner = inner.map(|((right, pixel), left)| 4 * i16::from(*pixel) - i16::from(*left) - i16::from(*right));
    let mut black = vec![0; luma.len().next_multiple_of(WORD)];
    for (black, sharpened) in black.get_mut(1..)?.iter_mut().zip(inner) {
        *black = u8::from(sharpened < limit);
    }
    for (at, word) in black.as_chunks::<WORD>().0.iter().enumerate() {
        line.setBulk(at * WORD, gathered(word));
    }
    Some(line)
}

/// How many pixels have each tone. Four counts side by side: a line has the same tone many times in a row.
fn histogram(luma: &[u8]) -> [u32; TONES] {
    let mut counts = [[0_u32; TONES]; 4];
    let (fours, rest) = luma.as_chunks::<4>();
    for four in fours {
        for (counts, pixel) in counts.iter_mut().zip(four) {
            counts[usize::from(*pixel) / TONE] += 1;
        }
    }
    for pixel in rest {
        counts[0][usize::from(*pixel) / TONE] += 1;
    }
    std::array::from_fn(|tone| counts.iter().map(|counts| counts[tone]).sum())
}

/// Below which tone a line is black: in the valley between its two peaks, nearer to the light one.
fn black_point(histogram: &[u32; TONES]) -> Option<u8> {
    /// Peaks that lie no farther apart than this are one.
    const APART: usize = TONES / 16;
    // the first of those that are highest, in both
    let highest = |heights: &dyn Fn(usize) -> u32| (0..TONES).rev().max_by_key(|tone| heights(*tone)).unwrap_or(0);
    let one = highest(&|tone| histogram[tone]);
    let other = highest(&|tone| histogram[tone] * (tone.abs_diff(one) * tone.abs_diff(one)) as u32);
    let (dark, light) = (one.min(other), one.max(other));
    if light - dark <= APART {
        return None;
    }
    let depth = |tone: usize| {
        let from_dark = (tone - dark) as u64;
        from_dark * from_dark * (light - tone) as u64 * u64::from(histogram[one] - histogram[tone])
    };
    // of valleys that are alike, the lightest
    let valley = (dark + 1..=light).max_by_key(|tone| depth(*tone))?;
    u8::try_from(valley * TONE).ok()
}

struct Blocks {
    across: usize,
    down: usize,
    width: usize,
    height: usize,
}

impl Blocks {
    /// The black point of every block, row by row. Blocks at the right and lower border overlap their neighbours.
    fn black_points(&self, luma: &[u8]) -> Vec<u8> {
        let mut points = vec![0; self.across * self.down];
        let (mut darkest, mut lightest, mut sums) = (vec![0; self.width], vec![0; self.width], vec![0; self.width]);
        for down in 0..self.down {
            darkest.fill(u8::MAX);
            lightest.fill(u8::MIN);
            sums.fill(0);
            let top = (down * BLOCK).min(self.height - BLOCK);
            for row in luma[top * self.width..(top + BLOCK) * self.width].chunks_exact(self.width) {
                let columns = darkest.iter_mut().zip(&mut lightest).zip(&mut sums);
                for (((darkest, lightest), sum), &pixel) in columns.zip(row) {
                    *darkest = pixel.min(*darkest);
                    *lightest = pixel.max(*lightest);
                    *sum += u16::from(pixel);
                }
            }
            for across in 0..self.across {
                let left = (across * BLOCK).min(self.width - BLOCK);
                let block = left..left + BLOCK;
                let min = darkest[block.clone()].iter().copied().fold(u8::MAX, u8::min);
                let max = lightest[block.clone()].iter().copied().fold(u8::MIN, u8::max);
                let at = down * self.across + across;
                points[at] = if max - min > MIN_DYNAMIC_RANGE {
                    let sum: u32 = sums[block].iter().copied().map(u32::from).sum();
                    (sum / (BLOCK * BLOCK) as u32) as u8
                } else if down > 0 && across > 0 {
                    // All paper or all ink: what the blocks before it say decides which.
                    let (above, before) = (points[at - self.across], points[at - 1]);
                    let around =
                        (u32::from(above) + 2 * u32::from(before) + u32::from(points[at - self.across - 1])) / 4;
                    if u32::from(min) < around { around as u8 } else { min / 2 }
                } else {
                    min / 2
                };
            }
        }
        points
    }

    /// The threshold of each pixel of a row of blocks.
    fn thresholds(&self, points: &[u8], down: usize, thresholds: &mut [u8]) {
        let top = down.clamp(2, self.down - 3) - 2;
        let columns: Vec<u32> = (0..self.across)
            .map(|across| (top..top + 5).map(|row| u32::from(points[row * self.across + across])).sum())
            .collect();
        thresholds.fill(0);
        for across in 0..self.across {
            let left = across.clamp(2, self.across - 3) - 2;
            let mean = columns[left..left + 5].iter().sum::<u32>() / 25;
            let from = (across * BLOCK).min(self.width - BLOCK);
            for threshold in &mut thresholds[from..from + BLOCK] {
                *threshold = (mean as u8).max(*threshold);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rxing::common::GlobalHistogramBinarizer;

    use super::*;
    use crate::scan::draw::noise;

    #[test]
    fn a_line_is_bit_for_bit_that_of_rxing() {
        let mut noise = noise(7);
        let (mut told, mut flat) = (0, 0);
        for width in [3, 5, 63, 64, 65, 128, 200, 641] {
            for contrast in [1, 20, 60, 256] {
                for step in [2, 3, 7, 40] {
                    let luma = GrayImage::from_fn(width, 1, |x, _| {
                        let bars = if x / step % 2 == 0 { 40 } else { 40 + contrast };
                        image::Luma([(bars + noise(contrast) + x * 40 / width).min(255) as u8])
                    });
                    let source = Luma8Source::new_with_slice(luma.as_raw(), width, 1).unwrap();
                    let theirs = GlobalHistogramBinarizer::new(source);
                    let theirs = theirs.get_black_row(0).ok().map(|line| line.into_owned());
                    let ours = black_line(luma.as_raw());
                    assert!(ours == theirs, "{width} wide, contrast {contrast}, {step}");
                    if ours.is_some() { told += 1 } else { flat += 1 }
                }
            }
        }
        assert!(told > 50 && flat > 0, "{told} and {flat}");
    }

    #[test]
    fn black_and_white_is_bit_for_bit_that_of_rxing() {
        let mut noise = noise(1);
        for (width, height) in [(40, 40), (41, 47), (64, 40), (63, 129), (200, 65), (39, 200), (127, 96), (1, 7)] {
            for contrast in [1, 20, 60, 256] {
                // Flat blocks, soft slopes and noise side by side, so that each arm of the rule is taken.
                let luma = GrayImage::from_fn(width, height, |x, y| {
                    let slope = (x * 255 / width + y) % 256;
                    let flat = ((x / 16 + y / 16) % 3) * 90;
                    image::Luma([
                        (if (x / 32 + y / 24) % 2 == 0 { slope } else { flat } + noise(contrast)).min(255) as u8
                    ])
                });
                let source = Luma8Source::new_with_slice(luma.as_raw(), width, height).unwrap();
                let theirs = HybridBinarizer::new(source).get_black_matrix().ok().cloned();
                assert!(black_and_white(&luma) == theirs, "{width} x {height}, contrast {contrast}");
            }
        }
    }
}
