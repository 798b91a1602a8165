//! Whether a frame that can't be read is told the right reason: frames with one known fault, made worse until nothing is
//! read, and the reason that the scanner measures, as a table.

use std::{collections::BTreeMap, error::Error, path::Path, time::Duration};

use image::{DynamicImage, GrayImage, codecs::jpeg::JpegEncoder, imageops};
use scanback::scan::{Clock, Limits, Reading, Stage, read_frame_by};

use crate::camera::{Hardship, Kind, at_severity};

/// A fault and the reasons that are right for it.
const FAULTS: [(&str, &[&str]); 8] = [
    ("dark", &["dark"]),
    ("glare", &["glare"]),
    ("defocus", &["blurred"]),
    ("motion", &["blurred"]),
    ("far", &["far"]),
    ("cut off", &["cut off"]),
    ("dirt", &["damaged"]),
    ("nothing", &["none"]),
];

const REASONS: [&str; 8] = ["dark", "glare", "blurred", "far", "cut off", "damaged", "none", "(always read)"];

/// Prints, for `count` frames of each fault and symbology, what reasons they were told.
pub(crate) fn run(seed: u64, count: usize, misses: Option<&str>, only: &str) -> Result<(), Box<dyn Error>> {
    let mut table: BTreeMap<(usize, bool), BTreeMap<&str, u32>> = BTreeMap::new();
    for (at, (fault, right)) in FAULTS.into_iter().enumerate().filter(|(_, (fault, _))| fault.contains(only)) {
        for bars in [false, true] {
            for nth in 0..count {
                let of = seed.wrapping_mul(1_000_003).wrapping_add((at * 2 + usize::from(bars)) as u64 * 10_007);
                let unread = unreadable(fault, bars, of + nth as u64)?;
                let reason = unread
                    .as_ref()
                    .and_then(|(reading, _)| reading.sight.map(|sight| sight.reason.as_str()))
                    .unwrap_or("(always read)");
                *table.entry((at, bars)).or_default().entry(reason).or_default() += 1;
                if let (Some(folder), Some((reading, luma))) = (misses, &unread)
                    && !right.contains(&reason)
                {
                    let name = format!("{fault}-{}-{nth}-is-{reason}.png", if bars { "bars" } else { "qr" });
                    luma.save(Path::new(folder).join(name.replace(' ', "-")))?;
                    println!("{fault}, {}, {nth}: {reason}; {:?}", if bars { "bars" } else { "QR" }, reading.sight);
                }
            }
        }
    }
    println!("| fault | code | {} | right |", REASONS.join(" | "));
    println!("|---|---{}|---|", "|---".repeat(REASONS.len()));
    let (mut all_right, mut all) = (0, 0);
    for ((at, bars), told) in &table {
        let Some((fault, right)) = FAULTS.get(*at) else { continue };
        let of = |reason: &str| told.get(reason).copied().unwrap_or(0);
        let cells: Vec<String> = REASONS.iter().map(|reason| of(reason).to_string()).collect();
        let unread = told.values().sum::<u32>() - of("(always read)");
        let good: u32 = right.iter().map(|reason| of(reason)).sum();
        all_right += good;
        all += unread;
        let code = if *bars { "Code 128" } else { "QR" };
        println!("| {fault} | {code} | {} | {good} of {unread} |", cells.join(" | "));
    }
    println!("\nright: {all_right} of {all} = {:.1} %", f64::from(all_right) / f64::from(all.max(1)) * 100.0);
    Ok(())
}

/// The mildest frame with a fault in which nothing is read; `None` where even the worst is read.
fn unreadable(fault: &str, bars: bool, seed: u64) -> Result<Option<(Reading, GrayImage)>, Box<dyn Error>> {
    // Reasons must not hang on how busy the machine is.
    let limits = Limits { budget: Duration::from_millis(300), ..Limits::default() };
    for step in 1..=7_u32 {
        let file = faulty(fault, bars, seed, step)?;
        let (reading, luma) = read_frame_by(&file, &limits, &Stage::CHAIN, Clock::Core)?;
        if reading.symbols.is_empty() {
            return Ok(Some((reading, luma)));
        }
    }
    Ok(None)
}

/// A frame with a fault, worse with every step from 1.
fn faulty(fault: &str, bars: bool, seed: u64, step: u32) -> Result<Vec<u8>, Box<dyn Error>> {
    let taken = |hardship, severity| -> Result<Vec<u8>, Box<dyn Error>> {
        let mut frames = at_severity(Kind { bars, hardship }, seed, severity)?;
        Ok(frames.pop().ok_or("no frame")?.file)
    };
    match fault {
        "dark" => taken(Hardship::Lowlight, 2 + step),
        "glare" => taken(Hardship::Glare, 2 * step),
        "defocus" => taken(Hardship::Defocus, 2 + step),
        "motion" => taken(Hardship::Motion, 2 + step),
        "dirt" => taken(Hardship::Occlusion, 2 * step),
        "nothing" => taken(Hardship::Clean, 0),
        "far" => {
            let luma = image::load_from_memory(&taken(Hardship::Clean, 1)?)?.into_luma8();
            let share = 1.0 / (1.0 + 0.4 * step as f32);
            let small = |side: u32| ((side as f32 * share) as u32).max(8);
            let (width, height) = (small(luma.width()), small(luma.height()));
            let small = imageops::resize(&luma, width, height, imageops::FilterType::Triangle);
            // What else is in sight is out of focus and far as well: a wall of one shade.
            let mut wide = GrayImage::from_pixel(luma.width(), luma.height(), image::Luma([96]));
            let middle = |side: u32, part: u32| i64::from((side - part) / 2);
            imageops::overlay(&mut wide, &small, middle(luma.width(), width), middle(luma.height(), height));
            jpeg(&wide)
        }
        "cut off" => {
            let luma = image::load_from_memory(&taken(Hardship::Clean, 1)?)?.into_luma8();
            // The border moves over the middle of the frame, near which the code is.
            let share = 0.75 - 0.08 * step as f32;
            let width = (luma.width() as f32 * share) as u32;
            let left = if seed.is_multiple_of(2) { 0 } else { luma.width() - width };
            jpeg(&imageops::crop_imm(&luma, left, 0, width, luma.height()).to_image())
        }
        other => Err(format!("no fault {other}").into()),
    }
}

fn jpeg(luma: &GrayImage) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut file = std::io::Cursor::new(Vec::new());
    DynamicImage::ImageLuma8(luma.clone()).write_with_encoder(JpegEncoder::new_with_quality(&mut file, 85))?;
    Ok(file.into_inner())
}
