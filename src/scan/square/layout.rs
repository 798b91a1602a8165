//! What a QR code of a version is made of: which modules are known before anything is read, which say format and version,
//! and in which order the others carry the codewords. Source: ISO/IEC 18004, 6.3 and 7.7; block tables are rxing's.

use rxing::qrcode::common::{ErrorCorrectionLevel, Version, VersionRef};

/// The modules of one version.
pub(super) struct Layout {
    pub(super) version: VersionRef,
    /// Modules a side, 21 to 177.
    pub(super) modules: usize,
    /// A module each, row by row: dark or light where its value is fixed; `None` where it carries something.
    pub(super) known: Vec<Option<bool>>,
    /// The modules of the codewords' bits, in their order, as index into rows.
    pub(super) data: Vec<usize>,
}

impl Layout {
    /// `None` for a number outside 1 to 40.
    pub(super) fn of(number: u32) -> Option<Self> {
        let version = Version::Model2(number).ok()?;
        let modules = 17 + 4 * number as usize;
        let mut known = vec![None; modules * modules];
        for at in 0..modules {
            known[6 * modules + at] = Some(at % 2 == 0);
            known[at * modules + 6] = Some(at % 2 == 0);
        }
        let centres = version.getAlignmentPatternCenters();
        let (first, last) = (centres.first().copied().unwrap_or(0), centres.last().copied().unwrap_or(0));
        let mut alignments = Vec::new();
        for &y in centres {
            for &x in centres {
                if (x, y) != (first, first) && (x, y) != (first, last) && (x, y) != (last, first) {
                    alignments.push((x as usize, y as usize));
                }
            }
        }
        for &(x, y) in &alignments {
            for (down, aside) in (0..25).map(|at| (at / 5, at % 5)) {
                let ring = usize::abs_diff(down, 2).max(usize::abs_diff(aside, 2));
                known[(y + down - 2) * modules + x + aside - 2] = Some(ring != 1);
            }
        }
        for (left, top) in [(0, 0), (modules - 7, 0), (0, modules - 7)] {
            for y in top.saturating_sub(1)..(top + 8).min(modules) {
                for x in left.saturating_sub(1)..(left + 8).min(modules) {
                    let ring = usize::abs_diff(x, left + 3).max(usize::abs_diff(y, top + 3));
                    known[y * modules + x] = Some(ring != 2 && ring != 4);
                }
            }
        }
        known[(modules - 8) * modules + 8] = Some(true);
        let function = version.buildFunctionPattern().ok()?;
        let mut data = Vec::new();
        let mut right = modules - 1;
        let mut upwards = true;
        while right > 0 {
            if right == 6 {
                right -= 1; // the timing pattern's column carries nothing
            }
            for step in 0..modules {
                let y = if upwards { modules - 1 - step } else { step };
                for x in [right, right - 1] {
                    if !function.get(x as u32, y as u32) {
                        data.push(y * modules + x);
                    }
                }
            }
            upwards = !upwards;
            right = right.saturating_sub(2);
        }
        Some(Self { version, modules, known, data })
    }

    /// The blocks of a level: for each its count of data codewords, and the count of check codewords of every block.
    pub(super) fn blocks(&self, level: ErrorCorrectionLevel) -> (Vec<usize>, usize) {
        let blocks = self.version.getECBlocksForLevel(level);
        let sizes = blocks.getECBlocks().iter();
        let each =
            sizes.flat_map(|kind| std::iter::repeat_n(kind.getDataCodewords() as usize, kind.getCount() as usize));
        (each.collect(), blocks.getECCodewordsPerBlock() as usize)
    }

    /// The two places of the 15 bits of format information, highest bit first.
    pub(super) fn format_places(&self) -> [[(usize, usize); 15]; 2] {
        let far = self.modules;
        let near = std::array::from_fn(|bit| match bit {
            0..=5 => (bit, 8),
            6 => (7, 8),
            7 => (8, 8),
            8 => (8, 7),
            _ => (8, 14 - bit),
        });
        let split = std::array::from_fn(|bit| if bit < 7 { (8, far - 1 - bit) } else { (far - 15 + bit, 8) });
        [near, split]
    }
}

/// Whether the mask inverts the module (7.8.2).
pub(super) const fn masks(mask: u8, x: usize, y: usize) -> bool {
    match mask {
        0 => (x + y).is_multiple_of(2),
        1 => y.is_multiple_of(2),
        2 => x.is_multiple_of(3),
        3 => (x + y).is_multiple_of(3),
        4 => (y / 2 + x / 3).is_multiple_of(2),
        5 => (x * y) % 2 + (x * y) % 3 == 0,
        6 => ((x * y) % 2 + (x * y) % 3).is_multiple_of(2),
        _ => ((x + y) % 2 + (x * y) % 3).is_multiple_of(2),
    }
}

/// The 32 formats and their 15 bits as they stand in a code.
pub(super) fn formats() -> impl Iterator<Item = (ErrorCorrectionLevel, u8, u16)> {
    use ErrorCorrectionLevel::{H, L, M, Q};
    (0_u16..32).map(|data| {
        let mut rest = data << 10;
        for bit in (10..15).rev() {
            if rest & (1 << bit) != 0 {
                rest ^= 0x537 << (bit - 10);
            }
        }
        let level = [M, L, H, Q][usize::from(data >> 3)];
        (level, (data & 7) as u8, (data << 10 | rest) ^ 0x5412)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_carries_whole_codewords_and_at_most_seven_bits_more() {
        for number in 1..=40 {
            let layout = Layout::of(number).unwrap();
            for level in [ErrorCorrectionLevel::L, ErrorCorrectionLevel::H] {
                let (blocks, checks) = layout.blocks(level);
                let codewords = blocks.iter().sum::<usize>() + blocks.len() * checks;
                assert!((0..8).contains(&(layout.data.len() - codewords * 8)), "version {number}");
            }
            // What carries codewords is not known beforehand.
            assert!(layout.data.iter().all(|&at| layout.known[at].is_none()));
        }
        assert!(Layout::of(0).is_none() && Layout::of(41).is_none());
    }

    #[test]
    fn the_known_modules_are_those_that_an_encoder_draws() {
        for (number, version) in [(1, fast_qr::Version::V01), (7, fast_qr::Version::V07)] {
            let drawn = fast_qr::QRBuilder::new("134567890123456789").version(version).build().unwrap();
            let layout = Layout::of(number).unwrap();
            for (at, known) in layout.known.iter().enumerate() {
                let module = drawn[at / layout.modules][at % layout.modules].value();
                assert!(known.is_none_or(|dark| dark == module), "{at}");
            }
        }
    }

    #[test]
    fn formats_are_seven_bits_apart() {
        let all: Vec<u16> = formats().map(|(_, _, bits)| bits).collect();
        for (at, one) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| (one ^ other).count_ones() >= 5));
        }
        assert!(all.contains(&0b101_0100_0001_0010)); // the mask alone: level M, mask 0
    }
}
