//! Bursts: one budget, one chain, evidence that adds up.

use image::GrayImage;

use super::{
    draw::{paper, png, qr},
    *,
};

const MODULE: u32 = 6;

const TEXT: &str = "SO20260711ABCDEFGH1234567";

fn whole() -> Vec<u8> {
    let mut frame: GrayImage = paper(400, 300);
    qr(&mut frame, TEXT, 90, 60, MODULE);
    png(frame)
}

fn read(frames: &[&[u8]]) -> Vec<String> {
    let readings = read_burst(frames, &UNHURRIED).unwrap();
    readings.iter().flat_map(Reading::texts).map(|text| text.expose().to_owned()).collect()
}

#[test]
fn a_frame_that_is_no_picture_is_left_out_unless_all_are_none() {
    let whole = whole();
    assert_eq!(read(&[b"no picture", &whole]), [TEXT]);
    let error = read_burst(&[b"no picture", b"GIF89a"], &UNHURRIED).unwrap_err();
    assert!(matches!(error, FrameError::NotAnImage { .. }));
}

#[test]
fn frames_that_show_different_codes_both_speak() {
    let whole = whole();
    let mut other = paper(400, 300);
    qr(&mut other, "SO20260711OTHER", 40, 40, MODULE);
    assert_eq!(read(&[&whole, &png(other)]), [TEXT, "SO20260711OTHER"]);
}

#[test]
fn a_burst_has_one_budget() {
    let empty = png(paper(400, 300));
    let limits = Limits { budget: Duration::ZERO, ..UNHURRIED };
    let readings = read_burst(&[&empty, &empty, &empty], &limits).unwrap();
    assert_eq!(readings.len(), 1, "the first is unpacked whatever it costs, the others are not");
    assert_eq!(readings[0].looks.len(), 1, "and the first stage sees it");
    assert!(readings[0].sight.is_some());
}

#[test]
fn of_many_frames_the_pixels_of_the_best_three_are_kept() {
    let empty = |shade| png(GrayImage::from_fn(400, 300, |x, _| image::Luma([if x % 50 < 25 { 255 } else { shade }])));
    let frames: Vec<Vec<u8>> = [250, 0, 200, 100, 220, 50, 240, 210].map(empty).into();
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let answers = read_burst_by(&frames, &UNHURRIED, &[Stage::Rxing], Clock::Wall).unwrap();
    let kept: Vec<bool> = answers.iter().map(|(_, pixels)| pixels.is_some()).collect();
    assert_eq!(kept, [false, true, false, true, false, true, false, false]);
    let sights: Vec<bool> = answers.iter().map(|(reading, _)| reading.sight.is_some()).collect();
    assert_eq!(sights, [false, true, false, false, false, false, false, false], "the sharpest tells why");
}
