//! Pictures that the sandbox's camera doesn't take: codes of any text, two at once, none, and files that are traps.

use std::io::Cursor;

use fast_qr::{ECL, QRBuilder};
use image::{GrayImage, ImageFormat, Luma};

const MODULE: u32 = 6;
const MARGIN: u32 = 40;

fn png(picture: &GrayImage) -> Vec<u8> {
    let mut file = Vec::new();
    picture.write_to(&mut Cursor::new(&mut file), ImageFormat::Png).unwrap();
    file
}

/// QR codes of these texts, side by side on white paper.
pub(crate) fn codes(texts: &[&str]) -> Vec<u8> {
    let codes: Vec<_> = texts.iter().map(|text| QRBuilder::new(*text).ecl(ECL::M).build().unwrap()).collect();
    let side = |size: usize| u32::try_from(size).unwrap() * MODULE + 2 * MARGIN;
    let width = codes.iter().map(|code| side(code.size)).sum();
    let height = codes.iter().map(|code| side(code.size)).max().unwrap();
    let mut paper = GrayImage::from_pixel(width, height, Luma([255]));
    let mut left = MARGIN;
    for code in &codes {
        for (at, _) in (0..).zip(&code.data[..code.size * code.size]).filter(|(_, module)| module.value()) {
            let (x, y) = (at % code.size, at / code.size);
            let (x, y) = (u32::try_from(x).unwrap() * MODULE, u32::try_from(y).unwrap() * MODULE);
            for (dx, dy) in (0..MODULE).flat_map(|dy| (0..MODULE).map(move |dx| (dx, dy))) {
                paper.put_pixel(left + x + dx, MARGIN + y + dy, Luma([0]));
            }
        }
        left += side(code.size);
    }
    png(&paper)
}

/// One shade from edge to edge: 0 is a covered lens, 255 a light that blinds.
pub(crate) fn shade(luma: u8) -> Vec<u8> {
    png(&GrayImage::from_pixel(1280, 720, Luma([luma])))
}

/// Noise from edge to edge, which no reader gives up early.
pub(crate) fn rubble(width: u32, height: u32) -> Vec<u8> {
    let mut state = 9_u32;
    png(&GrayImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Luma([if state >> 31 == 0 { 0 } else { 255 }])
    }))
}

/// A few kilobytes that unpack to this many pixels of white.
pub(crate) fn bomb(width: u32, height: u32) -> Vec<u8> {
    png(&GrayImage::from_pixel(width, height, Luma([255])))
}

/// The same file with a header that claims other dimensions than the data has.
pub(crate) fn claiming(mut file: Vec<u8>, width: u32, height: u32) -> Vec<u8> {
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    let checked = crc32(&file[12..29]).to_be_bytes();
    file[29..33].copy_from_slice(&checked);
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
