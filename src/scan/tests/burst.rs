//! Bursts: one budget, one chain, evidence that adds up.

use image::{GrayImage, Luma};

use super::{
    draw::{paper, png, qr},
    *,
};

const MODULE: u32 = 6;

/// A code of which a rectangle, in modules, is covered in even grey.
fn covered(left: u32, top: u32, width: u32, height: u32) -> Vec<u8> {
    let mut frame: GrayImage = paper(400, 300);
    qr(&mut frame, "SO20260711ABCDEFGH1234567ABCDEFGH1234567ABCD", 90, 60, MODULE);
    for y in 60 + top * MODULE..60 + (top + height) * MODULE {
        for x in 90 + left * MODULE..90 + (left + width) * MODULE {
            frame.put_pixel(x, y, Luma([130]));
        }
    }
    png(frame)
}

fn read(frames: &[&[u8]]) -> Vec<String> {
    let readings = read_burst(frames, &UNHURRIED).unwrap();
    readings.iter().flat_map(Reading::texts).map(|text| text.expose().to_owned()).collect()
}

#[test]
fn what_no_frame_shows_whole_is_read_from_two() {
    let (one, two) = (covered(9, 8, 11, 21), covered(19, 8, 10, 21));
    assert!(read(&[&one]).is_empty() && read(&[&two]).is_empty());
    assert_eq!(read(&[&one, &two]), ["SO20260711ABCDEFGH1234567ABCDEFGH1234567ABCD"]);
    // The same frame twice is no more evidence than once.
    assert!(read(&[&one, &one]).is_empty());
}

#[test]
fn a_frame_that_is_no_picture_is_left_out_unless_all_are_none() {
    let whole = covered(0, 0, 0, 0);
    assert_eq!(read(&[b"no picture", &whole]), ["SO20260711ABCDEFGH1234567ABCDEFGH1234567ABCD"]);
    let error = read_burst(&[b"no picture", b"GIF89a"], &UNHURRIED).unwrap_err();
    assert!(matches!(error, FrameError::NotAnImage { .. }));
}

#[test]
fn frames_that_show_different_codes_both_speak() {
    let whole = covered(0, 0, 0, 0);
    let mut other = paper(400, 300);
    qr(&mut other, "SO20260711OTHER", 40, 40, MODULE);
    assert_eq!(read(&[&whole, &png(other)]), ["SO20260711ABCDEFGH1234567ABCDEFGH1234567ABCD", "SO20260711OTHER"]);
}

#[test]
fn a_burst_has_one_budget() {
    let empty = png(paper(400, 300));
    let limits = Limits { budget: Duration::ZERO, ..UNHURRIED };
    let readings = read_burst(&[&empty, &empty, &empty], &limits).unwrap();
    assert!(readings.iter().all(|reading| reading.looks.len() == 1), "the first stage sees all, the others none");
    assert!(readings.iter().all(|reading| reading.sight.is_some()));
}
