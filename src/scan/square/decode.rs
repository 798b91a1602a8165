//! From doubtful modules to text: format, codewords with their doubt, error correction that erases the most doubtful.
//!
//! Error correction tells a right reading from a wrong one by the check codewords that it did not use up. Erasing uses them
//! up too, so some are kept in reserve, and a reading that leaned on erasures must also be a whole, well-ended text.

use rxing::qrcode::{common::ErrorCorrectionLevel, cpp_port::decoder::DecodeBitStream};

use super::{
    layout::{Layout, formats, masks},
    reed_solomon::correct,
    soft::Soft,
};

/// Check codewords of each block that stay unused, so that they can tell that the rest is right.
const RESERVE: usize = 2;
/// And without erasures: those by which the standard itself protects version 1 against misreading.
const RESERVE_PLAIN: usize = 1;

/// How many formats are tried: the likeliest, and those about as likely.
const FORMATS: usize = 3;

/// Share of the evidence that may speak against a reading.
const MOST_AGAINST: f32 = 0.16;

/// Reads a code's modules. `None` where nothing certain comes out.
pub(super) fn decode(soft: &Soft, layout: &Layout) -> Option<String> {
    likely_formats(soft, layout).into_iter().find_map(|(level, mask)| decode_as(soft, layout, level, mask))
}

/// The formats by how well the two copies agree with them.
fn likely_formats(soft: &Soft, layout: &Layout) -> Vec<(ErrorCorrectionLevel, u8)> {
    let places = layout.format_places();
    let value = |&(x, y): &(usize, usize)| soft.modules[y * layout.modules + x];
    let bits: [f32; 15] = std::array::from_fn(|bit| value(&places[0][bit]) + value(&places[1][bit]));
    let mut scored: Vec<(f32, ErrorCorrectionLevel, u8)> = formats()
        .map(|(level, mask, word)| {
            let score =
                bits.iter().enumerate().map(|(bit, &dark)| if word >> (14 - bit) & 1 == 1 { dark } else { -dark });
            (score.sum(), level, mask)
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = scored.first().map_or(0.0, |one| one.0);
    let near = scored.into_iter().take(FORMATS).filter(|one| one.0 > best * 0.55);
    near.map(|(_, level, mask)| (level, mask)).collect()
}

/// A codeword, how clear its least clear bit is, and its bits' values.
#[derive(Clone, Copy)]
struct Codeword {
    value: u8,
    clear: f32,
    bits: [f32; 8],
}

impl Codeword {
    fn of(bits: [f32; 8]) -> Self {
        let value = bits.iter().fold(0, |value, bit| value << 1 | u8::from(*bit > 0.0));
        Self { value, clear: bits.iter().fold(f32::MAX, |least, bit| least.min(bit.abs())), bits }
    }

    fn known(value: u8) -> Self {
        Self::of(std::array::from_fn(|bit| if value >> (7 - bit) & 1 == 1 { 2.0 } else { -2.0 }))
    }

    /// The clearness that speaks against it being `corrected`, and all of its clearness.
    fn against(&self, corrected: u8) -> (f32, f32) {
        let mut sums = (0.0, 0.0);
        for (bit, &soft) in self.bits.iter().enumerate() {
            sums.1 += soft.abs();
            if (corrected >> (7 - bit) & 1 == 1) != (soft > 0.0) {
                sums.0 += soft.abs();
            }
        }
        sums
    }
}

fn decode_as(soft: &Soft, layout: &Layout, level: ErrorCorrectionLevel, mask: u8) -> Option<String> {
    let (sizes, checks) = layout.blocks(level);
    let words: Vec<Codeword> = layout
        .data
        .as_chunks::<8>()
        .0
        .iter()
        .map(|places| {
            Codeword::of(places.map(|at| {
                let (x, y) = (at % layout.modules, at / layout.modules);
                if masks(mask, x, y) { -soft.modules[at] } else { soft.modules[at] }
            }))
        })
        .collect();
    let blocks = interleaved(&words, &sizes, checks);
    let version = layout.version.getVersionNumber();
    let as_read = assembled(&blocks, &blocks, &sizes, checks, version);
    let data = as_read.or_else(|| {
        padded(&blocks, &sizes, version).iter().find_map(|padded| assembled(padded, &blocks, &sizes, checks, version))
    })?;
    let read = DecodeBitStream(&data, layout.version, level).ok().filter(|read| read.isValid())?;
    let text = read.text();
    (!text.is_empty()).then_some(text)
}

/// Corrects all blocks and puts their data together, unless the evidence speaks against it. The evidence
/// is what was `seen`; `blocks` may know more.
fn assembled(
    blocks: &[Vec<Codeword>],
    seen: &[Vec<Codeword>],
    sizes: &[usize],
    checks: usize,
    version: u32,
) -> Option<Vec<u8>> {
    let (mut data, mut against, mut evidence, mut leaned) = (Vec::new(), 0.0, 0.0, false);
    for ((block, seen), size) in blocks.iter().zip(seen).zip(sizes) {
        let (corrected, used) = corrected(block, checks)?;
        leaned |= used > checks / 2;
        for (word, &value) in seen.iter().zip(&corrected) {
            let (contrary, all) = word.against(value);
            against += contrary;
            evidence += all;
        }
        data.extend_from_slice(&corrected[..*size]);
    }
    let against = against / f32::max(evidence, 1e-3);
    (against <= MOST_AGAINST && (!leaned || text_end(&data, version).is_some_and(|end| ends_well(&data, end))))
        .then_some(data)
}

/// The blocks with the padding filled in, for each way to read the text's mode and length: a short text in a roomy code is
/// mostly padding, which is known and need not be seen. Only where what is seen of the padding agrees.
fn padded(blocks: &[Vec<Codeword>], sizes: &[usize], version: u32) -> Vec<Vec<Vec<Codeword>>> {
    let order =
        || blocks.iter().zip(sizes).enumerate().flat_map(|(nth, (_, &size))| (0..size).map(move |at| (nth, at)));
    let as_read: Vec<u8> = order().map(|(nth, at)| blocks[nth][at].value).collect();
    // Mode 1 and a count of 18 in ten bits: a payment code.
    let mut payment_code = as_read.clone();
    if let Some(first) = payment_code.first_chunk_mut::<2>().filter(|_| version < 10) {
        *first = [0x10, 0x48 | (first[1] & 0x03)];
    }
    let mut ends: Vec<usize> =
        [&as_read, &payment_code].into_iter().filter_map(|data| text_end(data, version)).collect();
    ends.dedup();
    let filled = |end: usize| {
        let mut blocks = blocks.to_vec();
        let (mut contrary, mut all, mut count) = (0.0, 0.0, 0);
        for (place, (nth, at)) in order().enumerate().skip(end.div_ceil(8)) {
            let pad = pad(place - end.div_ceil(8));
            let (against, clear) = blocks[nth][at].against(pad);
            contrary += against;
            all += clear;
            count += 1;
            blocks[nth][at] = Codeword::known(pad);
        }
        (count > 0 && contrary <= all * MOST_AGAINST).then_some(blocks)
    };
    ends.into_iter().filter_map(filled).collect()
}

/// Takes the codewords apart into blocks: they stand in turns, data first, then checks.
fn interleaved(words: &[Codeword], sizes: &[usize], checks: usize) -> Vec<Vec<Codeword>> {
    let mut blocks = vec![Vec::new(); sizes.len()];
    let mut next = words.iter().copied();
    let longest = sizes.iter().copied().max().unwrap_or(0);
    for row in 0..longest + checks {
        for (block, &size) in blocks.iter_mut().zip(sizes) {
            // A shorter block pauses in the last row of data.
            if row < size || row >= longest {
                block.extend(next.next());
            }
        }
    }
    blocks
}

/// Corrects a block, erasing ever more of the most doubtful codewords. Returns it and the check codewords used.
fn corrected(block: &[Codeword], checks: usize) -> Option<(Vec<u8>, usize)> {
    let mut doubtful: Vec<usize> = (0..block.len()).collect();
    doubtful.sort_by(|&a, &b| block[a].clear.total_cmp(&block[b].clear));
    let values: Vec<u8> = block.iter().map(|word| word.value).collect();
    let most = checks.checked_sub(RESERVE)?;
    let step = if checks > 16 { 2 } else { 1 };
    let mut best: Option<(Vec<u8>, usize, f32)> = None;
    for erased in (0..=most).step_by(step) {
        let mut tried = values.clone();
        let Some(errors) = correct(&mut tried, checks, &doubtful[..erased]) else { continue };
        let reserve = if erased == 0 { RESERVE_PLAIN } else { RESERVE };
        if erased + 2 * errors + reserve > checks {
            continue;
        }
        let against: f32 = block.iter().zip(&tried).map(|(word, &value)| word.against(value).0).sum();
        if best.as_ref().is_none_or(|best| against < best.2) {
            best = Some((tried, erased + 2 * errors, against));
        }
        if erased == 0 {
            break;
        }
    }
    best.map(|(block, used, _)| (block, used))
}

/// Where a text ends, in bits: after its segments and their terminator. `None` where its segments make no sense.
fn text_end(data: &[u8], version: u32) -> Option<usize> {
    let long = match version {
        0..10 => 0,
        10..27 => 1,
        _ => 2,
    };
    let total = data.len() * 8;
    let read = |at: usize, count: usize| {
        (at + count <= total).then(|| {
            (at..at + count).fold(0_usize, |value, bit| value << 1 | usize::from(data[bit / 8] >> (7 - bit % 8) & 1))
        })
    };
    let mut at = 0;
    // Less than a mode's four bits are left: the text fills the code.
    while let Some(mode) = read(at, 4) {
        at += 4;
        let size = match mode {
            0 => break,
            1 => [10, 12, 14][long],
            2 => [9, 11, 13][long],
            4 => [8, 16, 16][long],
            5 => continue,
            7 => {
                at += 8;
                continue;
            }
            8 => [8, 10, 12][long],
            _ => return None,
        };
        let count = read(at, size)?;
        at += size;
        at += match mode {
            1 => count / 3 * 10 + [0, 4, 7][count % 3],
            2 => count / 2 * 11 + count % 2 * 6,
            4 => count * 8,
            _ => count * 13,
        };
        if at > total {
            return None;
        }
    }
    Some(at)
}

/// The padding's codewords in turns.
const fn pad(nth: usize) -> u8 {
    if nth.is_multiple_of(2) { 0xEC } else { 0x11 }
}

/// Whether padding as the standard has it fills the rest from bit `end`.
fn ends_well(data: &[u8], end: usize) -> bool {
    let rest = end.div_ceil(8).min(data.len());
    (end..rest * 8).all(|bit| data[bit / 8] >> (7 - bit % 8) & 1 == 0)
        && data[rest..].iter().enumerate().all(|(nth, &one)| one == pad(nth))
}

#[cfg(test)]
mod tests {
    use fast_qr::{ECL, QRBuilder, Version};

    use super::*;

    const TEXT: &str = "134567890123456789";

    fn drawn(version: Version, number: u32, level: ECL) -> (Soft, Layout) {
        let code = QRBuilder::new(TEXT).version(version).ecl(level).build().unwrap();
        let layout = Layout::of(number).unwrap();
        let side = layout.modules;
        let modules = (0..side * side).map(|at| if code[at / side][at % side].value() { 1.0 } else { -1.0 }).collect();
        (Soft { version: number, modules }, layout)
    }

    fn text(soft: &Soft, layout: &Layout) -> Option<String> {
        decode(soft, layout)
    }

    #[test]
    fn clear_modules_of_every_level_and_several_blocks_are_read() {
        for (version, number) in [(Version::V01, 1), (Version::V05, 5), (Version::V07, 7), (Version::V12, 12)] {
            for level in [ECL::L, ECL::M, ECL::Q] {
                if number == 1 && matches!(level, ECL::Q) {
                    continue; // too long a text
                }
                let (soft, layout) = drawn(version, number, level);
                assert_eq!(text(&soft, &layout).as_deref(), Some(TEXT), "version {number}");
            }
        }
    }

    /// Erasures reach further than errors: 7 check codewords of version 1-L repair 2 wrong ones, or 5 hidden ones.
    #[test]
    fn hidden_codewords_are_read_twice_as_far_as_wrong_ones() {
        let (soft, layout) = drawn(Version::V01, 1, ECL::L);
        let (mut hidden, mut wrong) = (soft.clone(), soft);
        for at in layout.data.iter().take(5 * 8) {
            hidden.modules[*at] *= 0.01;
            if at % 2 == 0 {
                hidden.modules[*at] *= -1.0;
            }
            wrong.modules[*at] *= -1.0;
        }
        assert_eq!(text(&hidden, &layout).as_deref(), Some(TEXT));
        assert_eq!(text(&wrong, &layout), None);
    }

    #[test]
    fn with_nothing_in_reserve_nothing_is_said() {
        let (mut soft, layout) = drawn(Version::V01, 1, ECL::L);
        for at in layout.data.iter().take(6 * 8) {
            soft.modules[*at] *= if at % 2 == 0 { -0.01 } else { 0.01 };
        }
        assert_eq!(text(&soft, &layout), None);
    }

    /// 18 digits in a code for 34 and more: with the padding known, half of the codewords can be hidden.
    #[test]
    fn what_padding_hides_need_not_be_seen() {
        let (mut soft, layout) = drawn(Version::V02, 2, ECL::L);
        for at in layout.data.iter().skip(12 * 8).take(20 * 8) {
            soft.modules[*at] *= 0.01;
        }
        assert_eq!(text(&soft, &layout).as_deref(), Some(TEXT));
        for at in layout.data.iter().skip(12 * 8).take(20 * 8) {
            soft.modules[*at] *= -30.0; // clear, and not the padding: this is another text
        }
        assert_eq!(text(&soft, &layout), None);
    }

    #[test]
    fn noise_says_nothing() {
        let layout = Layout::of(1).unwrap();
        let mut state = 7_u32;
        for _ in 0..200 {
            let modules = (0..441).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            });
            let soft = Soft { version: 1, modules: modules.collect() };
            assert_eq!(text(&soft, &layout), None);
        }
    }

    #[test]
    fn a_text_that_does_not_end_as_the_standard_says_is_told() {
        let whole = [0x10, 0x20, 0x0C, 0x56, 0x61, 0x80, 0xEC, 0x11, 0xEC, 0x11];
        let well = |data: &[u8]| text_end(data, 1).is_some_and(|end| ends_well(data, end));
        assert!(well(&whole));
        for at in [0, 1, 5, 6, 9] {
            let mut broken = whole;
            broken[at] ^= 0x21;
            assert!(!well(&broken), "{at}");
        }
    }
}
