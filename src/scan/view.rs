//! A picture as the readers see it: what one stage has worked out is kept for the next.

use std::cell::OnceCell;

use image::GrayImage;
use rxing::common::{BitArray, BitMatrix, LineOrientation};

use super::{
    black::{black_and_white, black_line},
    code128::Lines,
    grey::Grey,
    regions::Edges,
};

/// A picture, its lines, its black and white, and its edges.
pub(super) struct View<'a> {
    pub(super) luma: &'a GrayImage,
    worked_out: WorkedOut,
}

/// What was worked out for a picture. It borrows nothing, so that it is kept while the picture goes from hand to hand.
#[derive(Default)]
pub(super) struct WorkedOut {
    black_and_white: OnceCell<Option<BitMatrix>>,
    edges: OnceCell<Edges>,
}

impl<'a> View<'a> {
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn of(luma: &'a GrayImage) -> Self {
        Self::with(luma, WorkedOut::default())
    }

    /// With what an earlier view of the same picture has worked out.
    pub(super) fn with(luma: &'a GrayImage, worked_out: WorkedOut) -> Self {
        Self { luma, worked_out }
    }

    pub(super) fn into_worked_out(self) -> WorkedOut {
        self.worked_out
    }

    pub(super) fn grey(&self) -> Grey<'a> {
        Grey::of(self.luma)
    }

    pub(super) fn black_and_white(&self) -> Option<&BitMatrix> {
        self.worked_out.black_and_white.get_or_init(|| black_and_white(self.luma)).as_ref()
    }

    pub(super) fn edges(&self) -> &Edges {
        self.worked_out.edges.get_or_init(|| Edges::of(self.grey()))
    }
}

impl Lines for View<'_> {
    fn line(&self, at: usize, direction: LineOrientation) -> Option<BitArray> {
        let (width, pixels) = (self.luma.width() as usize, self.luma.as_raw());
        match direction {
            LineOrientation::Row => black_line(pixels.get(at * width..(at + 1) * width)?),
            LineOrientation::Column => {
                let column: Vec<u8> = pixels.iter().skip(at).step_by(width.max(1)).copied().collect();
                black_line(&column)
            }
        }
    }

    fn size(&self) -> (usize, usize) {
        (self.luma.width() as usize, self.luma.height() as usize)
    }
}

/// Lines of the picture in black and white. Their thresholds are local: bars in the shade can be read that one threshold
/// for the whole row loses.
pub(super) struct Local<'a>(pub(super) &'a BitMatrix);

impl Lines for Local<'_> {
    fn line(&self, at: usize, direction: LineOrientation) -> Option<BitArray> {
        Some(match direction {
            LineOrientation::Row => self.0.getRow(at as u32),
            LineOrientation::Column => self.0.getCol(at as u32),
        })
    }

    fn size(&self) -> (usize, usize) {
        (self.0.width() as usize, self.0.height() as usize)
    }
}
