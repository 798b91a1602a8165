//! Lengths of black and white along a line, taken from its bits a word at a time: a decoder that asks for each pixel spends most of
//! its time on asking.

use rxing::common::BitArray;

use super::bars::patterns::{START_A, WIDTHS};

/// The runs of a line, white and black in turns: the first and the last are white, of length 0 where the line begins or ends
/// black. So they read the same from either end.
pub(super) fn of(line: &BitArray, runs: &mut Vec<u16>) {
    const WORD: usize = usize::BITS as usize;
    runs.clear();
    let (size, mut before, mut from) = (line.get_size(), 0, 0);
    for (nth, &word) in line.getBitArray().iter().enumerate() {
        // a bit where a pixel differs from the one before it
        let mut edges = word ^ (word << 1 | before);
        before = word >> (WORD - 1);
        while edges != 0 {
            let at = nth * WORD + edges.trailing_zeros() as usize;
            if at >= size {
                break;
            }
            runs.push((at - from) as u16);
            (from, edges) = (at, edges & (edges - 1));
        }
    }
    runs.push((size - from) as u16);
    if runs.len().is_multiple_of(2) {
        runs.push(0);
    }
}

/// Modules of a character of Code 128.
const MODULES: u32 = 11;

/// Whether bars could begin somewhere in this line, from left to right, by rxing's rule or a little less: as wide as a start
/// character within a quarter of their width, none off by more than 0.7 modules, and white before them for half as long. Where not,
/// it would look at each pixel in vain.
pub(super) fn could_begin_bars(runs: &[u16]) -> bool {
    // a line ends with a white run, so that each window but the last is followed by a bar, as rxing wants it
    let windows = runs.windows(7).step_by(2).take((runs.len().saturating_sub(7)) / 2);
    windows.enumerate().any(|(nth, window)| {
        let six: [u32; 6] = std::array::from_fn(|at| u32::from(window[at + 1]));
        let total: u32 = six.iter().sum();
        let is_quiet = nth == 0 || u32::from(window[0]) >= total / 2;
        is_quiet && total >= MODULES && WIDTHS[usize::from(START_A)..].iter().any(|start| is_like(&six, start, total))
    })
}

/// In parts of a hundred, a little wider than rxing's 70 and 25, so that rounding loses nothing.
fn is_like(runs: &[u32; 6], start: &[u8; 6], total: u32) -> bool {
    let off = std::array::from_fn::<_, 6, _>(|at| (runs[at] * MODULES).abs_diff(u32::from(start[at]) * total));
    off.iter().all(|off| off * 100 <= 71 * total) && off.iter().sum::<u32>() * 100 <= 26 * MODULES * total
}

#[cfg(test)]
mod tests {
    use rxing::{
        DecodeHints,
        oned::{Code128Reader, OneDReader as _},
    };

    use super::*;
    use crate::scan::draw::noise;

    fn line(runs: &[usize]) -> BitArray {
        let mut line = BitArray::with_size(runs.iter().sum());
        let mut at = 0;
        for (nth, run) in runs.iter().enumerate() {
            for pixel in at..at + run {
                if nth % 2 == 1 {
                    line.set(pixel);
                }
            }
            at += run;
        }
        line
    }

    fn runs(line: &BitArray) -> Vec<u16> {
        let mut runs = Vec::new();
        of(line, &mut runs);
        runs
    }

    #[test]
    fn runs_are_those_that_the_line_was_made_of() {
        for made in [&[5][..], &[0, 3, 0], &[3, 1, 60, 64, 1, 130, 7], &[0, 64, 64], &[63, 2, 63], &[0, 1, 1, 1, 0]] {
            assert_eq!(runs(&line(made)), made.iter().map(|run| *run as u16).collect::<Vec<_>>(), "{made:?}");
        }
        assert_eq!(runs(&BitArray::with_size(0)), [0]);
    }

    /// Lines of noise, of bars without quiet, and of genuine ones in many sizes: whatever rxing reads, could begin.
    #[test]
    fn what_rxing_reads_could_begin() {
        let widths = barcoders::sym::code128::Code128::new("\u{0106}123456789012\u{0181}X").unwrap().encode();
        let (mut noise, mut read, mut spared) = (noise(1), 0, 0);
        for module in [1.0, 1.4, 1.9, 2.0, 3.3] {
            for quiet in [0, 3, 10, 40] {
                for wear in [1, 40, 15, 6] {
                    let mut pixels = vec![false; quiet];
                    pixels.extend((0..(widths.len() as f32 * module) as usize).map(|at| {
                        let is_black = widths[((at as f32 / module) as usize).min(widths.len() - 1)] == 1;
                        is_black != (wear > 1 && noise(wear) == 0)
                    }));
                    pixels.extend(vec![false; quiet + 1]);
                    let mut line = BitArray::with_size(pixels.len());
                    pixels.iter().enumerate().filter(|(_, black)| **black).for_each(|(at, _)| line.set(at));
                    let reads = Code128Reader.decode_row(0, &line, &DecodeHints::default()).is_ok();
                    let could = could_begin_bars(&runs(&line));
                    assert!(could || !reads, "module {module}, quiet {quiet}, wear {wear}");
                    if reads {
                        read += 1
                    }
                    if !could {
                        spared += 1
                    }
                }
            }
        }
        assert!(read > 10 && spared > 10, "{read} read, {spared} spared");
    }
}
