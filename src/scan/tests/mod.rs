//! Promises of the scanner: what it reads and where (`reading`, `burst`), what it refuses (`refusing`), and what it says where
//! nothing is read (`guiding`). `draw` makes frames.

mod burst;
mod guiding;
mod reading;
mod refusing;

use std::time::Duration;

use super::{draw, *};

/// No test waits for a clock: the stages end by themselves.
const UNHURRIED: Limits =
    Limits { max_bytes: 8 << 20, max_pixels: 12_000_000, max_side: 8192, budget: Duration::from_secs(600) };

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/fixtures/frames/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Kind and text of what is read, sorted.
fn texts_in(frame: &[u8]) -> Vec<(&'static str, String)> {
    let reading = read_frame(frame, &UNHURRIED).unwrap();
    let symbols = reading.symbols.iter();
    let mut texts: Vec<_> = symbols.map(|one| (one.symbology.as_str(), one.text.expose().to_owned())).collect();
    texts.sort();
    texts
}

/// That each corner is within `pixels` of where it was drawn.
fn assert_corners(symbol: &Symbol, drawn: [[i32; 2]; 4], pixels: i32) {
    let near = |(one, two): (&[i32; 2], &[i32; 2])| one.iter().zip(two).all(|(one, two)| (one - two).abs() <= pixels);
    assert!(
        symbol.corners.iter().zip(&drawn).all(near),
        "{:?}: {:?}, drawn at {drawn:?}",
        symbol.stage,
        symbol.corners
    );
}
