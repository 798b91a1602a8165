//! Frames drawn for a test or a fuzz target, with codes at known places.

use std::io::Cursor;

use barcoders::sym::code128::Code128;
use fast_qr::{ECL, QRBuilder};
use image::{DynamicImage, GrayImage, ImageFormat, Luma};

/// White paper.
pub(super) fn paper(width: u32, height: u32) -> GrayImage {
    GrayImage::from_pixel(width, height, Luma([255]))
}

fn fill(on: &mut GrayImage, left: u32, top: u32, width: u32, height: u32) {
    for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (left + x, top + y))) {
        on.put_pixel(x, y, Luma([0]));
    }
}

/// A QR code with `module` pixels a module; answers its corners.
pub(super) fn qr(on: &mut GrayImage, text: &str, left: u32, top: u32, module: u32) -> [[i32; 2]; 4] {
    let code = QRBuilder::new(text).ecl(ECL::M).build().unwrap();
    for (at, _) in (0..).zip(&code.data[..code.size * code.size]).filter(|(_, module)| module.value()) {
        let (x, y) = (at % code.size as u32, at / code.size as u32);
        fill(on, left + x * module, top + y * module, module, module);
    }
    corners(left, top, code.size as u32 * module, code.size as u32 * module)
}

/// A Code 128 of digits (code set C) or text (B), with `module` pixels a module; answers its corners.
pub(super) fn bars(on: &mut GrayImage, text: &str, left: u32, top: u32, module: u32, height: u32) -> [[i32; 2]; 4] {
    let digits = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_digit());
    let code = Code128::new(format!("{}{text}", if digits { '\u{106}' } else { '\u{181}' })).unwrap().encode();
    for (x, _) in (0..).zip(&code).filter(|(_, bit)| **bit == 1) {
        fill(on, left + x * module, top, module, height);
    }
    corners(left, top, code.len() as u32 * module, height)
}

fn corners(left: u32, top: u32, width: u32, height: u32) -> [[i32; 2]; 4] {
    let [left, top, right, bottom] = [left, top, left + width, top + height].map(|at| i32::try_from(at).unwrap());
    [[left, top], [right, top], [right, bottom], [left, bottom]]
}

pub(super) fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut file = Vec::new();
    picture.into().write_to(&mut Cursor::new(&mut file), format).unwrap();
    file
}

pub(super) fn png(picture: GrayImage) -> Vec<u8> {
    encoded(picture, ImageFormat::Png)
}

/// An interlaced PNG (Adam7): seven passes, each of every so many pixels.
pub(super) fn interlaced_png(picture: &image::RgbImage) -> Vec<u8> {
    let (width, height) = picture.dimensions();
    let mut rows = Vec::new();
    for ([left, top], [right, down]) in [
        ([0, 0], [8, 8]),
        ([4, 0], [8, 8]),
        ([0, 4], [4, 8]),
        ([2, 0], [4, 4]),
        ([0, 2], [2, 4]),
        ([1, 0], [2, 2]),
        ([0, 1], [1, 2]),
    ] {
        for y in (top..height).step_by(down) {
            rows.push(0); // no filter
            rows.extend((left..width).step_by(right).flat_map(|x| picture.get_pixel(x, y).0));
        }
    }
    let mut stored = vec![0x78, 0x01];
    let pieces = rows.chunks(0xffff);
    let last = pieces.len() - 1;
    for (nth, piece) in pieces.enumerate() {
        let length = u16::try_from(piece.len()).unwrap();
        stored.push(u8::from(nth == last));
        stored.extend(length.to_le_bytes().iter().chain(&(!length).to_le_bytes()).chain(piece));
    }
    let (a, b) =
        rows.iter().fold((1, 0), |(a, b), byte| ((a + u32::from(*byte)) % 65_521, (b + a + u32::from(*byte)) % 65_521));
    stored.extend((b << 16 | a).to_be_bytes());
    let chunk = |kind: &[u8], body: &[u8]| {
        let named = [kind, body].concat();
        [&u32::try_from(body.len()).unwrap().to_be_bytes(), &named[..], &crc32(&named).to_be_bytes()].concat()
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 1]].concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &header), &chunk(b"IDAT", &stored), &chunk(b"IEND", b"")].concat()
}

/// A JPEG with one more segment at its start.
pub(super) fn jpeg_with(picture: impl Into<DynamicImage>, marker: u8, segment: &[u8]) -> Vec<u8> {
    let mut file = encoded(picture, ImageFormat::Jpeg);
    let length = u16::try_from(segment.len() + 2).unwrap().to_be_bytes();
    let inserted = [&[0xff, marker], &length[..], segment].concat();
    file.splice(2..2, inserted);
    file
}

/// An EXIF segment that says nothing but the orientation.
pub(super) fn exif(orientation: u8) -> Vec<u8> {
    let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0];
    [b"Exif\0\0", &b"MM\0\x2a\0\0\0\x08\0\x01"[..], &entry, &[0; 4]].concat()
}

/// A PNG that says it has these dimensions and 8-bit grey, and holds one row of zeros.
pub(super) fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut file = encoded(paper(1, 1), ImageFormat::Png);
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    let checked = crc32(&file[12..29]).to_be_bytes();
    file[29..33].copy_from_slice(&checked);
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// A WebP animation of one lossless frame.
pub(super) fn animated_webp(picture: GrayImage) -> Vec<u8> {
    let (width, height) = picture.dimensions();
    let still = encoded(DynamicImage::ImageLuma8(picture).to_rgb8(), ImageFormat::WebP);
    let at = still.windows(4).position(|tag| tag == b"VP8L").unwrap();
    let three = |value: u32| value.to_le_bytes()[..3].to_vec();
    let chunk = |tag: &[u8], body: &[u8]| [tag, &u32::try_from(body.len()).unwrap().to_le_bytes(), body].concat();
    let canvas = [three(width - 1), three(height - 1)].concat();
    let frame = [vec![0; 6], canvas.clone(), three(100), vec![0], still[at..].to_vec()].concat();
    let extended = chunk(b"VP8X", &[vec![0b10, 0, 0, 0], canvas].concat());
    let body = [b"WEBP", &extended[..], &chunk(b"ANIM", &[255, 255, 255, 255, 0, 0]), &chunk(b"ANMF", &frame)].concat();
    chunk(b"RIFF", &body)
}

/// The same noise for the same seed: numbers below a range.
#[cfg(test)]
pub(super) fn noise(mut state: u32) -> impl FnMut(u32) -> u32 {
    move |range| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % range
    }
}
