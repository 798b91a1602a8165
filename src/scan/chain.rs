//! The chain of decoders, as data: quick and likely first. The first stage that reads something ends it, and a stage reads
//! every code that it can. Order and worth of the stages: scanning notes, "The chains" (A, without its ladder).

use std::time::{Duration, Instant};

use image::GrayImage;
use rxing::{
    Binarizer, Luma8Source,
    common::{BitArray, HybridBinarizer, LineOrientation},
};
use serde::Serialize;

use super::{
    Corners, Symbology,
    code128::{self, Effort, Lines},
    guard::guarded,
    qr::{self, Square},
};

/// When to stop. It is asked between stages, rows and codes: one decoder's look at one code can't be interrupted.
#[derive(Clone, Copy)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    pub(super) fn after(budget: Duration) -> Self {
        Self(Instant::now().checked_add(budget))
    }

    pub(super) fn is_over(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }
}

/// One look at the picture by one decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// rxing, quick: 31 rows for bars, some rows for squares.
    Rxing,
    /// rxing with more rows, and columns.
    RxingHarder,
    /// rqrr: squares only.
    Rqrr,
    /// [`Self::RxingHarder`] on the inverted picture: a telephone in dark mode.
    InvertedRxingHarder,
    /// [`Self::Rqrr`] on the inverted picture.
    InvertedRqrr,
}

impl Stage {
    /// The stages in their order.
    pub const CHAIN: [Self; 5] =
        [Self::Rxing, Self::RxingHarder, Self::Rqrr, Self::InvertedRxingHarder, Self::InvertedRqrr];

    /// Its name, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rxing => "rxing",
            Self::RxingHarder => "rxing, harder",
            Self::Rqrr => "rqrr",
            Self::InvertedRxingHarder => "inverted: rxing, harder",
            Self::InvertedRqrr => "inverted: rqrr",
        }
    }

    const fn is_inverted(self) -> bool {
        matches!(self, Self::InvertedRxingHarder | Self::InvertedRqrr)
    }
}

/// What one stage did.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Which.
    pub stage: Stage,
    /// How long it took.
    pub elapsed: Duration,
    /// Symbols read.
    pub read: usize,
    /// QR codes located whose error correction failed.
    pub damaged: usize,
    /// Readings without any text: no answer.
    pub empty: usize,
    /// Whether the decoder panicked, and so said nothing.
    pub panicked: bool,
}

/// A reading, not yet a [`super::Symbol`].
pub(super) struct Reading {
    pub(super) symbology: Symbology,
    pub(super) text: String,
    pub(super) corners: Corners,
}

/// Runs `stages` until one reads something or the time is over. Every look is kept, for those who ask why.
pub(super) fn run(luma: &GrayImage, stages: &[Stage], deadline: Deadline) -> (Vec<Reading>, Option<Stage>, Vec<Look>) {
    let upright = View::of(luma);
    let mut inverted: Option<GrayImage> = None;
    let mut looks = Vec::new();
    for &stage in stages {
        // The first stage always has its turn: a machine so busy that the time is over before it began must still read.
        if !looks.is_empty() && deadline.is_over() {
            break;
        }
        let began = Instant::now();
        let seen = if stage.is_inverted() {
            let inverted = inverted.get_or_insert_with(|| invert(luma));
            guarded(|| look(stage, &View::of(inverted), deadline))
        } else {
            guarded(|| look(stage, &upright, deadline))
        };
        let panicked = seen.is_none();
        let (readings, damaged) = seen.unwrap_or_default();
        let all = readings.len();
        let readings: Vec<Reading> = readings.into_iter().filter(|one| !one.text.is_empty()).collect();
        let (read, empty) = (readings.len(), all - readings.len());
        looks.push(Look { stage, elapsed: began.elapsed(), read, damaged, empty, panicked });
        if read > 0 {
            return (readings, Some(stage), looks);
        }
    }
    (Vec::new(), None, looks)
}

fn look(stage: Stage, view: &View<'_>, deadline: Deadline) -> (Vec<Reading>, usize) {
    let (squares, bars) = match stage {
        Stage::Rxing => (view.squares(false, deadline), code128::read(view, Effort::Quick, deadline)),
        Stage::RxingHarder | Stage::InvertedRxingHarder => {
            (view.squares(true, deadline), code128::read(view, Effort::Harder, deadline))
        }
        Stage::Rqrr | Stage::InvertedRqrr => (qr::by_rqrr(view.luma), Vec::new()),
    };
    let square = |Square { text, corners }| Reading { symbology: Symbology::QrCode, text, corners };
    let bar = |one: code128::Bars| Reading { symbology: Symbology::Code128, text: one.text, corners: one.corners };
    (squares.read.into_iter().map(square).chain(bars.into_iter().map(bar)).collect(), squares.damaged)
}

/// A picture as rxing sees it. It keeps rows and black and white once made, for the next stage.
struct View<'a> {
    luma: &'a GrayImage,
    black: Option<HybridBinarizer<Luma8Source<'a>>>,
}

impl<'a> View<'a> {
    fn of(luma: &'a GrayImage) -> Self {
        let source = Luma8Source::new_with_slice(luma.as_raw(), luma.width(), luma.height());
        Self { luma, black: source.ok().map(HybridBinarizer::new) }
    }

    fn squares(&self, harder: bool, deadline: Deadline) -> qr::Squares {
        let matrix = self.black.as_ref().and_then(|black| black.get_black_matrix().ok());
        matrix.map(|matrix| qr::by_rxing(matrix, harder, deadline)).unwrap_or_default()
    }
}

impl Lines for View<'_> {
    fn line(&self, at: usize, direction: LineOrientation) -> Option<BitArray> {
        self.black.as_ref()?.get_black_line(at, direction).ok().map(std::borrow::Cow::into_owned)
    }

    fn size(&self) -> (usize, usize) {
        (self.luma.width() as usize, self.luma.height() as usize)
    }
}

fn invert(luma: &GrayImage) -> GrayImage {
    let mut inverted = luma.clone();
    inverted.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
    inverted
}

/// The finder patterns in sight of either kind, black on white and white on black.
pub(super) fn finder_patterns(luma: &GrayImage) -> Vec<(f32, f32, f32)> {
    let view = View::of(luma);
    let matrix = view.black.as_ref().and_then(|black| black.get_black_matrix().ok());
    matrix.and_then(|matrix| guarded(|| qr::finder_patterns(matrix))).unwrap_or_default()
}
