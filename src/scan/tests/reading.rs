use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgba};

use super::{draw::*, *};

const CODE: &str = "134567890123456789";
const NUMBER: &str = "83620260811642614220";

#[test]
fn every_fixture_reads_as_its_truth_says_and_nothing_else() {
    let table = String::from_utf8(fixture("truth.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let mut files: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    files.dedup();
    assert!(files.len() >= 12);
    for file in files {
        let truth = rows.iter().filter(|row| row[0] == file && !row[2].is_empty());
        let mut truth: Vec<_> = truth.map(|row| (row[1], row[2].to_owned())).collect();
        truth.sort();
        assert_eq!(texts_in(&fixture(file)), truth, "{file}");
    }
}

#[test]
fn a_panicking_decoder_loses_its_turn_and_the_others_go_on() {
    let frame = fixture("rqrr-panics.png");
    let (alone, _) = read_frame_by(&frame, &UNHURRIED, &[Stage::Rqrr], Clock::Wall).unwrap();
    assert!(alone.looks[0].panicked && alone.symbols.is_empty());
    let (after, _) = read_frame_by(&frame, &UNHURRIED, &[Stage::Rqrr, Stage::Rxing], Clock::Wall).unwrap();
    assert_eq!(after.symbols[0].text.expose(), "1234567890");
    assert_eq!(after.symbols[0].stage, Stage::Rxing);
}

#[test]
fn each_decoder_finds_the_corners_of_a_qr_code() {
    for module in [3, 8] {
        let mut frame = paper(640, 480);
        let drawn = qr(&mut frame, CODE, 120, 90, module);
        let mut inverted = frame.clone();
        inverted.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
        for stage in Stage::CHAIN.into_iter().filter(|stage| *stage != Stage::Bars) {
            let dark_mode = matches!(stage, Stage::InvertedRxingHarder | Stage::InvertedSquare);
            let file = png(if dark_mode { inverted.clone() } else { frame.clone() });
            let (reading, _) = read_frame_by(&file, &UNHURRIED, &[stage], Clock::Wall).unwrap();
            assert_eq!(reading.symbols.len(), 1, "{stage:?}");
            assert_eq!(reading.symbols[0].text.expose(), CODE);
            assert_corners(&reading.symbols[0], drawn, 1);
        }
    }
}

#[test]
fn bars_are_found_with_their_corners_whichever_way_they_are_turned() {
    let mut frame = paper(640, 480);
    let drawn = bars(&mut frame, CODE, 100, 150, 2, 120);
    let turned = |picture: DynamicImage| png(picture.into_luma8());
    let upright = DynamicImage::ImageLuma8(frame);
    let half = drawn.map(|[x, y]| [640 - x, 480 - y]);
    let right = drawn.map(|[x, y]| [480 - y, x]);
    let left = drawn.map(|[x, y]| [y, 640 - x]);
    for (file, drawn) in [
        (turned(upright.clone()), drawn),
        (turned(upright.rotate180()), half),
        (turned(upright.rotate90()), right),
        (turned(upright.rotate270()), left),
    ] {
        let reading = read_frame(&file, &UNHURRIED).unwrap();
        assert_eq!(reading.symbols.len(), 1);
        assert_eq!(reading.symbols[0].text.expose(), CODE);
        assert_corners(&reading.symbols[0], drawn, 2);
    }
}

#[test]
fn all_codes_of_a_frame_are_told() {
    let mut frame = paper(1280, 720);
    bars(&mut frame, CODE, 60, 30, 2, 60); // at the upper border
    bars(&mut frame, NUMBER, 60, 600, 2, 60); // at the lower one
    bars(&mut frame, "ORDER-1", 640, 600, 2, 60); // beside it
    qr(&mut frame, CODE, 100, 200, 5);
    qr(&mut frame, "https://shop.example", 500, 200, 5);
    qr(&mut frame, NUMBER, 900, 200, 5);
    let read = texts_in(&png(frame));
    let expected = [
        ("code_128", CODE),
        ("code_128", NUMBER),
        ("code_128", "ORDER-1"),
        ("qr_code", CODE),
        ("qr_code", NUMBER),
        ("qr_code", "https://shop.example"),
    ];
    assert_eq!(read, expected.map(|(kind, text)| (kind, text.to_owned())));
}

#[test]
fn one_text_in_two_symbols_is_one_text() {
    let mut frame = paper(640, 480);
    bars(&mut frame, CODE, 60, 30, 2, 60);
    qr(&mut frame, CODE, 100, 200, 5);
    let reading = read_frame(&png(frame), &UNHURRIED).unwrap();
    assert_eq!((reading.symbols.len(), reading.texts().len()), (2, 1));
}

#[test]
fn a_frame_is_read_as_it_is_displayed() {
    let mut upright = paper(640, 480);
    let drawn = qr(&mut upright, CODE, 100, 60, 6);
    for orientation in 1..=8 {
        // What a camera held that way stores: the picture with the opposite turn.
        let mut stored = DynamicImage::ImageLuma8(upright.clone());
        stored = match orientation {
            1 => stored,
            2 => stored.fliph(),
            3 => stored.rotate180(),
            4 => stored.flipv(),
            5 => stored.rotate90().fliph(),
            6 => stored.rotate270(),
            7 => stored.rotate270().fliph(),
            _ => stored.rotate90(),
        };
        let file = jpeg_with(stored, 0xe1, &exif(orientation));
        let reading = read_frame(&file, &UNHURRIED).unwrap();
        assert_eq!((reading.width, reading.height), (640, 480), "orientation {orientation}");
        assert_eq!(reading.symbols[0].text.expose(), CODE);
        assert_corners(&reading.symbols[0], drawn, 2);
    }
}

#[test]
fn every_kind_of_pixel_is_read() {
    let mut grey = paper(320, 240);
    bars(&mut grey, CODE, 10, 20, 2, 50);
    qr(&mut grey, CODE, 100, 90, 5);
    let picture = DynamicImage::ImageLuma8(grey.clone());
    let on_nothing = ImageBuffer::from_fn(320, 240, |x, y| Rgba([0, 0, 0, 255 - grey.get_pixel(x, y).0[0]]));
    let bit_16: ImageBuffer<Luma<u16>, _> = picture.to_luma16();
    for (kind, file) in [
        ("grey PNG", encoded(picture.clone(), ImageFormat::Png)),
        ("colour PNG", encoded(picture.to_rgb8(), ImageFormat::Png)),
        ("interlaced colour PNG", interlaced_png(&picture.to_rgb8())),
        ("interlaced, narrow PNG", interlaced_png(&picture.crop_imm(0, 0, 317, 233).to_rgb8())),
        ("16-bit PNG", encoded(bit_16, ImageFormat::Png)),
        ("transparent PNG", encoded(on_nothing, ImageFormat::Png)),
        ("transparent 16-bit PNG", encoded(picture.to_rgba16(), ImageFormat::Png)),
        ("grey JPEG", encoded(picture.clone(), ImageFormat::Jpeg)),
        ("colour JPEG", encoded(picture.to_rgb8(), ImageFormat::Jpeg)),
        // Its marker says that the components are red, green and blue: there is no luma to ask for.
        ("RGB JPEG", jpeg_with(picture.to_rgb8(), 0xee, b"Adobe\0\x64\0\0\0\0\0")),
        ("WebP", encoded(picture.to_rgb8(), ImageFormat::WebP)),
        ("animated WebP", animated_webp(grey)),
    ] {
        let read = texts_in(&file);
        assert_eq!(read, [("code_128", CODE.to_owned()), ("qr_code", CODE.to_owned())], "{kind}");
    }
}

#[test]
fn the_budget_ends_the_chain_but_not_its_first_stage() {
    let hurried = Limits { budget: Duration::ZERO, ..UNHURRIED };
    let reading = read_frame(&fixture("no-code-480.jpg"), &hurried).unwrap();
    assert_eq!(reading.looks.iter().map(|look| look.stage).collect::<Vec<_>>(), [Stage::Rxing]);
    let unhurried = read_frame(&fixture("no-code-480.jpg"), &UNHURRIED).unwrap();
    assert_eq!(unhurried.looks.iter().map(|look| look.stage).collect::<Vec<_>>(), Stage::CHAIN);
}

#[test]
fn bars_right_above_other_bars_are_two_codes() {
    let mut frame = paper(640, 480);
    bars(&mut frame, CODE, 100, 150, 2, 100);
    bars(&mut frame, "134567890123456780", 100, 250, 2, 100);
    let read = texts_in(&png(frame));
    assert_eq!(read, [("code_128", "134567890123456780".to_owned()), ("code_128", CODE.to_owned())]);
}

#[test]
fn what_was_read_never_shows_in_debug() {
    let reading = read_frame(&fixture("bars-wechat-480.jpg"), &UNHURRIED).unwrap();
    assert_eq!(reading.symbols[0].text.expose(), "132254138220929295");
    let shown = format!("{reading:?}");
    assert!(shown.contains("13****************") && !shown.contains("2254"), "{shown}");
}
