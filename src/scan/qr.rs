//! QR codes: found and read by rxing, or by rqrr. Only what error correction confirmed is a reading.

use image::GrayImage;
use rqrr::PreparedImage;
use rxing::{
    Point,
    common::{
        BitMatrix, DetectorRXingResult, PerspectiveTransform, Quadrilateral,
        cpp_essentials::{ConcentricPattern, FixedPattern, LocateConcentricPattern},
    },
    point,
    qrcode::cpp_port::{
        decoder::Decode,
        detector::{GenerateFinderPatternSets, SampleQR},
    },
};

use super::{Corners, deadline::Deadline, runs};

/// The modules across a finder pattern, dark ones first.
const FINDER: FixedPattern<5, 7, false> = FixedPattern::new([1, 1, 3, 1, 1]);
/// Lines between two that are looked at: the middle of a finder pattern is three modules high, of a pixel at least.
const LINES_APART: usize = 3;
/// The largest QR code that a quick look is for, in modules (version 20), and how many of its heights a picture has.
const QUICK_MODULES: usize = 97;
const QUICK_HEIGHTS: usize = 4;

/// Once a code is read, how many more triples of finder patterns are tried for another one. Noise makes many triples, and
/// a real second code is among the first: they come largest and squarest first.
const TRIPLES_AFTER_THE_FIRST: usize = 24;

/// One QR code: its text and its corners.
pub(super) struct Square {
    pub(super) text: String,
    pub(super) corners: Corners,
}

/// What a look for QR codes saw.
#[derive(Default)]
pub(super) struct Squares {
    pub(super) read: Vec<Square>,
    /// Those that could be located, but not corrected.
    pub(super) damaged: Vec<Corners>,
}

/// All QR codes of a black-and-white picture. `harder` looks at every third line for finder patterns.
pub(super) fn by_rxing(matrix: &BitMatrix, harder: bool, deadline: Deadline) -> Squares {
    let mut seen = Squares::default();
    let mut patterns = find_patterns(matrix, harder);
    let mut used: Vec<ConcentricPattern> = Vec::new();
    let mut tries_left = usize::MAX;
    for triple in GenerateFinderPatternSets(&mut patterns) {
        if tries_left == 0 || deadline.is_over() {
            break;
        }
        if [triple.bl, triple.tl, triple.tr].iter().any(|pattern| used.contains(pattern)) {
            continue;
        }
        tries_left -= 1;
        let Ok(sample) = SampleQR(matrix, &triple) else { continue };
        let &[tl, tr, bl, br] = sample.getPoints() else { continue };
        let corners = corners([tl, tr, br, bl]);
        match Decode(sample.getBits()) {
            Ok(decoded) if decoded.isValid() => {
                used.extend([triple.bl, triple.tl, triple.tr]);
                tries_left = tries_left.min(TRIPLES_AFTER_THE_FIRST);
                seen.read.push(Square { text: decoded.text(), corners });
            }
            _ => seen.damaged.push(corners),
        }
    }
    seen
}

/// Finder patterns: lines of 1 : 1 : 3 : 1 : 1, and around each the rings, which rxing follows. The lines and the rule are those of
/// rxing's own search (its port of zxing-cpp's), which asks for each pixel and takes several times as long.
fn find_patterns(matrix: &BitMatrix, harder: bool) -> Vec<ConcentricPattern> {
    let height = matrix.height() as usize;
    let apart = if harder { LINES_APART } else { (3 * height / (QUICK_HEIGHTS * QUICK_MODULES)).max(LINES_APART) };
    let (mut found, mut runs): (Vec<ConcentricPattern>, _) = (Vec::new(), Vec::new());
    for y in (apart - 1..height).step_by(apart) {
        runs::of(&matrix.getRow(y as u32), &mut runs);
        // the first white run is before the first bar; dark runs are those with an odd place
        let (mut at, mut left) = (1, u32::from(runs[0]));
        while let Some(five) = runs.get(at..at + 5).and_then(|five| five.first_chunk::<5>()) {
            let [bar, gap, middle, ..] = five.map(f32::from);
            let is_quiet = at == 1 || is_quiet_before(runs[at - 1], five);
            let centre = point(left as f32 + bar + gap + middle / 2.0, y as f32 + 0.5);
            let is_found = is_quiet && is_finder(five);
            if is_found && !found.iter().any(|known| Point::distance(centre, known.p) < known.size as f32 / 2.0) {
                let range = five.iter().copied().map(i32::from).sum::<i32>() * 3; // three times, for what is very askew
                found.extend(LocateConcentricPattern::<true, 5, 7>(matrix, &FINDER.into(), centre, range));
            }
            let step = if is_found { 4 } else { 2 };
            left += runs[at..(at + step).min(runs.len())].iter().copied().map(u32::from).sum::<u32>();
            at += step;
        }
    }
    found
}

/// Whether the white before a finder pattern is a tenth of its white modules at least.
fn is_quiet_before(white: u16, five: &[u16; 5]) -> bool {
    f32::from(white) >= 0.1 * f32::midpoint(f32::from(five[1]), f32::from(five[3]))
}

/// Whether five runs, the first of them dark, are a line through the middle of a finder pattern. Dark and white modules have sizes
/// of their own: light bleeds.
fn is_finder(five: &[u16; 5]) -> bool {
    let [first, gap, middle, other_gap, last] = five.map(f64::from);
    if middle < 3.0 || middle < 2.0 * first.max(last) || middle < gap.max(other_gap) {
        return false;
    }
    let (dark, white) = ((first + middle + last) / 5.0, f64::midpoint(gap, other_gap));
    let (dark_off, white_off) = (dark * 0.75 + 0.5, white / 3.0 + 0.5);
    dark.max(white) <= 4.0 * dark.min(white)
        && (first - dark).abs() <= dark_off
        && (middle - 3.0 * dark).abs() <= dark_off
        && (last - dark).abs() <= dark_off
        && (gap - white).abs() <= white_off
        && (other_gap - white).abs() <= white_off
}

/// Where a square of `modules` a side lies, given where four points of its grid lie.
fn project(grid: [Point; 4], pixels: [Point; 4], modules: f32) -> Option<Corners> {
    let to_pixels =
        PerspectiveTransform::quadrilateralToQuadrilateral(Quadrilateral(grid), Quadrilateral(pixels)).ok()?;
    let square = [point(0.0, 0.0), point(modules, 0.0), point(modules, modules), point(0.0, modules)];
    Some(corners(square.map(|corner| to_pixels.transform_point(corner))))
}

fn corners(points: [Point; 4]) -> Corners {
    Corners(points.map(|point| (point.x, point.y)))
}

/// All QR codes of a grey picture by rqrr, which has its own way to black and white and its own way to the grid.
pub(super) fn by_rqrr(luma: &GrayImage) -> Squares {
    let (width, height) = (luma.width() as usize, luma.height() as usize);
    let pixels = luma.as_raw();
    let mut prepared = PreparedImage::prepare_from_greyscale(width, height, |x, y| pixels[y * width + x]);
    let mut seen = Squares::default();
    for grid in prepared.detect_grids() {
        let Ok((meta, text)) = grid.decode() else {
            seen.damaged.push(corners(grid.bounds.map(|bound| point(bound.x as f32, bound.y as f32))));
            continue;
        };
        // Its bounds are those of a grid one module too large to the right and below.
        let modules = meta.version.to_size() as f32;
        let larger = modules + 1.0;
        let bounds = grid.bounds.map(|bound| point(bound.x as f32, bound.y as f32));
        let grid = [point(0.0, 0.0), point(larger, 0.0), point(larger, larger), point(0.0, larger)];
        seen.read.extend(project(grid, bounds, modules).map(|corners| Square { text, corners }));
    }
    seen
}

/// The finder patterns in sight, as centre and width in pixels: what is left to say of a picture in which nothing was read.
pub(super) fn finder_patterns(matrix: &BitMatrix) -> Vec<(f32, f32, f32)> {
    find_patterns(matrix, true).into_iter().map(|pattern| (pattern.p.x, pattern.p.y, pattern.size as f32)).collect()
}

#[cfg(test)]
mod tests {
    use rxing::qrcode::cpp_port::detector::FindFinderPatterns;

    use super::*;
    use crate::scan::{black::black_and_white, draw::noise};

    #[test]
    fn finder_patterns_are_those_that_rxing_finds() {
        let mut all = 0;
        let compared = |luma: &GrayImage, what: &str| {
            let Some(matrix) = black_and_white(luma) else { return 0 };
            for harder in [false, true] {
                let (ours, theirs) = (find_patterns(&matrix, harder), FindFinderPatterns(&matrix, harder, 0));
                assert!(ours == theirs, "{what}, harder {harder}: {} and {}", ours.len(), theirs.len());
            }
            find_patterns(&matrix, true).len()
        };
        for file in std::fs::read_dir("fixtures/frames").unwrap() {
            let path = file.unwrap().path();
            let Ok(picture) = image::open(&path) else { continue };
            all += compared(&picture.to_luma8(), &path.display().to_string());
        }
        let mut noise = noise(5);
        for (width, height, grain) in [(40, 40, 1), (211, 97, 3), (64, 128, 2), (320, 200, 7), (129, 400, 11)] {
            // coarse noise has runs of every length, black or white up to the border
            let cells: Vec<u8> = (0..4096).map(|_| if noise(2) == 0 { 20 } else { 230 }).collect();
            let luma = GrayImage::from_fn(width, height, |x, y| {
                image::Luma([cells[(x / grain + y / grain * 61) as usize % cells.len()]])
            });
            all += compared(&luma, &format!("{width} x {height}, grain {grain}"));
        }
        assert!(all > 20, "{all}");
    }
}
