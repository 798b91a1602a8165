//! QR codes: found and read by rxing, or by rqrr. Only what error correction confirmed is a reading.

use image::GrayImage;
use rqrr::PreparedImage;
use rxing::{
    Point,
    common::{BitMatrix, DetectorRXingResult, PerspectiveTransform, Quadrilateral, cpp_essentials::ConcentricPattern},
    point,
    qrcode::cpp_port::{
        decoder::Decode,
        detector::{FindFinderPatterns, GenerateFinderPatternSets, SampleQR},
    },
};

use super::{Corners, deadline::Deadline};

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
    let mut patterns = FindFinderPatterns(matrix, harder, 0);
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
    FindFinderPatterns(matrix, true, 0)
        .into_iter()
        .map(|pattern| (pattern.p.x, pattern.p.y, pattern.size as f32))
        .collect()
}
