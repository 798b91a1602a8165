//! The chain of decoders, as data: quick and likely first. The first stage that reads something ends it, and a stage reads
//! every code that it can. Order and worth of the stages: scanning notes, "The chains" (A, without its ladder).

use std::{cell::OnceCell, time::Duration};

use image::GrayImage;
use rxing::{
    Binarizer, Luma8Source,
    common::{BitArray, BitMatrix, GlobalHistogramBinarizer, LineOrientation},
};
use serde::Serialize;

use super::{
    Corners, Symbology, bars,
    black::black_and_white,
    code128::{self, Bars, Effort, Lines},
    deadline::Deadline,
    grey::Grey,
    guard::guarded,
    qr::{self, Square},
    regions::Edges,
    square,
};

/// Rows that must agree on bars read with local thresholds: those make patterns out of noise, and the check of Code 128 is
/// one digit of 103 (scanning notes, "Safety").
const FEWEST_LOCAL_ROWS: usize = 2;

/// One look at the picture by one decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// rxing, quick: 31 rows for bars, some rows for squares.
    Rxing,
    /// rxing with more rows, and columns; for bars also with local thresholds.
    RxingHarder,
    /// rqrr: squares only.
    Rqrr,
    /// [`Self::RxingHarder`] on the inverted picture: a telephone in dark mode.
    InvertedRxingHarder,
    /// [`Self::Rqrr`] on the inverted picture.
    InvertedRqrr,
    /// Our own reader for squares.
    Square,
    /// [`Self::Square`] on the inverted picture.
    InvertedSquare,
    /// Our own reader for bars.
    Bars,
}

impl Stage {
    /// The stages in their order.
    pub const CHAIN: [Self; 8] = [
        Self::Rxing,
        Self::RxingHarder,
        Self::Rqrr,
        Self::InvertedRxingHarder,
        Self::InvertedRqrr,
        Self::Bars,
        Self::Square,
        Self::InvertedSquare,
    ];

    /// Its name, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rxing => "rxing",
            Self::RxingHarder => "rxing, harder",
            Self::Rqrr => "rqrr",
            Self::InvertedRxingHarder => "inverted: rxing, harder",
            Self::InvertedRqrr => "inverted: rqrr",
            Self::Square => "our own squares",
            Self::InvertedSquare => "inverted: our own squares",
            Self::Bars => "our own bars",
        }
    }

    const fn is_inverted(self) -> bool {
        matches!(self, Self::InvertedRxingHarder | Self::InvertedRqrr | Self::InvertedSquare)
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

impl Reading {
    fn of_square(one: Square) -> Self {
        Self { symbology: Symbology::QrCode, text: one.text, corners: one.corners }
    }

    fn of_bars(one: Bars) -> Self {
        Self { symbology: Symbology::Code128, text: one.text, corners: one.corners }
    }
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
        let began = deadline.used();
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
        looks.push(Look { stage, elapsed: deadline.used() - began, read, damaged, empty, panicked });
        if read > 0 {
            return (readings, Some(stage), looks);
        }
    }
    (Vec::new(), None, looks)
}

fn look(stage: Stage, view: &View<'_>, deadline: Deadline) -> (Vec<Reading>, usize) {
    let harder = match stage {
        Stage::Rqrr | Stage::InvertedRqrr => {
            let seen = qr::by_rqrr(view.luma);
            return (seen.read.into_iter().map(Reading::of_square).collect(), seen.damaged);
        }
        Stage::Bars => {
            let grey = Grey::of(view.luma);
            let mut bars = bars::read(grey, &Edges::of(grey), &bars::Drawn::new(), deadline);
            return (bars.drain(..).map(Reading::of_bars).collect(), 0);
        }
        Stage::Square | Stage::InvertedSquare => {
            let look = square::read(view.luma, &Edges::of(Grey::of(view.luma)), deadline);
            return (look.read.into_iter().map(Reading::of_square).collect(), look.unread.len());
        }
        Stage::Rxing => false,
        Stage::RxingHarder | Stage::InvertedRxingHarder => true,
    };
    let mut bars = code128::read(view, if harder { Effort::Harder } else { Effort::Quick }, deadline);
    if harder && bars.is_empty() {
        let local = view.black_and_white().map(|matrix| code128::read(&Local(matrix), Effort::Harder, deadline));
        bars.extend(local.into_iter().flatten().filter(|one| one.rows >= FEWEST_LOCAL_ROWS));
    }
    if let Some(matrix) = view.black_and_white() {
        let black = |x: f32, y: f32| x >= 0.0 && y >= 0.0 && matrix.try_get(x as u32, y as u32).unwrap_or(false);
        bars.iter_mut().for_each(|one| one.reach_ends(black));
    }
    let mut seen = view.black_and_white().map(|matrix| qr::by_rxing(matrix, harder, deadline)).unwrap_or_default();
    if seen.read.is_empty() && bars.is_empty() {
        seen.read.extend(view.black_and_white().and_then(|matrix| qr::by_older_rxing(matrix, harder)));
    }
    let squares = seen.read.into_iter().map(Reading::of_square);
    (squares.chain(bars.into_iter().map(Reading::of_bars)).collect(), seen.damaged)
}

/// A picture as rxing sees it. It keeps rows and black and white once made, for the next stage.
struct View<'a> {
    luma: &'a GrayImage,
    lines: Option<GlobalHistogramBinarizer<Luma8Source<'a>>>,
    black_and_white: OnceCell<Option<BitMatrix>>,
}

impl<'a> View<'a> {
    fn of(luma: &'a GrayImage) -> Self {
        let source = Luma8Source::new_with_slice(luma.as_raw(), luma.width(), luma.height());
        Self { luma, lines: source.ok().map(GlobalHistogramBinarizer::new), black_and_white: OnceCell::new() }
    }

    fn black_and_white(&self) -> Option<&BitMatrix> {
        self.black_and_white.get_or_init(|| black_and_white(self.luma)).as_ref()
    }
}

impl Lines for View<'_> {
    fn line(&self, at: usize, direction: LineOrientation) -> Option<BitArray> {
        self.lines.as_ref()?.get_black_line(at, direction).ok().map(std::borrow::Cow::into_owned)
    }

    fn size(&self) -> (usize, usize) {
        (self.luma.width() as usize, self.luma.height() as usize)
    }
}

/// Lines of the picture in black and white. Their thresholds are local: bars in the shade can be read that one threshold
/// for the whole row loses.
struct Local<'a>(&'a BitMatrix);

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

fn invert(luma: &GrayImage) -> GrayImage {
    let mut inverted = luma.clone();
    inverted.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
    inverted
}

/// The finder patterns of dark QR codes in sight: centre and width, in pixels.
pub(super) fn finder_patterns(luma: &GrayImage) -> Vec<(f32, f32, f32)> {
    let view = View::of(luma);
    guarded(|| view.black_and_white().map(qr::finder_patterns)).flatten().unwrap_or_default()
}
