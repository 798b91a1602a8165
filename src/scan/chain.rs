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
    view::{Local, View},
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

/// A frame and what was worked out for it.
struct Frame<'a> {
    view: View<'a>,
    inverted: Option<GrayImage>,
    outcome: Outcome,
}

/// Runs `stages` until one reads something or the time is over. One outcome a frame; every look is kept, for those who ask
/// why.
pub(super) fn run(frames: &[GrayImage], stages: &[Stage], deadline: Deadline) -> Vec<Outcome> {
    let frame = |luma| Frame { view: View::of(luma), inverted: None, outcome: Outcome::default() };
    let mut frames: Vec<Frame<'_>> = frames.iter().map(frame).collect();
    let mut evidence = Evidence::default();
    let mut best: Vec<usize> = Vec::new();
    for (nth, &stage) in stages.iter().enumerate() {
        if nth == 1 {
            best = quality::best_first(frames.iter().map(|frame| frame.view.luma));
            best.truncate(BEST_FRAMES);
        }
        let order: Vec<usize> = if nth == 0 { (0..frames.len()).collect() } else { best.clone() };
        for at in order {
            // The first stage always has its turn: a machine so busy that the time is over before it began must still read.
            if nth > 0 && deadline.is_over() {
                return outcomes(frames);
            }
            let Some(frame) = frames.get_mut(at) else { continue };
            let mut seen = take_a_look(frame, stage, deadline);
            evidence.weigh(stage, at, &mut seen);
            frame.outcome.readings.extend(seen.read.into_iter().map(|reading| (reading, stage)));
            if nth > 0 && !frame.outcome.readings.is_empty() {
                return outcomes(frames);
            }
        }
        if frames.iter().any(|frame| !frame.outcome.readings.is_empty()) {
            break;
        }
    }
    outcomes(frames)
}

fn outcomes(frames: Vec<Frame<'_>>) -> Vec<Outcome> {
    frames.into_iter().map(|frame| frame.outcome).collect()
}

/// One stage's look at one frame, kept among its looks. A decoder that panics has seen nothing.
fn take_a_look(frame: &mut Frame<'_>, stage: Stage, deadline: Deadline) -> Seen {
    let began = deadline.used();
    let seen = if stage.is_inverted() {
        let inverted = frame.inverted.get_or_insert_with(|| invert(frame.view.luma));
        guarded(|| look(stage, &View::of(inverted), deadline))
    } else {
        guarded(|| look(stage, &frame.view, deadline))
    };
    let panicked = seen.is_none();
    let mut seen = seen.unwrap_or_default();
    let all = seen.read.len();
    seen.read.retain(|one| !one.text.is_empty());
    let (read, empty) = (seen.read.len(), all - seen.read.len());
    let elapsed = deadline.used() - began;
    let damaged = seen.traces.iter().filter(|trace| trace.why == Why::NotCorrected).count();
    frame.outcome.looks.push(Look { stage, elapsed, read, damaged, empty, panicked });
    let traces = seen.traces.drain(..).take(trace::MOST);
    frame.outcome.traces.extend(traces.map(|one| Trace { stage: Some(stage), ..one }));
    seen
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
pub(super) fn finder_patterns(luma: &GrayImage) -> Vec<(f32, f32, f32)> {
    let view = View::of(luma);
    guarded(|| view.black_and_white().map(qr::finder_patterns)).flatten().unwrap_or_default()
}
