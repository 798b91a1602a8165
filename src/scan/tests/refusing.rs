use image::{ImageFormat, Luma, imageops};

use super::{draw::*, *};

fn refused(bytes: &[u8]) -> FrameError {
    read_frame(bytes, &UNHURRIED).unwrap_err()
}

#[test]
fn what_is_no_picture_is_refused_by_name() {
    for bytes in [&b""[..], b"hello", b"GIF89a\x01\x00\x01\x00", b"%PDF-1.7", &[0xff], &[0; 64]] {
        let error = refused(bytes);
        assert!(matches!(error, FrameError::NotAnImage { .. }), "{error:?}");
        assert_eq!(error.code(), "frame_unreadable");
        assert!(error.to_string().contains("send a JPEG, PNG or WebP"));
    }
    assert!(refused(b"GIF89a\x01\x00\x01\x00").to_string().contains("image/gif"));
}

#[test]
fn a_picture_over_a_limit_is_refused_by_its_header() {
    for (width, height) in [(60_000, 60_000), (65_535, 1), (1, 65_535), (4_001, 3_000), (u32::MAX >> 1, u32::MAX >> 1)]
    {
        let error = refused(&png_header(width, height));
        assert!(matches!(error, FrameError::TooManyPixels { .. }), "{width} x {height}: {error:?}");
        assert_eq!(error.code(), "frame_too_large");
    }
    let mut jpeg = encoded(paper(16, 16), ImageFormat::Jpeg);
    let frame_header = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    jpeg[frame_header + 5..frame_header + 9].copy_from_slice(&[0xff, 0xff, 0, 1]);
    assert!(matches!(refused(&jpeg), FrameError::TooManyPixels { width: 1, height: 65_535, .. }));
    let mut webp = animated_webp(paper(16, 16));
    let canvas = webp.windows(4).position(|tag| tag == b"VP8X").unwrap() + 12;
    webp[canvas..canvas + 6].copy_from_slice(&[0xff, 0x3f, 0, 0xff, 0x3f, 0]);
    assert!(matches!(refused(&webp), FrameError::TooManyPixels { width: 16_384, .. }));
}

#[test]
fn a_file_over_the_limit_is_refused_by_its_length() {
    let file = png(paper(64, 64));
    let limits = Limits { max_bytes: file.len() - 1, ..UNHURRIED };
    let error = read_frame(&file, &limits).unwrap_err();
    assert_eq!(error, FrameError::TooManyBytes { bytes: file.len(), max: file.len() - 1 });
    assert_eq!(error.code(), "frame_too_large");
    assert!(read_frame(&file, &Limits { max_bytes: file.len(), ..UNHURRIED }).is_ok());
}

#[test]
fn a_damaged_picture_is_refused_or_read_and_never_breaks_anything() {
    let mut frame = paper(200, 200);
    qr(&mut frame, "134567890123456789", 20, 20, 5);
    let whole = [
        encoded(frame.clone(), ImageFormat::Jpeg),
        encoded(frame.clone(), ImageFormat::Png),
        encoded(image::DynamicImage::ImageLuma8(frame.clone()).to_rgb8(), ImageFormat::WebP),
        animated_webp(frame),
    ];
    let hurried = Limits { budget: Duration::ZERO, ..UNHURRIED };
    for file in &whole {
        for length in (1..file.len()).step_by(1 + file.len() / 40) {
            if let Ok(reading) = read_frame(&file[..length], &hurried) {
                assert!(reading.texts().iter().all(|text| text.expose() == "134567890123456789"));
            }
            let mut spoilt = file.clone();
            spoilt[length] ^= 0xff;
            let _may_be_either = read_frame(&spoilt, &hurried).is_ok();
        }
    }
    // Cut in the middle of its pixels, a PNG can't be trusted.
    let png = &whole[1];
    let error = refused(&png[..png.len() / 2]);
    assert!(matches!(error, FrameError::Damaged { .. }) && error.to_string().contains("send it again"), "{error}");
}

#[test]
fn what_can_be_nothing_has_a_measured_reason() {
    let mut code = paper(640, 480);
    qr(&mut code, "134567890123456789", 200, 120, 8);
    let reason = |frame: GrayImage| {
        let reading = read_frame(&png(frame), &UNHURRIED).unwrap();
        assert!(reading.symbols.is_empty());
        reading.sight.unwrap().reason
    };
    let dark = GrayImage::from_fn(640, 480, |x, y| Luma([((x * 7 + y * 13) % 30) as u8]));
    assert_eq!(reason(dark), Unread::Dark);
    assert_eq!(reason(GrayImage::from_pixel(640, 480, Luma([128]))), Unread::NoCode);
    assert_eq!(reason(paper(640, 480)), Unread::Glare);
    assert_eq!(reason(imageops::blur(&code, 12.0)), Unread::Blurred);
    assert!(read_frame(&png(code), &UNHURRIED).unwrap().sight.is_none());
}

#[test]
fn a_code_that_leaves_the_picture_is_cut_off() {
    let mut code = paper(640, 480);
    qr(&mut code, "134567890123456789", 200, 120, 8);
    let cut = imageops::crop_imm(&code, 0, 0, 640, 120 + 8 * 10).to_image();
    let reading = read_frame(&png(cut), &UNHURRIED).unwrap();
    assert_eq!(reading.sight.unwrap().reason, Unread::CutOff, "{:?}", reading.sight);
}
