//! What a frame costs from its bytes to its subject, beside the decoder alone (unpacking to luma, and rxing's reader for one
//! code). `cargo bench --bench scan` prints a line a frame and the ratio of the sums: the aim is at most 1.15.
//!
//! rxing alone stops at the first bar code, and so never knows whether a QR code beside it says otherwise. `all` is the
//! decoder made to tell that too: its bars, then its squares.

mod measure;

use std::{
    collections::HashSet,
    hint::black_box,
    time::{Duration, Instant},
};

use rxing::{
    BarcodeFormat, BinaryBitmap, DecodeHints, Luma8LuminanceSource, MultiFormatReader, RXingResult, Reader,
    common::HybridBinarizer,
};
use scanback::{
    domain::code::decide,
    scan::{Limits, read_frame},
};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};

use measure::{FRAMES, Failure};

const ROUNDS: usize = 60;

fn main() -> Result<(), Failure> {
    println!(
        "{:28} {:>9} {:>9} {:>9} {:>7}",
        "frame, 1280 x 720, best of 60", "alone us", "all us", "ours us", "ratio"
    );
    let (mut sum_alone, mut sum_all, mut sum_ours) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for name in FRAMES {
        let frame = std::fs::read(format!("{}/fixtures/frames/{name}", env!("CARGO_MANIFEST_DIR")))?;
        if alone(&frame, &BOTH).is_none() || ours(&frame) == 0 {
            return Err(format!("{name} was not read").into());
        }
        let (mut best_alone, mut best_all, mut best_ours) = (Duration::MAX, Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            best_alone = best_alone.min(time(|| alone(&frame, &BOTH)));
            best_all = best_all.min(time(|| all(&frame)));
            best_ours = best_ours.min(time(|| ours(&frame)));
        }
        let ratio = best_ours.as_secs_f64() / best_alone.as_secs_f64();
        let [alone, all, ours] = [best_alone, best_all, best_ours].map(|best| best.as_micros());
        println!("{name:28} {alone:9} {all:9} {ours:9} {ratio:7.2}");
        sum_alone += best_alone;
        sum_all += best_all;
        sum_ours += best_ours;
    }
    let ratio = |to: Duration| sum_ours.as_secs_f64() / to.as_secs_f64();
    println!("ours / alone {:.2}, ours / all {:.2}", ratio(sum_alone), ratio(sum_all));
    Ok(())
}

const BOTH: [BarcodeFormat; 2] = [BarcodeFormat::QR_CODE, BarcodeFormat::CODE_128];

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    black_box(work());
    began.elapsed()
}

/// Bytes to subject, as the service does it for a frame whose numbers the ledger doesn't know.
fn ours(frame: &[u8]) -> usize {
    let Ok(reading) = read_frame(frame, &Limits::default()) else { return 0 };
    let subject = decide(reading.texts().into_iter().map(|text| (text, None::<()>)));
    black_box(subject.is_ok());
    reading.symbols.len()
}

/// Luma by zune-jpeg, then rxing's reader, harder where the quick look finds nothing.
fn alone(frame: &[u8], formats: &[BarcodeFormat]) -> Option<RXingResult> {
    let (luma, width, height) = unpacked(frame)?;
    let source = Luma8LuminanceSource::new(luma, width, height).ok()?;
    read(&mut BinaryBitmap::new(HybridBinarizer::new(source)), formats)
}

/// As [`alone`], and then also for the other kind of code.
fn all(frame: &[u8]) -> Option<RXingResult> {
    let (luma, width, height) = unpacked(frame)?;
    let source = Luma8LuminanceSource::new(luma, width, height).ok()?;
    let mut bitmap = BinaryBitmap::new(HybridBinarizer::new(source));
    let bars = look(&mut bitmap, &[BarcodeFormat::CODE_128], false);
    let square = look(&mut bitmap, &[BarcodeFormat::QR_CODE], false);
    square.or(bars).or_else(|| look(&mut bitmap, &BOTH, true))
}

type Bitmap = BinaryBitmap<HybridBinarizer<Luma8LuminanceSource>>;

fn read(bitmap: &mut Bitmap, formats: &[BarcodeFormat]) -> Option<RXingResult> {
    look(bitmap, formats, false).or_else(|| look(bitmap, formats, true))
}

fn look(bitmap: &mut Bitmap, formats: &[BarcodeFormat], harder: bool) -> Option<RXingResult> {
    let hints = DecodeHints {
        PossibleFormats: Some(HashSet::from_iter(formats.iter().copied())),
        TryHarder: Some(harder),
        ..DecodeHints::default()
    };
    MultiFormatReader::default().decode_with_hints(bitmap, &hints).ok()
}

fn unpacked(frame: &[u8]) -> Option<(Vec<u8>, u32, u32)> {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::Luma);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(frame), options);
    let luma = decoder.decode().ok()?;
    let (width, height) = decoder.dimensions()?;
    Some((luma, u32::try_from(width).ok()?, u32::try_from(height).ok()?))
}
