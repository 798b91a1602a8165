//! Our own reader for QR codes, for what others give up on: glare, blur, a bent screen, a thumb on a corner.
//!
//! `finder` sees finder patterns, `triple` puts them together, `grid` finds where each module lies by what must be dark and
//! light, `levels` and `soft` say how dark each is and how sure that is, `decode` corrects errors with the doubtful modules
//! erased (`reed_solomon`). `layout` has the standard's tables.

mod decode;
mod finder;
mod grid;
mod layout;
mod levels;
mod reed_solomon;
mod soft;
mod triple;

use image::GrayImage;

use super::{
    Corners,
    deadline::Deadline,
    grey::{Grey, Spot, doubled, halved},
    qr::Square,
    regions::Edges,
};
use decode::decode;
use grid::{Net, Perspective, Targets, promise, settle};
use layout::Layout;
use levels::Levels;
use triple::Triple;

use finder::{Dark, Finder};
use soft::Soft;

/// How well the known modules must fit before a code is believed to be there.
const FITS: f32 = 0.42;

/// How well finder patterns and timing must look before a candidate is worth a closer look. Codes have 0.85 and more, 0.45
/// in glare or a steep perspective; what merely has three squares in it, 0.2.
const PROMISING: f32 = 0.42;

/// And with one of the finder patterns hidden.
const PROMISING_PAIR: f32 = 0.36;

/// And once their neighbours' light is taken out.
const FITS_EQUALISED: f32 = 0.48;

/// The share of the budget that a search may take without having found a code's grid, readable or not.
const TRACELESS: f32 = 0.15;

/// How well a grid must fit once it is settled, before its modules are read. What is none stays below 0.5.
const SETTLED: f32 = 0.55;

/// How many finder patterns and triples of them are considered, and how many triples get a closer look.
const MOST_FINDERS: usize = 28;
const MOST_TRIPLES: usize = 200;
const MOST_TRIES: usize = 5;
const MOST_TRIES_IN_ALL: usize = 9;

/// A code that was found, whether or not it could be read.
pub(super) struct Seen {
    soft: Soft,
    pub(super) corners: [(f32, f32); 4],
    fit: f32,
}

impl Seen {
    pub(super) const fn version(&self) -> u32 {
        self.soft.version
    }
}

/// What a look saw.
#[derive(Default)]
pub(super) struct Look {
    pub(super) read: Vec<Square>,
    /// Found and not read, the best fit first.
    pub(super) unread: Vec<Seen>,
}

/// A candidate: corners, version, and how well the known modules fit before anything is moved.
struct Candidate {
    triple: Triple,
    version: u32,
    promise: f32,
}

/// How far around a pixel is averaged to tell dark from light, in pixels: wide for large modules, narrow for those that
/// blur into each other.
const WIDE: usize = 24;
const NARROW: usize = 9;

/// Regions that are looked at twice as large, and their pixels at most.
const MOST_REGIONS: usize = 3;
const MOST_PIXELS: usize = 400_000;

/// Reads codes wherever finder patterns show: at once, with a narrow view, half as large (which quietens
/// noise), in busy regions twice as large, and last where
/// only two of three show. Ends at the first of these that reads something; the last three only when `thorough`.
pub(super) fn read(luma: &GrayImage, edges: &Edges, thorough: bool, deadline: Deadline) -> Look {
    let grey = Grey::of(luma);
    let mut search = Search {
        grey,
        finders: Vec::new(),
        tried: Vec::new(),
        look: Look::default(),
        deadline,
        hurried: deadline.within(TRACELESS),
    };
    search.add(Dark::of(grey, WIDE, false, deadline).finders(deadline));
    if search.triples() {
        return search.look;
    }
    search.add(Dark::of(grey, NARROW, false, deadline).finders(deadline));
    if search.triples() {
        return search.look;
    }
    if !thorough {
        return search.look;
    }
    let half = halved(luma);
    let found = Dark::of(Grey::of(&half), WIDE / 2, false, deadline).finders(deadline);
    search.add(found.into_iter().map(|one| one.scaled(2.0)).collect());
    if search.triples() {
        return search.look;
    }
    for region in edges.regions().iter().take(MOST_REGIONS) {
        if region.width() * region.height() > MOST_PIXELS || search.is_over() {
            continue;
        }
        let (left, top) = (region.left as u32, region.top as u32);
        let part = image::imageops::crop_imm(luma, left, top, region.width() as u32, region.height() as u32).to_image();
        let double = doubled(&part);
        for reach in [WIDE, NARROW] {
            let found = Dark::of(Grey::of(&double), reach, false, deadline).finders(deadline);
            search.add(found.into_iter().map(|one| one.scaled(0.5).moved(left as f32, top as f32)).collect());
        }
        if search.triples() {
            return search.look;
        }
    }
    search.pairs();
    search.look
}

/// A search for codes in one picture: what was seen and tried.
struct Search<'a> {
    grey: Grey<'a>,
    finders: Vec<Finder>,
    tried: Vec<(Triple, u32)>,
    look: Look,
    deadline: Deadline,
    hurried: Deadline,
}

impl Search<'_> {
    /// Time is shorter where there is no trace of a code.
    fn is_over(&self) -> bool {
        if self.look.unread.is_empty() { self.hurried.is_over() } else { self.deadline.is_over() }
    }

    fn add(&mut self, finders: Vec<Finder>) {
        for new in finders {
            let known = self.finders.iter().any(|old| old.centre.distance(new.centre) < old.size() * 0.12);
            if !known {
                self.finders.push(new);
            }
        }
        self.finders.truncate(MOST_FINDERS);
    }

    /// Whether a triple of the finder patterns seen so far is a code that can be read.
    fn triples(&mut self) -> bool {
        let triples = triple::triples(&self.finders);
        self.look_at(&triples, PROMISING)
    }

    fn pairs(&mut self) {
        let pairs = triple::pairs(&self.finders);
        self.look_at(&pairs, PROMISING_PAIR);
    }

    fn look_at(&mut self, triples: &[Triple], promising: f32) -> bool {
        let mut candidates = Vec::new();
        for triple in triples.iter().take(MOST_TRIPLES) {
            if self.is_over() {
                return false;
            }
            for version in triple.versions() {
                let promise = promise(&Perspective::of(triple, 17 + 4 * version as usize), self.grey);
                if promise >= promising && !self.tried.iter().any(|(old, of)| *of == version && old.is_near(triple)) {
                    candidates.push(Candidate { triple: *triple, version, promise });
                }
            }
        }
        candidates.sort_by(|a, b| b.promise.total_cmp(&a.promise));
        for candidate in candidates.into_iter().take(MOST_TRIES) {
            if self.is_over() || self.tried.len() >= MOST_TRIES_IN_ALL {
                break;
            }
            let places = [candidate.triple.top_left, candidate.triple.top_right, candidate.triple.bottom_left];
            if places.iter().all(|spot| self.look.read.iter().any(|one| covers(&one.corners, *spot))) {
                continue;
            }
            self.tried.push((candidate.triple, candidate.version));
            match look_closer(self.grey, &candidate, self.deadline) {
                Ok(square) => self.look.read.push(square),
                Err(seen) => self.look.unread.extend(seen),
            }
        }
        self.look.unread.sort_by(|a, b| b.fit.total_cmp(&a.fit));
        !self.look.read.is_empty()
    }
}

/// Settles the grid, then reads the modules as they are, then through an equaliser, then on a bent grid.
fn look_closer(grey: Grey<'_>, candidate: &Candidate, deadline: Deadline) -> Result<Square, Option<Seen>> {
    let Some(layout) = &Layout::of(candidate.version) else { return Err(None) };
    let targets = Targets::all(layout);
    let mut perspective = Perspective::of(&candidate.triple, layout.modules);
    if settle(&mut perspective, grey, layout, &targets) < SETTLED {
        return Err(None);
    }
    let mut net = Net::flat(&perspective);
    let mut best: Option<Seen> = None;
    for bent in [false, true] {
        if bent {
            if deadline.is_over() {
                break;
            }
            let levels = Levels::of(grey, layout.modules, |x, y| net.at(x, y));
            net.bend(grey, &levels, &targets);
        }
        let soft = Soft::sampled(grey, layout, &net);
        let fit = soft.agreement(layout);
        if fit < FITS {
            break;
        }
        let side = layout.modules as f32;
        let corners = [(0.0, 0.0), (side, 0.0), (side, side), (0.0, side)].map(|(x, y)| {
            let spot = net.at(x, y);
            (spot.x, spot.y)
        });
        let equalised = soft.equalised(grey, layout, &net);
        for soft in std::iter::once(&soft).chain(&equalised) {
            if let Some(text) = decode(soft, layout) {
                return Ok(Square { text, corners: Corners(corners) });
            }
        }
        // What is no code fits worse for being equalised, 0.43 at most; a code fits better.
        if equalised.as_ref().is_none_or(|equalised| equalised.agreement(layout) < FITS_EQUALISED) {
            break;
        }
        if best.as_ref().is_none_or(|best| fit > best.fit) {
            best = Some(Seen { soft: equalised.unwrap_or(soft), corners, fit });
        }
    }
    Err(best)
}

/// Whether a point lies inside of corners that go clockwise.
fn covers(corners: &Corners, spot: Spot) -> bool {
    let next = corners.0.iter().cycle().skip(1);
    corners
        .0
        .iter()
        .zip(next)
        .all(|(from, to)| (to.0 - from.0) * (spot.y - from.1) - (to.1 - from.1) * (spot.x - from.0) >= 0.0)
}

/// Reads modules that several frames saw: each module is the sum of what they say, by how well they fit.
pub(super) fn read_together(seen: &[&Seen]) -> Option<String> {
    let first = seen.first()?;
    let layout = Layout::of(first.soft.version)?;
    let mut modules = vec![0.0; layout.modules * layout.modules];
    let mut weights = 0.0;
    for one in seen.iter().filter(|one| one.soft.version == first.soft.version) {
        weights += one.fit;
        for (sum, value) in modules.iter_mut().zip(&one.soft.modules) {
            *sum += value * one.fit;
        }
    }
    modules.iter_mut().for_each(|sum| *sum /= f32::max(weights, 1e-3));
    decode(&Soft { version: first.soft.version, modules }, &layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "SO20260711ABCDEFGH1234567ABCDEFGH1234567";

    /// A code of version 4 of which only the columns before, or from, the middle of its data can be made out.
    fn half_seen(left: bool) -> Seen {
        let drawn = fast_qr::QRBuilder::new(TEXT).version(fast_qr::Version::V04).ecl(fast_qr::ECL::M).build().unwrap();
        let layout = Layout::of(4).unwrap();
        let side = layout.modules;
        let module = |at: usize| {
            let (x, y) = (at % side, at / side);
            let seen = layout.known[at].is_some() || (x < side / 2 + 3) == left || y < 9;
            let sign = if drawn[y][x].value() { 1.0 } else { -1.0 };
            sign * if seen { 0.9 } else { 0.02 * if at.is_multiple_of(3) { -1.0 } else { 1.0 } }
        };
        let modules = (0..side * side).map(module).collect();
        Seen { soft: Soft { version: 4, modules }, corners: [(0.0, 0.0); 4], fit: 0.9 }
    }

    #[test]
    fn what_no_frame_shows_whole_is_read_from_two() {
        let (one, two) = (half_seen(true), half_seen(false));
        assert_eq!(read_together(&[&one]), None);
        assert_eq!(read_together(&[&two]), None);
        assert_eq!(read_together(&[&one, &one]), None);
        assert_eq!(read_together(&[&one, &two]).as_deref(), Some(TEXT));
    }

    #[test]
    fn what_lies_inside_of_corners_is_covered() {
        let square = Corners([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)]);
        assert!(covers(&square, Spot::new(5.0, 5.0)) && !covers(&square, Spot::new(11.0, 5.0)));
    }
}
