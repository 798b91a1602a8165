//! What a stranger's bytes do to the whole chain: every frame of a corpus, damaged in known ways, and what must never come of
//! it. The aim is nothing in every column but the first three.

use std::{collections::BTreeMap, error::Error, io::Cursor, panic::catch_unwind, path::PathBuf, time::Instant};

use image::ImageFormat;
use scanback::scan::{Clock, Limits, Stage, read_frame_by};

use crate::{camera::Random, frames::Truth};

/// A way of damaging a file.
type Damage = fn(&mut Vec<u8>, &mut Random);

const DAMAGES: [(&str, Damage); 11] = [
    ("whole", |_, _| {}),
    ("truncated", |file, random| file.truncate(random.below(file.len().max(1)))),
    ("one byte flipped", |file, random| flip(file, random, 1)),
    ("bytes flipped", |file, random| {
        let count = 2 + random.below(60);
        flip(file, random, count);
    }),
    ("header flipped", |file, random| {
        let most = file.len().min(64);
        for _ in 0..=random.below(4) {
            let at = random.below(most.max(1));
            file.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << random.below(8));
        }
    }),
    ("other size in its header", |file, random| {
        // a JPEG's frame header, baseline or progressive, a PNG's first chunk, a WebP's first frame
        let frame = file.windows(2).position(|two| two[0] == 0xff && matches!(two[1], 0xc0 | 0xc2)).map(|at| at + 5);
        let at = if file.starts_with(b"\x89PNG") { Some(16 + 2) } else { frame };
        for byte in at.into_iter().flat_map(|at| [at, at + 1, at + 2, at + 3]) {
            file.get_mut(byte).into_iter().for_each(|byte| *byte = random.below(256) as u8);
        }
    }),
    ("a piece repeated or gone", |file, random| {
        let (from, length) = (random.below(file.len().max(1)), 1 + random.below(4096));
        let to = (from + length).min(file.len());
        let piece: Vec<u8> = file.drain(from..to).collect();
        if random.below(2) == 0 {
            file.splice(from..from, piece.iter().chain(&piece).copied());
        }
    }),
    ("turned by EXIF", turn),
    ("EXIF, bytes of it flipped", |file, random| {
        turn(file, random);
        let exif = file.len().min(2 + EXIF.len() + 12);
        for _ in 0..=random.below(6) {
            let at = 2 + random.below(exif.saturating_sub(2).max(1));
            file.get_mut(at).into_iter().for_each(|byte| *byte = random.below(256) as u8);
        }
    }),
    ("as WebP", |file, _| recode(file, ImageFormat::WebP)),
    ("as WebP, bytes flipped", |file, random| {
        recode(file, ImageFormat::WebP);
        let count = 1 + random.below(8);
        flip(file, random, count);
    }),
];

/// An APP1 segment that says nothing but the orientation, up to its value.
const EXIF: &[u8] = b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0";

/// A JPEG that says to be shown turned or mirrored, in one of the eight ways.
fn turn(file: &mut Vec<u8>, random: &mut Random) {
    if !file.starts_with(b"\xff\xd8") {
        recode(file, ImageFormat::Jpeg);
    }
    let orientation = 1 + random.below(8) as u8;
    let segment = [EXIF, &[orientation, 0, 0, 0, 0, 0, 0]].concat();
    file.splice(file.len().min(2)..file.len().min(2), segment);
}

/// The same picture in another format.
fn recode(file: &mut Vec<u8>, format: ImageFormat) {
    let mut recoded = Cursor::new(Vec::new());
    if let Ok(picture) = image::load_from_memory(file)
        && picture.to_rgb8().write_to(&mut recoded, format).is_ok()
    {
        *file = recoded.into_inner();
    }
}

/// What came of one way of damaging.
#[derive(Default)]
struct Came {
    files: u32,
    refused: u32,
    read: u32,
    /// A text that the frame doesn't show.
    wrong: u32,
    /// A panic that reached the caller, and one of our own readers inside the guard.
    panics: u32,
    /// Longer than twice the budget, by the time of the core.
    hangs: u32,
    /// More pixels than allowed, or no reason where nothing was read.
    breaks: u32,
    slowest: f64,
}

/// Runs every frame through the chain in each of the ways, and prints a table.
pub(crate) fn run(frames: &[(Truth, PathBuf)], seed: u64, limits: &Limits) -> Result<(), Box<dyn Error>> {
    let mut table: BTreeMap<usize, Came> = BTreeMap::new();
    for (nth, (truth, path)) in (0_u64..).zip(frames) {
        let whole = std::fs::read(path)?;
        for (at, (damage, spoil)) in DAMAGES.iter().enumerate() {
            let mut random = Random::of(seed.wrapping_mul(1_000_003) ^ (nth * 64 + at as u64));
            let mut file = whole.clone();
            spoil(&mut file, &mut random);
            one(truth, damage, &file, limits, table.entry(at).or_default());
        }
    }
    println!("| damage | files | refused | read | other text | panics | hangs | limit breaks | slowest, ms |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (at, came) in &table {
        let Some((damage, _)) = DAMAGES.get(*at) else { continue };
        let Came { files, refused, read, wrong, panics, hangs, breaks, slowest } = came;
        println!(
            "| {damage} | {files} | {refused} | {read} | {wrong} | {panics} | {hangs} | {breaks} | {slowest:.0} |"
        );
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("not told here").trim();
    println!("\nmost memory of this process: {most}");
    Ok(())
}

fn one(truth: &Truth, damage: &str, file: &[u8], limits: &Limits, came: &mut Came) {
    came.files += 1;
    let began = Clock::Core.now(Instant::now());
    let Ok(answer) = catch_unwind(|| read_frame_by(file, limits, &Stage::CHAIN, Clock::Core)) else {
        came.panics += 1;
        println!("panic: {}, {damage}", truth.name);
        return;
    };
    let took = Clock::Core.now(Instant::now()).saturating_sub(began);
    came.slowest = came.slowest.max(took.as_secs_f64() * 1e3);
    if took > limits.budget * 2 {
        came.hangs += 1;
        println!("{} ms: {}, {damage}", took.as_millis(), truth.name);
    }
    let Ok((reading, luma)) = answer else {
        came.refused += 1;
        return;
    };
    let (width, height) = luma.dimensions();
    let beyond = u64::from(width) * u64::from(height) > limits.max_pixels || width.max(height) > limits.max_side;
    if beyond || reading.sight.is_some() != reading.symbols.is_empty() {
        came.breaks += 1;
        println!("limit: {width} x {height}, {}, {damage}", truth.name);
    }
    let own = |stage| matches!(stage, Stage::Bars | Stage::Square | Stage::InvertedSquare);
    if reading.looks.iter().any(|look| look.panicked && own(look.stage)) {
        came.panics += 1;
        println!("panic of our own reader: {}, {damage}", truth.name);
    }
    came.read += u32::from(!reading.symbols.is_empty());
    let shown = |text: &str| truth.text.as_deref() == Some(text) || truth.also.iter().any(|one| one == text);
    if reading.texts().iter().any(|text| !shown(&crate::frames::tidy(text.expose()))) {
        came.wrong += 1;
        println!("other text: {}, {damage}", truth.name);
    }
}

fn flip(file: &mut [u8], random: &mut Random, count: usize) {
    for _ in 0..count {
        let at = random.below(file.len().max(1));
        file.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 + random.below(255) as u8);
    }
}
