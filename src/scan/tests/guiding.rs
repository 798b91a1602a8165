//! What a cashier is told where nothing was read, on drawn frames with one fault each.

use image::{Luma, imageops};

use super::{draw::*, *};

const CODE: &str = "134567890123456789";

fn sight(frame: GrayImage) -> Sight {
    let reading = read_frame(&png(frame), &UNHURRIED).unwrap();
    assert!(reading.symbols.is_empty(), "it was read after all: {reading:?}");
    reading.sight.unwrap()
}

/// A counter in grey on which a white sheet with a code lies.
fn with_code(draw: impl Fn(&mut GrayImage)) -> GrayImage {
    let mut sheet = paper(460, 340);
    draw(&mut sheet);
    sheet.iter_mut().for_each(|pixel| *pixel = (*pixel).clamp(30, 235));
    let mut frame = GrayImage::from_fn(640, 480, |x, y| Luma([90 + ((x * 7 + y * 3) % 5) as u8]));
    imageops::overlay(&mut frame, &sheet, 90, 70);
    frame
}

fn square() -> GrayImage {
    with_code(|sheet| {
        qr(sheet, CODE, 140, 70, 8);
    })
}

fn striped() -> GrayImage {
    with_code(|sheet| {
        bars(sheet, CODE, 60, 100, 2, 100);
    })
}

fn covered(mut frame: GrayImage, [left, top, right, bottom]: [u32; 4], luma: u8) -> GrayImage {
    for (x, y) in (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y))) {
        frame.put_pixel(x, y, Luma([luma]));
    }
    frame
}

/// A reflection: light is added, most in the middle.
fn lit(mut frame: GrayImage, (x, y): (f32, f32), reach: f32) -> GrayImage {
    for (at_x, at_y, pixel) in frame.enumerate_pixels_mut() {
        let away = ((at_x as f32 - x).powi(2) + (at_y as f32 - y).powi(2)) / (reach * reach);
        pixel.0[0] = (f32::from(pixel.0[0]) + 500.0 * (-away).exp()).min(255.0) as u8;
    }
    frame
}

#[test]
fn a_code_that_is_there_and_can_t_be_mended_is_damaged() {
    // three finder patterns whole, the middle scratched away
    let scratched = covered(square(), [300, 200, 420, 310], 150);
    let seen = sight(scratched);
    assert_eq!(seen.reason, Unread::Damaged, "{seen:?}");
    // a stroke through the bars, from top to bottom: the check digit fails
    let stroke = covered(covered(striped(), [240, 150, 254, 290], 30), [300, 150, 314, 290], 30);
    let seen = sight(stroke);
    assert_eq!(seen.reason, Unread::Damaged, "{seen:?}");
}

#[test]
fn a_reflection_on_the_code_is_glare_and_one_beside_it_is_not() {
    let seen = sight(lit(square(), (360.0, 250.0), 55.0));
    assert_eq!(seen.reason, Unread::Glare, "{seen:?}");
    let scratched = covered(square(), [300, 200, 420, 310], 150);
    let seen = sight(lit(scratched, (60.0, 430.0), 40.0));
    assert_eq!(seen.reason, Unread::Damaged, "{seen:?}");
}

#[test]
fn a_dark_wall_around_a_code_is_not_a_dark_code_and_a_dark_code_is() {
    let scratched = covered(square(), [300, 200, 420, 310], 150);
    let dark = |frame: &GrayImage, times: f32| {
        let mut frame = frame.clone();
        frame.iter_mut().for_each(|pixel| *pixel = (f32::from(*pixel) * times) as u8);
        frame
    };
    assert_eq!(sight(dark(&scratched, 0.3)).reason, Unread::Dark);
    let mut night = GrayImage::new(1280, 960);
    imageops::overlay(&mut night, &imageops::crop_imm(&scratched, 90, 70, 460, 340).to_image(), 400, 300);
    let seen = sight(night);
    assert_eq!(seen.reason, Unread::Damaged, "{seen:?}");
}

#[test]
fn a_code_that_the_border_cuts_is_cut_off() {
    // the finder pattern at the right is whole, the border runs through those at the left
    let frame = square();
    let seen = sight(imageops::crop_imm(&frame, 270, 0, 370, 480).to_image());
    assert_eq!(seen.reason, Unread::CutOff, "{seen:?}");
}

#[test]
fn blurred_bars_are_blurred_wherever_they_seem_to_end() {
    let frame = imageops::crop_imm(&striped(), 130, 60, 330, 330).to_image();
    let seen = sight(imageops::blur(&frame, 5.0));
    assert_eq!(seen.reason, Unread::Blurred, "{seen:?}");
}

#[test]
fn what_is_too_small_is_far() {
    let small = |frame: GrayImage, width: u32| {
        let mut wall = GrayImage::from_pixel(640, 480, Luma([130]));
        let height = width * frame.height() / frame.width();
        let frame = imageops::resize(&frame, width, height, imageops::FilterType::Triangle);
        imageops::overlay(&mut wall, &frame, 200, 150);
        wall
    };
    let seen = sight(small(striped(), 200));
    assert_eq!(seen.reason, Unread::Far, "{seen:?}");
    let seen = sight(small(square(), 86));
    assert_eq!(seen.reason, Unread::Far, "{seen:?}");
}

#[test]
fn writing_and_shapes_are_no_code() {
    let shapes = with_code(|sheet| {
        for line in 0..12_u32 {
            for letter in (0..30_u32).filter(|letter| (letter * 7 + line * 5) % 4 != 0) {
                let (left, top) = (30 + letter * 13, 30 + line * 24);
                *sheet = covered(sheet.clone(), [left, top, left + 3, top + 11], 20);
                *sheet = covered(sheet.clone(), [left, top + letter % 3 * 4, left + 8, top + letter % 3 * 4 + 3], 20);
            }
        }
    });
    let seen = sight(shapes);
    assert_eq!(seen.reason, Unread::NoCode, "{seen:?}");
}

#[test]
fn what_was_given_up_is_told_with_its_place_and_its_reason() {
    let scratched = covered(square(), [300, 200, 420, 310], 150);
    let reading = read_frame(&png(scratched), &UNHURRIED).unwrap();
    let trace =
        reading.traces.iter().find(|trace| trace.why == Why::NotCorrected && trace.stage == Some(Stage::Square));
    let trace = trace.unwrap_or_else(|| panic!("{:?}", reading.traces));
    let [top_left, ..] = trace.corners;
    assert!((top_left[0] - 230).abs() <= 6 && (top_left[1] - 140).abs() <= 6, "{trace:?}");
}
