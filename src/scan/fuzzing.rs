//! What must hold for any bytes that a camera sends, and for any pixels: for `fuzz/`, and for the seeds in the ordinary tests
//! ([`crate::fuzzing`]). Each panics where a promise is broken.

use std::time::Duration;

use image::{GrayImage, Luma};

use super::{
    Clock, Limits, Stage, bars as own_bars, deadline::Deadline, draw, read_frame_by, square as own, view::View,
};

/// Small, so that a run tries many frames.
const LIMITS: Limits =
    Limits { max_bytes: 1 << 20, max_pixels: 1 << 20, max_side: 4096, budget: Duration::from_millis(100) };

/// What is drawn has at most so many characters, so that it stays small.
const LONGEST: usize = 48;
/// Characters, each drawn as one of Code 128, that our own reader takes for enough.
const SHORTEST: usize = 3;
/// Modules that are made to lie: level M mends more than that in the smallest code.
const LIES: usize = 3;

/// The whole way from bytes: refused for a reason, or read within the limits; and none of our own readers panics, as others
/// may, inside the guard.
pub fn frame(bytes: &[u8]) {
    let Ok((reading, luma)) = read_frame_by(bytes, &LIMITS, &Stage::CHAIN, Clock::Wall) else { return };
    let (width, height) = luma.dimensions();
    assert_eq!((width, height), (reading.width, reading.height));
    assert!(u64::from(width) * u64::from(height) <= LIMITS.max_pixels && width.max(height) <= LIMITS.max_side);
    for look in &reading.looks {
        let own = matches!(look.stage, Stage::Square | Stage::InvertedSquare | Stage::Bars);
        assert!(!(own && look.panicked), "{:?} panicked", look.stage);
    }
    assert_eq!(reading.sight.is_some(), reading.symbols.is_empty(), "why nothing was read is said, and only then");
}

/// Our own reader for squares: on any pixels; and a drawn code of any text is read as it is, with some modules that lie as it
/// is or not at all.
pub fn square(bytes: &[u8]) {
    let Some((&[choice, noise @ ..], rest)) = bytes.split_first_chunk::<4>() else { return };
    if choice & 1 == 0 {
        read_squares(&pixels(rest, noise));
        return;
    }
    let text = printable(rest);
    let mut frame = draw::paper(240, 240);
    let [[left, top], _, [right, _], _] = draw::qr(&mut frame, &text, 24, 24, 4);
    assert_eq!(read_squares(&frame), [text.as_str()], "a clean code");
    let modules = (right - left) as u32 / 4;
    for lie in noise.iter().take(LIES) {
        let (x, y) = (u32::from(*lie) * 7 % modules, u32::from(*lie) * 11 % modules);
        let black = frame.get_pixel(left as u32 + x * 4, top as u32 + y * 4).0[0] == 0;
        let to = Luma([if black { 255 } else { 0 }]);
        for (across, down) in (0..16).map(|at| (at % 4, at / 4)) {
            frame.put_pixel(left as u32 + x * 4 + across, top as u32 + y * 4 + down, to);
        }
    }
    assert!(read_squares(&frame).iter().all(|read| *read == text), "a false text of {text:?}");
}

/// Our own reader for bars: on any pixels; and drawn bars of any text are read as they are, but for the shortest, which are too
/// little evidence for it.
pub fn bars(bytes: &[u8]) {
    let Some((&[choice, shape @ ..], rest)) = bytes.split_first_chunk::<4>() else { return };
    if choice & 1 == 0 {
        read_bars(&pixels(rest, shape));
        return;
    }
    let text = printable(&rest[..rest.len().min(LONGEST / 3)]);
    let module = 2 + u32::from(shape[0] % 3);
    let mut frame = draw::paper((text.len() as u32 * 11 + 80) * module, 120);
    draw::bars(&mut frame, &text, 20 * module, 20, module, 80);
    let in_pairs = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_digit());
    let characters = if in_pairs { text.len() / 2 } else { text.len() };
    let expected: &[&str] = if characters < SHORTEST { &[] } else { &[&text] };
    assert_eq!(read_bars(&frame), expected, "clean bars");
}

fn read_squares(frame: &GrayImage) -> Vec<String> {
    let view = View::of(frame);
    own::read(frame, view.edges(), true, deadline()).read.into_iter().map(|one| one.text).collect()
}

fn read_bars(frame: &GrayImage) -> Vec<String> {
    let view = View::of(frame);
    own_bars::read(view.grey(), view.edges(), deadline()).read.into_iter().map(|one| one.text).collect()
}

/// What is clean is read well within it, by the time of the core: a machine that does other things takes none of it.
fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(1), Clock::Core)
}

/// A picture of these bytes, row by row and over again: so wide, each as large, each row so often.
fn pixels(bytes: &[u8], [width, larger, rows]: [u8; 3]) -> GrayImage {
    let (width, larger) = (u32::from(width % 96).max(1), 1 + u32::from(larger % 4));
    let height = (bytes.len() as u32 * (1 + u32::from(rows % 4))).div_ceil(width).min(64);
    GrayImage::from_fn(width * larger, height * larger, |x, y| {
        let at = (y / larger * width + x / larger) as usize;
        Luma([bytes[at % bytes.len()]]) // no row of no bytes: then the height is nothing
    })
}

/// Some text of these bytes that every code can hold.
fn printable(bytes: &[u8]) -> String {
    let text: String = bytes.iter().take(LONGEST).map(|byte| char::from(b' ' + byte % 95)).collect();
    if text.is_empty() { "0".to_owned() } else { text }
}
