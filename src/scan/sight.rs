//! Why nothing was read, measured: the cashier is told what to change. Where a code is, or could be (`place`), that part is
//! measured; the whole picture only where there is none.

use image::GrayImage;

use super::{Symbology, place::Places, trace::Trace, view::View};

/// Below this 95th percentile of luma even the lightest parts are dark.
const DARK_BELOW: u8 = 100;
/// Luma from which a pixel is blown out.
const BLOWN_FROM: u8 = 250;
/// The side of a tile, in pixels, that is glare when every pixel in it is blown out. Letters on white paper are smaller.
const TILE: u32 = 16;
/// Share of such tiles from which glare is blamed.
const GLARE_FROM: f32 = 0.005;
/// And share of them from which they are white paper.
const PAPER_FROM: f32 = 0.25;
/// The steepest edges of a sharp picture climb half of its contrast from one pixel to the next.
const BLURRED_BELOW: f32 = 0.22;
/// And of bars, whose edges all run one way.
const BLURRED_BARS_BELOW: f32 = 0.32;
/// With less contrast there is nothing to be sharp or blurred.
const CONTRAST_OF_SOMETHING: u8 = 24;
/// And of a code from which glare is blamed, in tiles that no code has all light.
const GLARE_IN_CODE_FROM: f32 = 0.002;
/// A QR code's module must be about this many pixels wide, and that of bars.
const FAR_BELOW_PIXELS: f32 = 2.0;
const FAR_BARS_BELOW_PIXELS: f32 = 1.8;

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
    /// A code is in sight, well lit, sharp and large enough, and can't be read: dirty, scratched, folded or covered.
    Damaged,
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
            Self::Damaged => "damaged",
            Self::NoCode => "none",
        }
    }
}

/// What was measured in a picture in which nothing was read: in the code's place where one is known, else in the whole.
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
    /// Measures where `traces` of a code are, or could be; places that no stage knew are added to them.
    ///
    /// No clock stops it: black and white and edges are the stages' own (`view`), and of a large part some rows are counted.
    pub(super) fn of(view: &View<'_>, traces: &mut Vec<Trace>) -> Self {
        let luma = view.luma;
        let places = Places::of(view, traces);
        let whole = Measures::of(luma);
        let inside = places.best.and_then(|place| part(luma, bounds(&place))).map(|part| Measures::of(&part));
        let reason = match (places.best, inside) {
            // One or two patterns at the border: a grid that was laid over them is a guess.
            (Some(place), Some(measures)) if !places.leaves => of_place(&place, &measures, luma),
            _ => of_picture(&places, &whole, luma),
        };
        let Measures { mean, contrast, sharpness, .. } = inside.unwrap_or(whole);
        let blown = places.best.map_or_else(|| blown_share(luma, TILE), |place| blown_in(&place, luma));
        Self { reason, mean, contrast, blown, sharpness, finder_patterns: places.patterns }
    }
}

/// What a picture, or a part of it, looks like.
#[derive(Clone, Copy)]
struct Measures {
    mean: u8,
    low: u8,
    high: u8,
    contrast: u8,
    sharpness: f32,
}

impl Measures {
    fn of(luma: &GrayImage) -> Self {
        let (light, across, down) = histograms(luma);
        let (low, high) = (percentile(&light, 0.05), percentile(&light, 0.95));
        let range = percentile(&light, 0.99).saturating_sub(percentile(&light, 0.01)).max(1);
        let steep = |steps: &[u32; 256]| (f32::from(percentile(steps, 0.99)) / f32::from(range)).min(1.0);
        let (across, down) = (steep(&across), steep(&down));
        Self { mean: mean(&light), low, high, contrast: high - low, sharpness: across.max(down) }
    }
}

/// Why a code that is in sight could not be read.
fn of_place(place: &Trace, measures: &Measures, luma: &GrayImage) -> Unread {
    let bars = place.symbology == Symbology::Code128;
    let far = if bars { FAR_BARS_BELOW_PIXELS } else { FAR_BELOW_PIXELS };
    let blurred = if bars { BLURRED_BARS_BELOW } else { BLURRED_BELOW };
    if measures.high < DARK_BELOW {
        Unread::Dark
    } else if leaves(place, luma) && measures.sharpness >= blurred {
        // only of what is sharp: nobody knows where a blurred code ends
        Unread::CutOff
    } else if blown_in(place, luma) >= GLARE_IN_CODE_FROM {
        Unread::Glare
    } else if place.module.is_some_and(|module| module < far) {
        Unread::Far
    } else if measures.sharpness < blurred {
        Unread::Blurred
    } else {
        Unread::Damaged
    }
}

/// Why nothing is in sight.
fn of_picture(places: &Places, whole: &Measures, luma: &GrayImage) -> Unread {
    if whole.high < DARK_BELOW {
        return Unread::Dark;
    }
    if places.module.is_some_and(|module| module < FAR_BELOW_PIXELS) && !places.leaves {
        return Unread::Far;
    }
    if whole.contrast < CONTRAST_OF_SOMETHING {
        return if whole.low >= BLOWN_FROM { Unread::Glare } else { Unread::NoCode };
    }
    if places.leaves {
        return Unread::CutOff;
    }
    // A wall has no edges: whether a picture is sharp shows where it has most of them.
    let busiest = places.busiest.and_then(|bounds| part(luma, bounds));
    if busiest.as_ref().map_or(whole.sharpness, |part| Measures::of(part).sharpness) < BLURRED_BELOW {
        return Unread::Blurred;
    }
    // White paper may be blown out all over; a reflection is a part of what is in sight.
    let glare = busiest.map_or(0.0, |part| blown_share(&part, TILE));
    let paper = whole.high >= BLOWN_FROM && glare >= PAPER_FROM;
    if glare >= GLARE_FROM && !paper {
        Unread::Glare
    } else if places.may_leave {
        Unread::CutOff
    } else {
        Unread::NoCode
    }
}

/// Left, top, right and bottom of a place.
fn bounds(place: &Trace) -> [i32; 4] {
    let of = |axis: usize| place.corners.map(|corner| corner[axis]);
    let least = |values: [i32; 4]| values.into_iter().min().unwrap_or(0);
    let most = |values: [i32; 4]| values.into_iter().max().unwrap_or(0);
    [least(of(0)), least(of(1)), most(of(0)), most(of(1))]
}

/// What of these bounds is in the picture; `None` where hardly anything is.
fn part(luma: &GrayImage, [left, top, right, bottom]: [i32; 4]) -> Option<GrayImage> {
    let clamp = |value: i32, most: u32| u32::try_from(value).unwrap_or(0).min(most);
    let (left, top) = (clamp(left, luma.width()), clamp(top, luma.height()));
    let (right, bottom) = (clamp(right, luma.width()), clamp(bottom, luma.height()));
    let (width, height) = (right.checked_sub(left)?, bottom.checked_sub(top)?);
    (width.min(height) >= 8).then(|| image::imageops::crop_imm(luma, left, top, width, height).to_image())
}

/// Whether a code goes on beyond the border. Bars that end at the border in their own direction may have been longer.
fn leaves(place: &Trace, luma: &GrayImage) -> bool {
    let (width, height) = (luma.width() as i32, luma.height() as i32);
    let module = place.module.unwrap_or(1.0);
    let bars = place.symbology == Symbology::Code128;
    let margin = if bars { 4 } else { -(module as i32) };
    let outside = |[x, y]: [i32; 2]| x < margin || y < margin || x > width - margin || y > height - margin;
    if !bars {
        return place.corners.iter().any(|&corner| outside(corner));
    }
    let [a, b, c, d] = place.corners;
    let middle = |one: [i32; 2], two: [i32; 2]| [i32::midpoint(one[0], two[0]), i32::midpoint(one[1], two[1])];
    outside(middle(a, d)) || outside(middle(b, c))
}

/// Share of a code that is blown out in patches larger than a code can be light.
fn blown_in(place: &Trace, luma: &GrayImage) -> f32 {
    let module = place.module.unwrap_or(2.0);
    let modules = if place.symbology == Symbology::Code128 { 6.0 } else { 4.5 };
    let tile = (module * modules).ceil().max(8.0) as u32;
    part(luma, bounds(place)).map_or(0.0, |part| blown_share(&part, tile))
}

/// Rows that are counted at most, about.
const ROWS: u32 = 540;

/// How often each luma and each step from a pixel to its right and to its lower neighbour occurs, on every second row, of large
/// pictures on fewer.
fn histograms(luma: &GrayImage) -> ([u32; 256], [u32; 256], [u32; 256]) {
    let (mut light, mut across, mut down) = ([0; 256], [0; 256], [0; 256]);
    let width = (luma.width() as usize).max(1);
    let rows = luma.as_raw().chunks_exact(width);
    for (row, below) in rows.clone().zip(rows.skip(1)).step_by((luma.height() / ROWS).max(2) as usize) {
        for (pair, under) in row.windows(2).zip(below) {
            light[usize::from(pair[0])] += 1;
            across[usize::from(pair[0].abs_diff(pair[1]))] += 1;
            down[usize::from(pair[0].abs_diff(*under))] += 1;
        }
    }
    (light, across, down)
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

/// Share of tiles of this side, half a tile apart, in which every pixel is blown out.
fn blown_share(luma: &GrayImage, tile: u32) -> f32 {
    let step = (tile / 2).max(1);
    let places = |side: u32| (0..).map(move |nth| nth * step).take_while(move |from| from + tile <= side);
    let is_blown = |x: u32, y: u32| {
        (0..tile).all(|down| {
            let from = ((y + down) * luma.width() + x) as usize;
            luma.as_raw()[from..from + tile as usize].iter().all(|&pixel| pixel >= BLOWN_FROM)
        })
    };
    let all = places(luma.width()).count() * places(luma.height()).count();
    let blown = places(luma.height()).flat_map(|y| places(luma.width()).map(move |x| (x, y)));
    blown.filter(|&(x, y)| is_blown(x, y)).count() as f32 / all.max(1) as f32
}
