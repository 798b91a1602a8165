//! What the scanner reads, and what other readers do, on the same frames in the same run: the tables of
//! docs/scan-measured.md.
//!
//! ```text
//! cargo run --release --example scan_score -- corpus MANIFEST [--part N/M | --without N/M]
//! cargo run --release --example scan_score -- fresh SEED
//! cargo run --release --example scan_score -- bursts SEED COUNT
//! cargo run --release --example scan_score -- guidance SEED COUNT
//! cargo run --release --example scan_score -- damaged MANIFEST SEED
//! ```
//!
//! `--part 0/3` takes the third of the corpus that a hash of the names picks, `--without 0/3` the rest. `--core` counts the
//! budget by the time of the core instead of the wall's, for a machine that does other work too. `--budget MS` is 300
//! otherwise. `--peers` also runs zxing-cpp (PyPI; needs `python3` with it) and zbarimg (Debian) where present. `--misses`
//! lists what was not read (`guidance`: what was told wrongly, as a PNG in the folder that follows), `--only TEXT` takes the frames with that in their names.

#[path = "../camera/mod.rs"]
mod camera;
mod damaged;
mod frames;
mod guidance;
mod peers;
mod score;

use std::{error::Error, time::Duration};

use scanback::scan::{Clock, Limits, Stage, read_burst_by};

use frames::Truth;
use peers::Peers;
use score::{Board, Said};

const HARD: [&str; 4] = ["glare", "motion", "defocus", "lowlight"];
const FRAMES_A_BURST: usize = 3;

/// How to look.
struct Manner {
    limits: Limits,
    clock: Clock,
    misses: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|one| one == name);
    let value = |name: &str| arguments.iter().position(|one| one == name).and_then(|at| arguments.get(at + 1));
    let budget = value("--budget").map_or(Ok(300), |ms| ms.parse())?;
    let limits = Limits { budget: Duration::from_millis(budget), ..Limits::default() };
    let clock = if has("--core") { Clock::Core } else { Clock::Wall };
    let manner = Manner { limits, clock, misses: has("--misses") };
    let mut peers = if has("--peers") { Peers::present() } else { Peers::none() };
    let only = value("--only").map_or("", String::as_str);
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["corpus", manifest, ..] => {
            let part = value("--part").map(|part| (part, true)).or(value("--without").map(|part| (part, false)));
            let corpus = frames::of_manifest(manifest)?.into_iter().filter(|(truth, _)| truth.name.contains(only));
            let mut board = Board::default();
            for (truth, path) in corpus {
                if part.map_or(Ok(true), |(part, inside)| frames::is_in(&truth.name, part).map(|is| is == inside))? {
                    score_frames(&truth, &[std::fs::read(path)?], &manner, &mut peers, &mut board)?;
                }
            }
            board.print();
        }
        ["fresh", seed, ..] => {
            let seed: u64 = seed.parse()?;
            let mut board = Board::default();
            for (kind, truth, burst) in frames::fresh(seed, 1, None) {
                if truth.name.contains(only) {
                    let frame = burst(kind)?;
                    score_frames(&truth.with(&frame), &files(&frame), &manner, &mut peers, &mut board)?;
                }
            }
            board.print();
        }
        ["bursts", seed, count, ..] => {
            let (seed, count): (u64, usize) = (seed.parse()?, count.parse()?);
            let mut board = Board::default();
            for (kind, truth, burst) in frames::fresh(seed, FRAMES_A_BURST, Some(count)) {
                if HARD.iter().any(|hard| truth.category.ends_with(hard)) && truth.name.contains(only) {
                    let frames = burst(kind)?;
                    score_frames(&truth.with(&frames), &files(&frames), &manner, &mut Peers::none(), &mut board)?;
                }
            }
            board.print();
        }
        ["guidance", seed, count, ..] => {
            guidance::run(seed.parse()?, count.parse()?, value("--misses").map(String::as_str), only)?;
        }
        ["damaged", manifest, seed, ..] => {
            let mut corpus = frames::of_manifest(manifest)?;
            corpus.retain(|(truth, _)| truth.name.contains(only));
            damaged::run(&corpus, seed.parse()?, &manner.limits)?;
        }
        _ => {
            return Err("scan_score corpus MANIFEST | fresh SEED | bursts SEED COUNT | guidance SEED COUNT | damaged MANIFEST SEED"
                .into());
        }
    }
    Ok(())
}

fn files(frames: &[camera::Frame]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| frame.file.clone()).collect()
}

/// Looks at the frames of one code, by the scanner and by every peer, and notes what they said.
fn score_frames(
    truth: &Truth,
    files: &[Vec<u8>],
    manner: &Manner,
    peers: &mut Peers,
    board: &mut Board,
) -> Result<(), Box<dyn Error>> {
    let bytes: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let answers = read_burst_by(&bytes, &manner.limits, &Stage::CHAIN, manner.clock)?;
    let texts: Vec<String> =
        answers.iter().flat_map(|(reading, _)| reading.texts()).map(|text| text.expose().to_owned()).collect();
    let Some((first, pixels)) = answers.first() else { return Ok(()) };
    let looking = first.looking.as_secs_f64() * 1e3;
    let unpacking = first.unpacking.as_secs_f64() * 1e3;
    board.stages(answers.iter().flat_map(|(reading, _)| &reading.looks));
    let right = board.note("scanback", truth, &Said { texts, looking, unpacking });
    if manner.misses && !right {
        println!("not as the truth: {}", truth.name);
    }
    let Some(luma) = pixels else { return Ok(()) };
    for (name, said) in peers.read(luma)? {
        board.note(name, truth, &said);
    }
    Ok(())
}
