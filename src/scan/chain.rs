//! The chain of decoders, as data: quick and likely first. The first stage that reads something ends it, and a stage reads
//! every code that it can. What each stage earns and costs: docs/scan-measured.md.
//!
//! A burst goes through the same chain: its first stage looks at all frames, as agreement is evidence; the dearer ones look
//! at the best frames, best first, and what no frame says alone is put together.

use std::time::Duration;

use image::GrayImage;
use serde::Serialize;

use super::{
    Corners, Symbology, bars,
    code128::{self, Bars, Effort},
    deadline::Deadline,
    evidence::Evidence,
    guard::guarded,
    qr::{self, Square},
    quality, square,
    trace::{self, Trace, Why},
    view::{Local, View, WorkedOut},
};

/// How many frames of a burst the dearer stages look at.
const BEST_FRAMES: usize = 3;

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
    /// Our own reader for squares.
    Square,
    /// [`Self::Square`] on the inverted picture.
    InvertedSquare,
    /// Our own reader for bars.
    Bars,
}

impl Stage {
    /// The stages in their order.
    pub const CHAIN: [Self; 7] = [
        Self::Rxing,
        Self::RxingHarder,
        Self::Bars,
        Self::Square,
        Self::InvertedRxingHarder,
        Self::InvertedSquare,
        Self::Rqrr,
    ];

    /// Its name, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rxing => "rxing",
            Self::RxingHarder => "rxing, harder",
            Self::Rqrr => "rqrr",
            Self::InvertedRxingHarder => "inverted: rxing, harder",
            Self::Square => "own, squares",
            Self::InvertedSquare => "inverted: own, squares",
            Self::Bars => "own, bars",
        }
    }

    const fn is_inverted(self) -> bool {
        matches!(self, Self::InvertedRxingHarder | Self::InvertedSquare)
    }
}

/// What one stage did with one frame.
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
    pub(super) fn of_square(one: Square) -> Self {
        Self { symbology: Symbology::QrCode, text: one.text, corners: one.corners }
    }

    pub(super) fn of_bars(one: Bars) -> Self {
        Self { symbology: Symbology::Code128, text: one.text, corners: one.corners }
    }
}

/// What a stage saw in a frame.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) read: Vec<Reading>,
    /// What could have been a code.
    pub(super) traces: Vec<Trace>,
    /// Squares that were found and not read, and bars that too few lines read.
    pub(super) squares: Vec<square::Seen>,
    pub(super) bars: Vec<Bars>,
}

/// What the chain made of one frame.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) readings: Vec<(Reading, Stage)>,
    pub(super) looks: Vec<Look>,
    pub(super) traces: Vec<Trace>,
}

/// A frame whose pixels are still needed.
pub(super) struct Frame {
    /// Which of the frames it is.
    pub(super) nth: usize,
    pub(super) luma: GrayImage,
    pub(super) worked_out: WorkedOut,
    inverted: Option<(GrayImage, WorkedOut)>,
    quality: f32,
}

/// What the chain made of frames.
#[derive(Default)]
pub(super) struct Outcomes {
    /// One a frame, in their order.
    pub(super) all: Vec<Outcome>,
    /// The best frames, best first; of the others no pixels are kept.
    pub(super) best: Vec<Frame>,
}

impl Outcomes {
    pub(super) fn nothing_read(&self) -> bool {
        self.all.iter().all(|outcome| outcome.readings.is_empty())
    }

    /// Keeps a frame where it is among the best; equals stay in their order.
    fn keep(&mut self, frame: Frame) {
        let at = self.best.partition_point(|other| other.quality >= frame.quality);
        self.best.insert(at, frame);
        self.best.truncate(BEST_FRAMES);
    }
}

/// Runs `stages` until one reads something or the time is over; every look is kept, for those who ask why.
///
/// `frames`, at most `most`, is asked for one picture at a time: the first stage looks at it, and its pixels go unless it is
/// among the best.
pub(super) fn run(
    frames: impl Iterator<Item = GrayImage>,
    most: usize,
    stages: &[Stage],
    deadline: Deadline,
) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let mut evidence = Evidence::default();
    let Some((&first, dearer)) = stages.split_first() else { return outcomes };
    for (nth, luma) in frames.enumerate() {
        let quality = if most > 1 { quality::quality(&luma) } else { 0.0 }; // of one there is nothing to choose
        let mut frame = Frame { nth, luma, worked_out: WorkedOut::default(), inverted: None, quality };
        let mut outcome = Outcome::default();
        // It always has its turn: a machine so busy that the time is over before it began must still read.
        take_a_look(&mut frame, &mut outcome, first, deadline, &mut evidence);
        outcomes.all.push(outcome);
        outcomes.keep(frame);
    }
    for &stage in dearer {
        for frame in &mut outcomes.best {
            if outcomes.all.iter().any(|outcome| !outcome.readings.is_empty()) || deadline.is_over() {
                return outcomes;
            }
            let Some(outcome) = outcomes.all.get_mut(frame.nth) else { continue };
            take_a_look(frame, outcome, stage, deadline, &mut evidence);
        }
    }
    outcomes
}

/// One stage's look at one frame, kept among its looks. A decoder that panics has seen nothing.
fn take_a_look(frame: &mut Frame, outcome: &mut Outcome, stage: Stage, deadline: Deadline, evidence: &mut Evidence) {
    let began = deadline.used();
    let (luma, worked_out) = if stage.is_inverted() {
        let (luma, worked_out) = frame.inverted.get_or_insert_with(|| (invert(&frame.luma), WorkedOut::default()));
        (&*luma, worked_out)
    } else {
        (&frame.luma, &mut frame.worked_out)
    };
    let view = View::with(luma, std::mem::take(worked_out));
    let seen = guarded(|| look(stage, &view, deadline));
    *worked_out = view.into_worked_out();
    let panicked = seen.is_none();
    let mut seen = seen.unwrap_or_default();
    let all = seen.read.len();
    seen.read.retain(|one| !one.text.is_empty());
    let (read, empty) = (seen.read.len(), all - seen.read.len());
    let elapsed = deadline.used().saturating_sub(began);
    let damaged = seen.traces.iter().filter(|trace| trace.why == Why::NotCorrected).count();
    outcome.looks.push(Look { stage, elapsed, read, damaged, empty, panicked });
    let traces = seen.traces.drain(..).take(trace::MOST);
    outcome.traces.extend(traces.map(|one| Trace { stage: Some(stage), ..one }));
    evidence.weigh(stage, frame.nth, &mut seen);
    outcome.readings.extend(seen.read.into_iter().map(|reading| (reading, stage)));
}

fn look(stage: Stage, view: &View<'_>, deadline: Deadline) -> Seen {
    match stage {
        Stage::Rxing => by_rxing(view, false, deadline),
        Stage::RxingHarder | Stage::InvertedRxingHarder => by_rxing(view, true, deadline),
        Stage::Rqrr => {
            let seen = qr::by_rqrr(view.luma);
            let read = seen.read.into_iter().map(Reading::of_square).collect();
            Seen { read, traces: not_corrected(&seen.damaged), ..Seen::default() }
        }
        Stage::Square | Stage::InvertedSquare => {
            let seen = square::read(view.luma, view.edges(), stage == Stage::Square, deadline);
            let read = seen.read.into_iter().map(Reading::of_square).collect();
            let trace = |one: &square::Seen| {
                Trace::of(Symbology::QrCode, &Corners(one.corners), Why::NotCorrected)
                    .with_modules(17 + 4 * one.version())
            };
            let traces = seen.unread.iter().map(trace).collect();
            Seen { read, traces, squares: seen.unread, ..Seen::default() }
        }
        Stage::Bars => {
            let mut seen = bars::read(view.grey(), view.edges(), deadline);
            reach_ends(&mut seen.read, view);
            let read = seen.read.into_iter().map(Reading::of_bars).collect();
            Seen { read, traces: not_confirmed(&seen.alone), bars: seen.alone, ..Seen::default() }
        }
    }
}

fn by_rxing(view: &View<'_>, harder: bool, deadline: Deadline) -> Seen {
    let mut bars = code128::read(view, if harder { Effort::Harder } else { Effort::Quick }, deadline);
    if harder && bars.is_empty() {
        let local = view.black_and_white().map(|matrix| code128::read(&Local(matrix), Effort::Harder, deadline));
        bars.extend(local.into_iter().flatten());
    }
    // noise makes patterns, and the check of Code 128 is one digit of 103: one row alone read false texts in dark frames
    let (mut bars, alone): (Vec<Bars>, Vec<Bars>) = bars.into_iter().partition(|one| one.confirmed);
    reach_ends(&mut bars, view);
    let seen = view.black_and_white().map(|matrix| qr::by_rxing(matrix, harder, deadline)).unwrap_or_default();
    let squares = seen.read.into_iter().map(Reading::of_square);
    let read = squares.chain(bars.into_iter().map(Reading::of_bars)).collect();
    let mut traces = not_confirmed(&alone);
    traces.extend(not_corrected(&seen.damaged));
    Seen { read, traces, ..Seen::default() }
}

fn not_corrected(damaged: &[Corners]) -> Vec<Trace> {
    damaged.iter().map(|corners| Trace::of(Symbology::QrCode, corners, Why::NotCorrected)).collect()
}

fn not_confirmed(alone: &[Bars]) -> Vec<Trace> {
    alone.iter().map(|one| Trace::of(Symbology::Code128, &one.corners, Why::NotConfirmed)).collect()
}

fn reach_ends(bars: &mut [Bars], view: &View<'_>) {
    let Some(matrix) = view.black_and_white().filter(|_| !bars.is_empty()) else { return };
    let black = |x: f32, y: f32| x >= 0.0 && y >= 0.0 && matrix.try_get(x as u32, y as u32).unwrap_or(false);
    bars.iter_mut().for_each(|one| one.reach_ends(black));
}

fn invert(luma: &GrayImage) -> GrayImage {
    let mut inverted = luma.clone();
    inverted.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
    inverted
}

/// The finder patterns of dark QR codes in sight: centre and width, in pixels.
pub(super) fn finder_patterns(view: &View<'_>) -> Vec<(f32, f32, f32)> {
    guarded(|| view.black_and_white().map(qr::finder_patterns)).flatten().unwrap_or_default()
}
