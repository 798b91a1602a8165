//! Where in a picture in which nothing was read a code could be: what stages left behind, finder patterns, bars. `sight`
//! measures there.

use std::f32::consts::PI;

use image::GrayImage;

use super::{
    Corners, Symbology, chain,
    grey::{Grey, Spot},
    regions::{Region, Stripes},
    trace::{Trace, Why},
    view::View,
};

/// Bars have at least this many edges: what has fewer is a shelf or a line of writing. The shortest Code 128 has 26.
const FEWEST_EDGES: usize = 22;
/// A Code 128 character of 11 modules has six edges.
const MODULES_AN_EDGE: f32 = 11.0 / 6.0;
/// Modules of a payment code's 18 digits, about those of an order number: with few pixels a module the edges that can be counted
/// are too few, and the width alone tells.
const USUAL_MODULES: f32 = 134.0;
const COUNTED_FROM_PIXELS: f32 = 1.8;
/// Modules of a finder pattern.
const PATTERN_MODULES: f32 = 7.0;
/// Lines over which bars are averaged.
const LINES: i32 = 5;
/// Stripes that are looked at.
const MOST_STRIPES: usize = 4;

/// How much finder patterns of one code differ in size, and its legs in length.
const SIZES: f32 = 1.4;
const LEGS: f32 = 1.5;
/// Finder patterns that are put together.
const MOST_PATTERNS: usize = 12;

/// A finder pattern: centre and width, in pixels.
#[derive(Clone, Copy, Debug)]
struct Pattern {
    x: f32,
    y: f32,
    size: f32,
}

impl Pattern {
    fn is_in(&self, region: &Region) -> bool {
        (region.left as f32..region.right as f32).contains(&self.x)
            && (region.top as f32..region.bottom as f32).contains(&self.y)
    }
}

/// What is found in a picture after all stages.
pub(super) struct Places {
    /// Finder patterns of dark QR codes in sight.
    pub(super) patterns: usize,
    /// The most likely place of a code, with its corners.
    pub(super) best: Option<Trace>,
    /// Whether finder patterns say that the code goes on beyond the border.
    pub(super) leaves: bool,
    /// Whether finder patterns are in a part that reaches the border: where nothing else is wrong, their code goes on there.
    pub(super) may_leave: bool,
    /// Pixels a module, by the largest finder pattern in the busiest part.
    pub(super) module: Option<f32>,
    /// The busiest part of the picture, where no place is known: left, top, right, bottom.
    pub(super) busiest: Option<[i32; 4]>,
}

impl Places {
    /// Stages that found a grid, or one row's text, know best; then three finder patterns; then bars. What is new is added
    /// to `traces`.
    pub(super) fn of(view: &View<'_>, traces: &mut Vec<Trace>) -> Self {
        let (luma, edges) = (view.luma, view.edges());
        let found = chain::finder_patterns(view);
        let patterns: Vec<Pattern> =
            found.iter().take(MOST_PATTERNS).map(|&(x, y, size)| Pattern { x, y, size }).collect();
        // Of several the first: a stage names the one that fits best first, and `max` takes the last of equals.
        let known = (traces.iter().rev())
            .filter(|one| one.module.is_some() || one.why == Why::NotConfirmed)
            .max_by_key(|one| u8::from(one.symbology == Symbology::QrCode))
            .copied();
        let square = known.is_none().then(|| of_three(&patterns)).flatten();
        let stripes = edges.stripes();
        let bars: Vec<Trace> = joined(stripes.iter().take(MOST_STRIPES).copied().collect())
            .iter()
            .filter_map(|stripes| of_stripes(luma, stripes))
            .collect();
        let busiest = edges.regions().first().copied();
        let inside: Vec<Pattern> =
            patterns.iter().filter(|one| busiest.is_some_and(|part| one.is_in(&part))).copied().collect();
        let (width, height) = (luma.width() as usize, luma.height() as usize);
        let borders =
            busiest.is_some_and(|part| part.left == 0 || part.top == 0 || part.right == width || part.bottom == height);
        let (leaves, may_leave) = (of_two(&patterns, luma), borders && matches!(inside.len(), 1 | 2));
        let module = inside.iter().map(|one| one.size / PATTERN_MODULES).max_by(f32::total_cmp);
        let best = known.or(square).or(if leaves { None } else { bars.first().copied() });
        traces.extend(square);
        traces.extend(bars);
        let busiest = busiest.map(|one| [one.left, one.top, one.right, one.bottom].map(|at| at as i32));
        Self { patterns: found.len(), best, leaves, may_leave, module, busiest }
    }
}

/// Three finder patterns that stand as those of a code: alike, at a right angle, and as far apart as a code's are.
fn of_three(patterns: &[Pattern]) -> Option<Trace> {
    let alike = |a: &Pattern, b: &Pattern| a.size < b.size * SIZES && b.size < a.size * SIZES;
    let mut best: Option<(f32, Trace)> = None;
    for (nth, corner) in patterns.iter().enumerate() {
        for (at, one) in patterns.iter().enumerate().filter(|(at, one)| *at != nth && alike(corner, one)) {
            for other in patterns[at + 1..].iter().filter(|other| alike(corner, other) && alike(one, other)) {
                let (a, b) = ((one.x - corner.x, one.y - corner.y), (other.x - corner.x, other.y - corner.y));
                let (long, short) = (a.0.hypot(a.1).max(b.0.hypot(b.1)), a.0.hypot(a.1).min(b.0.hypot(b.1)));
                if short < corner.size * 1.7 || long > short * LEGS || long > corner.size * 14.0 {
                    continue;
                }
                let lean = (a.0 * b.0 + a.1 * b.1).abs() / (long * short);
                if lean < 0.35 && best.is_none_or(|(least, _)| lean < least) {
                    best = Some((lean, square_of(corner, a, b)));
                }
            }
        }
    }
    best.map(|(_, trace)| trace)
}

/// The whole code of three finder patterns: its corners lie half a pattern beyond their centres.
fn square_of(corner: &Pattern, a: (f32, f32), b: (f32, f32)) -> Trace {
    let (a, b) = if a.0 * b.1 - a.1 * b.0 > 0.0 { (a, b) } else { (b, a) };
    let half = |leg: (f32, f32)| {
        let share = corner.size / 2.0 / leg.0.hypot(leg.1).max(1.0);
        (leg.0 * share, leg.1 * share)
    };
    let (ha, hb) = (half(a), half(b));
    let at = |along: f32, down: f32| {
        let (out_a, out_b) = (along * 2.0 - 1.0, down * 2.0 - 1.0);
        (
            corner.x + a.0 * along + b.0 * down + ha.0 * out_a + hb.0 * out_b,
            corner.y + a.1 * along + b.1 * down + ha.1 * out_a + hb.1 * out_b,
        )
    };
    let corners = Corners([at(0.0, 0.0), at(1.0, 0.0), at(1.0, 1.0), at(0.0, 1.0)]);
    Trace { module: Some(corner.size / PATTERN_MODULES), ..Trace::of(Symbology::QrCode, &corners, Why::NoGrid) }
}

/// Whether one or two finder patterns stand so that the rest of their code is beyond the border.
fn of_two(patterns: &[Pattern], luma: &GrayImage) -> bool {
    let (width, height) = (luma.width() as f32, luma.height() as f32);
    let to_border = |one: &Pattern| one.x.min(one.y).min(width - one.x).min(height - one.y);
    matches!(patterns.len(), 1 | 2) && patterns.iter().any(|one| to_border(one) < one.size * 1.2)
}

/// Stripes in one line are parts of the same bars, with glare, dirt or a thumb between them.
fn joined(mut stripes: Vec<Stripes>) -> Vec<Stripes> {
    let mut nth = 0;
    while nth < stripes.len() {
        let one = stripes[nth];
        let (sine, cosine) = one.direction.sin_cos();
        let beside = stripes.iter().enumerate().skip(nth + 1).find_map(|(at, other)| {
            let (dx, dy) = (other.middle.x - one.middle.x, other.middle.y - one.middle.y);
            let (u, v) = (dx * cosine + dy * sine, dy * cosine - dx * sine);
            let turn = (one.direction - other.direction).rem_euclid(PI);
            let high = one.along.max(other.along);
            let in_line = turn.min(PI - turn) < 0.2 && v.abs() < high && high < one.along.min(other.along) * 2.5;
            let gap = u.abs() - one.across - other.across;
            (in_line && gap < one.across + other.across).then_some((at, u, other.across))
        });
        let Some((at, u, across)) = beside else {
            nth += 1;
            continue;
        };
        let (from, to) = ((-one.across).min(u - across), one.across.max(u + across));
        let middle = f32::midpoint(from, to);
        stripes[nth].middle = Spot::new(one.middle.x + middle * cosine, one.middle.y + middle * sine);
        stripes[nth].across = (to - from) / 2.0;
        stripes.remove(at);
    }
    stripes
}

/// Bars are stripes with enough edges across.
fn of_stripes(luma: &GrayImage, stripes: &Stripes) -> Option<Trace> {
    let grey = Grey::of(luma);
    let (sine, cosine) = stripes.direction.sin_cos();
    let spot = |across: f32, along: f32| {
        (stripes.middle.x + across * cosine - along * sine, stripes.middle.y + across * sine + along * cosine)
    };
    let samples = (stripes.across * 2.0) as usize;
    let profile: Vec<f32> = (0..samples)
        .map(|nth| {
            let of_line = |line: i32| {
                let (x, y) = spot(nth as f32 - stripes.across, stripes.along * 0.1 * (line - LINES / 2) as f32);
                grey.at(x, y)
            };
            (0..LINES).map(of_line).sum::<f32>() / LINES as f32
        })
        .collect();
    let changes = changes(&profile);
    if changes < FEWEST_EDGES {
        return None;
    }
    let (across, along) = (stripes.across, stripes.along);
    let corners = Corners([spot(-across, -along), spot(across, -along), spot(across, along), spot(-across, along)]);
    let (counted, usual) = (across * 2.0 / (changes as f32 * MODULES_AN_EDGE), across * 2.0 / USUAL_MODULES);
    let module = if usual < COUNTED_FROM_PIXELS { counted.min(usual) } else { counted };
    Some(Trace { module: Some(module), ..Trace::of(Symbology::Code128, &corners, Why::NoText) })
}

/// How often a profile goes from dark to light or back by a good part of its contrast.
fn changes(profile: &[f32]) -> usize {
    let mut sorted = profile.to_vec();
    sorted.sort_by(f32::total_cmp);
    let at = |share: f32| sorted.get((sorted.len() as f32 * share) as usize).copied().unwrap_or(0.0);
    let enough = ((at(0.95) - at(0.05)) * 0.2).max(8.0);
    let (mut extreme, mut rising, mut count) = (profile.first().copied().unwrap_or(0.0), None, 0);
    for &value in profile {
        match rising {
            Some(true) if value > extreme => extreme = value,
            Some(false) if value < extreme => extreme = value,
            _ if (value - extreme).abs() >= enough => {
                rising = Some(value > extreme);
                extreme = value;
                count += 1;
            }
            _ => {}
        }
    }
    count
}
