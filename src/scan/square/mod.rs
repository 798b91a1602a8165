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

use super::{
    Corners,
    deadline::Deadline,
    grey::{Grey, Spot},
    qr::Square,
};
use decode::decode;
use grid::{Net, Perspective, Targets, promise, settle};
use layout::Layout;
use levels::Levels;
use triple::Triple;

pub(super) use self::{
    finder::{Dark, Finder},
    soft::Soft,
};

/// How well the known modules must fit before a code is believed to be there.
const FITS: f32 = 0.33;

/// How well finder patterns and timing must look before a candidate is worth a closer look. Codes have 0.85 and more, 0.45
/// in glare or a steep perspective; what merely has three squares in it, 0.2.
const PROMISING: f32 = 0.42;

/// How many triples of finder patterns get a closer look.
const MOST_TRIES: usize = 6;

/// A code that was found, whether or not it could be read.
pub(super) struct Seen {
    pub(super) soft: Soft,
    pub(super) corners: [(f32, f32); 4],
    pub(super) fit: f32,
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

/// Reads codes at the finder patterns in sight.
pub(super) fn read(grey: Grey<'_>, finders: &[Finder], deadline: Deadline) -> Look {
    let triples = triple::triples(finders);
    look_at(grey, &triples, MOST_TRIES, deadline)
}

/// Reads codes of which two finder patterns are in sight.
pub(super) fn read_pairs(grey: Grey<'_>, finders: &[Finder], deadline: Deadline) -> Look {
    let pairs = triple::pairs(finders);
    look_at(grey, &pairs, MOST_TRIES, deadline)
}

fn look_at(grey: Grey<'_>, triples: &[Triple], most: usize, deadline: Deadline) -> Look {
    let mut look = Look::default();
    let mut candidates = Vec::new();
    for triple in triples.iter().take(60) {
        if deadline.is_over() {
            return look;
        }
        for version in triple.versions() {
            let promise = promise(&Perspective::of(triple, 17 + 4 * version as usize), grey);
            candidates.push(Candidate { triple: *triple, version, promise });
        }
    }
    candidates.sort_by(|a, b| b.promise.total_cmp(&a.promise));
    for candidate in candidates.into_iter().take(most) {
        if deadline.is_over() || candidate.promise < PROMISING {
            break;
        }
        let places = [candidate.triple.top_left, candidate.triple.top_right, candidate.triple.bottom_left];
        if places.iter().all(|spot| look.read.iter().any(|one| covers(&one.corners, *spot))) {
            continue;
        }
        match look_closer(grey, &candidate, deadline) {
            Ok(square) => {
                look.unread.clear();
                look.read.push(square);
            }
            Err(Some(seen)) => look.unread.push(seen),
            Err(None) => {}
        }
    }
    look.unread.sort_by(|a, b| b.fit.total_cmp(&a.fit));
    look
}

/// Settles the grid, then reads the modules as they are, then through an equaliser, then on a bent grid.
fn look_closer(grey: Grey<'_>, candidate: &Candidate, deadline: Deadline) -> Result<Square, Option<Seen>> {
    let Some(layout) = &Layout::of(candidate.version) else { return Err(None) };
    let targets = Targets::all(layout);
    let mut perspective = Perspective::of(&candidate.triple, layout.modules);
    settle(&mut perspective, grey, layout, &targets);
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
        let equalised = soft.equalised(layout);
        for soft in std::iter::once(&soft).chain(&equalised) {
            if let Some(decoded) = decode(soft, layout) {
                return Ok(Square { text: decoded.text, corners: Corners(corners) });
            }
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
    decode(&Soft { version: first.soft.version, modules }, &layout).map(|decoded| decoded.text)
}
