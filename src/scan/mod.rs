//! From a camera's bytes to the texts of the codes in it: QR Code and Code 128. Pure and synchronous: [`read_frame`] uses
//! one core for as long as its budget; [`ScanPool`] keeps that off the async threads, and its `queue` lets callers take turns.
//!
//! - `picture` checks the limits and unpacks to luma; `sight` measures why nothing was read, where a `trace` of a code is.
//! - `chain` runs the [`Stage`]s, cheapest first, under a `deadline`; `view` keeps what one has worked out for the next.
//!   - `qr` and `code128` are the readers of other makes (rxing, rqrr), `black` their black and white.
//!   - `regions` finds where in a picture a code could be; `grey` has pixels between pixels.
//!   - `square` is our own reader for QR codes: doubtful modules, an equaliser against blur, erasures against glare.
//!   - `bars` is our own reader for Code 128: means of lines at any angle, patterns fitted instead of widths counted.
//! - Of a burst, `quality` says which frames are worth the dear stages, `evidence` puts together what frames say.
//!
//! Never a wrong number: a QR code needs its error correction, and where that leaned on erasures, unused check codewords and
//! a text that ends as the standard says; bars from averaged lines need two strips that share none. What a text means is
//! not decided here: see [`crate::domain::code`].

mod bars;
mod black;
mod chain;
mod code128;
mod deadline;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(dead_code, clippy::unwrap_used, reason = "frames for tests and fuzz targets")]
mod draw;
mod evidence;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod grey;
mod guard;
mod picture;
mod place;
mod pool;
mod qr;
mod quality;
mod queue;
mod regions;
mod runs;
mod sight;
mod square;
mod trace;
mod view;

use std::time::{Duration, Instant};

use image::GrayImage;
use serde::Serialize;

use self::view::View;
pub use self::{
    chain::{Look, Stage},
    deadline::Clock,
    pool::{ScanError, ScanPool},
    sight::{Sight, Unread},
    trace::{Trace, Why},
};
use crate::domain::code::ScannedText;

/// The part of the budget that is kept for measuring why nothing was read: one in so many.
const SIGHT_SHARE: u32 = 15;

/// What a frame may cost. All but the budget are checked before a pixel is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub max_bytes: usize,
    /// Pixels of the picture.
    pub max_pixels: u64,
    /// Pixels of its longer side.
    pub max_side: u32,
    /// How long a request may take, all frames of a burst together, from unpacking the first to the reason why nothing was
    /// read. It is asked between frames and stages and, within these, between rows and candidates; the first frame is always
    /// unpacked and looked at once. By the clock on the wall.
    pub budget: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 8 << 20, max_pixels: 12_000_000, max_side: 8192, budget: Duration::from_millis(300) }
    }
}

/// The kind of a code (contract §2: `qr_code`, `code_128`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Symbology {
    /// QR Code.
    #[serde(rename = "qr_code")]
    QrCode,
    /// Code 128.
    #[serde(rename = "code_128")]
    Code128,
}

impl Symbology {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QrCode => "qr_code",
            Self::Code128 => "code_128",
        }
    }
}

/// One code found in a frame.
#[derive(Clone, Debug)]
pub struct Symbol {
    /// Its kind.
    pub symbology: Symbology,
    /// Its text, never empty.
    pub text: ScannedText,
    /// Its corners `[x, y]` clockwise from its own top left, in pixels of the picture as displayed. A code at the border may
    /// have corners outside. Of bars: as far up and down as rows could be read.
    pub corners: [[i32; 2]; 4],
    /// The stage that read it.
    pub stage: Stage,
}

/// Corners with fractions, as decoders give them.
pub(crate) struct Corners(pub(crate) [(f32, f32); 4]);

impl Corners {
    fn to_pixels(&self) -> [[i32; 2]; 4] {
        self.0.map(|(x, y)| [x.round() as i32, y.round() as i32])
    }
}

/// What a frame said.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The codes, each place once. Empty where nothing was read: then [`Self::sight`] says what was measured.
    pub symbols: Vec<Symbol>,
    /// Width in pixels, as displayed.
    pub width: u32,
    /// Height in pixels, as displayed.
    pub height: u32,
    /// How long unpacking took.
    pub unpacking: Duration,
    /// How long all but unpacking took, for all frames of a burst together.
    pub looking: Duration,
    /// Each stage that had its turn with this frame.
    pub looks: Vec<Look>,
    /// What could have been a code and was not read, in the order in which it was given up.
    pub traces: Vec<Trace>,
    /// Measured only where nothing was read, in no frame, and in the best of them.
    pub sight: Option<Sight>,
}

impl Reading {
    /// From bytes to answer.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.unpacking + self.looking
    }

    /// The texts, each once.
    #[must_use]
    pub fn texts(&self) -> Vec<ScannedText> {
        crate::domain::code::distinct(self.symbols.iter().map(|symbol| symbol.text.clone()))
    }
}

/// Why a frame was not looked at. Each names the cause and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not one of the three kinds of picture.
    #[error("the frame is not an image that can be read ({found}): send a JPEG, PNG or WebP")]
    NotAnImage {
        /// What it is, if that is known.
        found: &'static str,
    },
    /// The file is too large.
    #[error("the frame has {bytes} bytes, at most {max} are taken: send a smaller picture or compress it more")]
    TooManyBytes {
        /// Bytes sent.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The picture says that it is too large; it was not unpacked.
    #[error(
        "the frame has {width} x {height} pixels, at most {max_pixels} in all and {max_side} a side are taken: send a \
         smaller picture"
    )]
    TooManyPixels {
        /// Width by its header.
        width: usize,
        /// Height by its header.
        height: usize,
        /// Pixels allowed a side.
        max_side: u32,
        /// Pixels allowed.
        max_pixels: u64,
    },
    /// It begins like an image and can't be unpacked.
    #[error("the frame is damaged ({why}): send it again")]
    Damaged {
        /// What its decoder says.
        why: String,
    },
}

impl FrameError {
    /// The code of contract §3: `frame_too_large` for a limit, else `frame_unreadable`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooManyBytes { .. } | Self::TooManyPixels { .. } => "frame_too_large",
            Self::NotAnImage { .. } | Self::Damaged { .. } => "frame_unreadable",
        }
    }
}

/// Reads all codes in a frame. Pure, and busy for up to its budget: off the async threads, see [`ScanPool`].
///
/// That nothing was read is no error here: the answer says what was measured.
/// # Errors
/// [`FrameError`] where the bytes are no picture that may be unpacked.
pub fn read_frame(bytes: &[u8], limits: &Limits) -> Result<Reading, FrameError> {
    read_frame_by(bytes, limits, &Stage::CHAIN, Clock::Wall).map(|(reading, _)| reading)
}

/// [`read_frame`] by stages and a clock of one's own choice, and the pixels that were looked at.
/// # Errors
/// As [`read_frame`].
pub fn read_frame_by(
    bytes: &[u8],
    limits: &Limits,
    stages: &[Stage],
    clock: Clock,
) -> Result<(Reading, GrayImage), FrameError> {
    let one = read_burst_by(&[bytes], limits, stages, clock)?.pop();
    let (reading, luma) = one.ok_or_else(|| FrameError::Damaged { why: "nothing came of it".to_owned() })?;
    Ok((reading, luma.unwrap_or_default())) // one frame is among the best
}

/// Reads all codes in the frames of one moment, which show the same thing: one budget for all. The cheapest stage looks at
/// each of them, dearer ones at the best, and what no frame shows well enough alone is put together.
///
/// One frame is in memory as pixels at a time, and the best three. One answer for each frame that is a picture, in their order;
/// frames that the time didn't reach have none. A code that was read by several frames together is in the last of them.
/// # Errors
/// [`FrameError`] of the last frame where none can be unpacked.
pub fn read_burst(frames: &[&[u8]], limits: &Limits) -> Result<Vec<Reading>, FrameError> {
    let answers = read_burst_by(frames, limits, &Stage::CHAIN, Clock::Wall)?;
    Ok(answers.into_iter().map(|(reading, _)| reading).collect())
}

/// [`read_burst`] by stages and a clock of one's own choice, and the pixels of the best frames.
/// # Errors
/// As [`read_burst`].
pub fn read_burst_by(
    frames: &[&[u8]],
    limits: &Limits,
    stages: &[Stage],
    clock: Clock,
) -> Result<Vec<(Reading, Option<GrayImage>)>, FrameError> {
    let request = deadline::Deadline::after(limits.budget, clock);
    let (mut unpacked, mut refused) = (Vec::new(), None);
    let mut left = frames.iter();
    // One picture at a time, when the chain asks for it. The first is unpacked to its end; it is bounded by its size.
    let pictures = std::iter::from_fn(|| {
        while let Some(bytes) = left.next().filter(|_| unpacked.is_empty() || !request.is_over()) {
            let began = Instant::now();
            match picture::unpack(bytes, limits) {
                Ok(luma) => {
                    unpacked.push((began.elapsed(), luma.dimensions()));
                    return Some(luma);
                }
                Err(error) => refused = Some(error),
            }
        }
        None
    });
    let mut outcomes = chain::run(pictures, frames.len(), stages, request.less(limits.budget / SIGHT_SHARE));
    if let Some(error) = refused.filter(|_| unpacked.is_empty()) {
        return Err(error);
    }
    let mut sight = None;
    if outcomes.nothing_read()
        && let Some(best) = outcomes.best.first_mut()
        && let Some(outcome) = outcomes.all.get_mut(best.nth)
    {
        let view = View::with(&best.luma, std::mem::take(&mut best.worked_out));
        sight = Some((best.nth, Sight::of(&view, &mut outcome.traces)));
    }
    let unpacking = unpacked.iter().map(|(time, _)| *time).sum();
    let looking = request.used().saturating_sub(unpacking);
    let mut pixels: Vec<Option<GrayImage>> = unpacked.iter().map(|_| None).collect();
    for best in outcomes.best {
        pixels[best.nth] = Some(best.luma);
    }
    let answers = outcomes.all.into_iter().zip(unpacked).zip(pixels).enumerate();
    let answer = |(nth, ((outcome, (unpacking, (width, height))), luma)): (usize, ((chain::Outcome, _), _))| {
        let symbol = |(one, stage): (chain::Reading, Stage)| {
            let text = ScannedText::new(one.text)?;
            Some(Symbol { symbology: one.symbology, text, corners: one.corners.to_pixels(), stage })
        };
        let symbols = outcome.readings.into_iter().filter_map(symbol).collect();
        let sight = sight.filter(|(of, _)| *of == nth).map(|(_, sight)| sight);
        let (looks, traces) = (outcome.looks, outcome.traces);
        (Reading { symbols, width, height, unpacking, looking, looks, traces, sight }, luma)
    };
    Ok(answers.map(answer).collect())
}

#[cfg(test)]
mod tests;
