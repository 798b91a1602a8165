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
    assert!(readings.iter().all(|reading| reading.looks.len() == 1), "the first stage sees all, the others none");
    assert!(readings.iter().all(|reading| reading.sight.is_some()));
}
