//! What frames of a burst say together where none says it alone: the doubtful modules of a square are summed over frames,
//! and bars that one strip of lines read in each of two frames were read twice.

use super::{
    chain::{Reading, Seen, Stage},
    code128::Bars,
    qr::Square,
    square,
};
use crate::scan::Corners;

/// Frames that must say the same bars.
const AGREE: usize = 2;

/// What frames have shown so far without being read.
#[derive(Default)]
pub(super) struct Evidence {
    squares: Vec<(Stage, usize, square::Seen)>,
    bars: Vec<(usize, Bars)>,
}

impl Evidence {
    /// Adds what a stage saw in a frame, and to `seen` what has become readable by it.
    pub(super) fn weigh(&mut self, stage: Stage, frame: usize, seen: &mut Seen) {
        let (squares, bars) = (std::mem::take(&mut seen.squares), std::mem::take(&mut seen.bars));
        if !seen.read.is_empty() {
            return;
        }
        for new in squares {
            let place = new.corners;
            // The best view of each other frame; one frame is not evidence twice.
            let mut together = vec![&new];
            let mut frames = vec![frame];
            for (of, at, other) in &self.squares {
                if *of == stage && !frames.contains(at) && other.version() == new.version() {
                    together.push(other);
                    frames.push(*at);
                }
            }
            if together.len() > 1
                && seen.read.is_empty()
                && let Some(text) = square::read_together(&together)
            {
                seen.read.push(Reading::of_square(Square { text, corners: Corners(place) }));
            }
            self.squares.push((stage, frame, new));
        }
        for new in bars {
            let alike = self.bars.iter().filter(|(at, old)| *at != frame && old.text == new.text).count() + 1;
            let others = self.bars.iter().filter(|(_, old)| old.text != new.text).count();
            if alike >= AGREE && others == 0 {
                let bars = Bars::from_strips(new.text.clone(), Corners(new.corners.0), 1.0);
                seen.read.push(Reading::of_bars(bars));
            }
            self.bars.push((frame, new));
        }
    }
}
