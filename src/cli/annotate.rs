//! `decode --annotate`: the frame in grey with what was found in it drawn on top, to look at.

use std::{fs, io, path::Path};

use image::{GrayImage, ImageFormat, Rgb, RgbImage};

use crate::scan::{Reading, Trace};

/// The outline of a code that was read, and its own top left.
const OUTLINE: Rgb<u8> = Rgb([230, 0, 0]);
const TOP_LEFT: Rgb<u8> = Rgb([0, 200, 0]);
/// What could have been a code and was not read.
const GIVEN_UP: Rgb<u8> = Rgb([255, 150, 0]);
const INK: Rgb<u8> = Rgb([255, 255, 255]);

/// Columns of a letter, one of space included, and its rows.
const LETTER: (i32, i32) = (6, 7);

/// Each code that was read in red with its stage's name, its own top left in green. Where none was: in orange what could have
/// been one, with the reason, and the measured reason in the corner.
pub(super) fn annotate(luma: &GrayImage, reading: &Reading, to: &Path) -> Result<(), image::ImageError> {
    let mut canvas = Canvas::of(luma);
    for symbol in &reading.symbols {
        canvas.outline(symbol.corners, 1, OUTLINE);
        canvas.line(symbol.corners[0], symbol.corners[0], 4, TOP_LEFT);
        canvas.label(symbol.corners, symbol.stage.as_str(), OUTLINE);
    }
    if reading.symbols.is_empty() {
        let mut labelled: Vec<&Trace> = Vec::new();
        // The last word on a place first: later stages know better.
        for trace in reading.traces.iter().rev() {
            canvas.outline(trace.corners, 0, GIVEN_UP);
            if !labelled.iter().any(|other| middle(other.corners).iter().zip(middle(trace.corners)).all(near)) {
                let stage = trace.stage.map(|stage| format!("{}: ", stage.as_str())).unwrap_or_default();
                canvas.label(trace.corners, &format!("{stage}{}", trace.why.short()), GIVEN_UP);
                labelled.push(trace);
            }
        }
        if let Some(sight) = &reading.sight {
            canvas.write([8, 8], &format!("unread: {}", sight.reason.as_str()), OUTLINE);
        }
    }
    let mut file = Vec::new();
    canvas.picture.write_to(&mut io::Cursor::new(&mut file), ImageFormat::Png)?;
    Ok(fs::write(to, file)?)
}

fn middle(corners: [[i32; 2]; 4]) -> [i32; 2] {
    [0, 1].map(|axis| corners.iter().map(|corner| corner[axis]).sum::<i32>() / 4)
}

/// Labels closer than this would lie upon each other.
const fn near((one, other): (&i32, i32)) -> bool {
    (*one - other).abs() < 60
}

struct Canvas {
    picture: RgbImage,
    /// Pixels a dot of a letter.
    dot: i32,
}

impl Canvas {
    fn of(luma: &GrayImage) -> Self {
        let mut picture = RgbImage::new(luma.width(), luma.height());
        for (to, from) in picture.pixels_mut().zip(luma.iter()) {
            *to = Rgb([*from; 3]);
        }
        let dot = (luma.width().min(luma.height()) / 360).clamp(1, 6) as i32;
        Self { picture, dot }
    }

    /// A square around a place; what lies outside the picture is left out.
    fn dab(&mut self, [x, y]: [i32; 2], half: i32, colour: Rgb<u8>) {
        for (x, y) in (-half..=half).flat_map(|dy| (-half..=half).map(move |dx| (x + dx, y + dy))) {
            let inside = u32::try_from(x).ok().zip(u32::try_from(y).ok());
            if let Some(pixel) = inside.and_then(|(x, y)| self.picture.get_pixel_mut_checked(x, y)) {
                *pixel = colour;
            }
        }
    }

    /// A line of squares `2 * half + 1` wide.
    fn line(&mut self, from: [i32; 2], to: [i32; 2], half: i32, colour: Rgb<u8>) {
        let steps = (to[0] - from[0]).abs().max((to[1] - from[1]).abs()).clamp(1, 1 << 15);
        for step in 0..=steps {
            let along = f64::from(step) / f64::from(steps);
            let at =
                [0, 1].map(|axis| (f64::from(from[axis]) + f64::from(to[axis] - from[axis]) * along).round() as i32);
            self.dab(at, half, colour);
        }
    }

    fn outline(&mut self, corners: [[i32; 2]; 4], half: i32, colour: Rgb<u8>) {
        for (from, to) in [(0, 1), (1, 2), (2, 3), (3, 0)] {
            self.line(corners[from], corners[to], half, colour);
        }
    }

    /// Writes above what has these corners or, where there is no room, below it.
    fn label(&mut self, corners: [[i32; 2]; 4], text: &str, ground: Rgb<u8>) {
        let high = (LETTER.1 + 4) * self.dot;
        let top = corners.iter().map(|corner| corner[1]).min().unwrap_or(0) - high - 6;
        let bottom = corners.iter().map(|corner| corner[1]).max().unwrap_or(0) + 6;
        let left = corners.iter().map(|corner| corner[0]).min().unwrap_or(0);
        let room = |side: u32, used: i32| (i32::try_from(side).unwrap_or(i32::MAX) - used).max(0);
        let wide = i32::try_from(text.chars().count()).unwrap_or(0) * LETTER.0 * self.dot + 4 * self.dot;
        let x = left.clamp(0, room(self.picture.width(), wide));
        let y = if top >= 0 { top } else { bottom.min(room(self.picture.height(), high)) };
        self.write([x, y], text, ground);
    }

    /// Writes in capitals on a ground of its own.
    fn write(&mut self, [left, top]: [i32; 2], text: &str, ground: Rgb<u8>) {
        let dot = self.dot;
        let wide = i32::try_from(text.chars().count()).unwrap_or(0) * LETTER.0 + 3;
        for (x, y) in (0..(LETTER.1 + 4) * dot).flat_map(|y| (0..wide * dot).map(move |x| (x, y))) {
            self.dab([left + x, top + y], 0, ground);
        }
        for (nth, letter) in (0..).zip(text.chars()) {
            for (column, dots) in (0..).zip(columns(letter)) {
                for row in (0..LETTER.1).filter(|row| dots >> row & 1 == 1) {
                    let (x, y) = (2 + nth * LETTER.0 + column, 2 + row);
                    for (dx, dy) in (0..dot).flat_map(|dy| (0..dot).map(move |dx| (dx, dy))) {
                        self.dab([left + x * dot + dx, top + y * dot + dy], 0, INK);
                    }
                }
            }
        }
    }
}

/// The five columns of a letter, the lowest bit at the top. What is neither letter nor one of a few signs is a gap.
const fn columns(letter: char) -> [u8; 5] {
    match letter.to_ascii_uppercase() {
        'A' => [0x7e, 0x11, 0x11, 0x11, 0x7e],
        'B' => [0x7f, 0x49, 0x49, 0x49, 0x36],
        'C' => [0x3e, 0x41, 0x41, 0x41, 0x22],
        'D' => [0x7f, 0x41, 0x41, 0x22, 0x1c],
        'E' => [0x7f, 0x49, 0x49, 0x49, 0x41],
        'F' => [0x7f, 0x09, 0x09, 0x09, 0x01],
        'G' => [0x3e, 0x41, 0x49, 0x49, 0x7a],
        'H' => [0x7f, 0x08, 0x08, 0x08, 0x7f],
        'I' => [0x00, 0x41, 0x7f, 0x41, 0x00],
        'J' => [0x20, 0x40, 0x41, 0x3f, 0x01],
        'K' => [0x7f, 0x08, 0x14, 0x22, 0x41],
        'L' => [0x7f, 0x40, 0x40, 0x40, 0x40],
        'M' => [0x7f, 0x02, 0x0c, 0x02, 0x7f],
        'N' => [0x7f, 0x04, 0x08, 0x10, 0x7f],
        'O' => [0x3e, 0x41, 0x41, 0x41, 0x3e],
        'P' => [0x7f, 0x09, 0x09, 0x09, 0x06],
        'Q' => [0x3e, 0x41, 0x51, 0x21, 0x5e],
        'R' => [0x7f, 0x09, 0x19, 0x29, 0x46],
        'S' => [0x46, 0x49, 0x49, 0x49, 0x31],
        'T' => [0x01, 0x01, 0x7f, 0x01, 0x01],
        'U' => [0x3f, 0x40, 0x40, 0x40, 0x3f],
        'V' => [0x1f, 0x20, 0x40, 0x20, 0x1f],
        'W' => [0x3f, 0x40, 0x38, 0x40, 0x3f],
        'X' => [0x63, 0x14, 0x08, 0x14, 0x63],
        'Y' => [0x07, 0x08, 0x70, 0x08, 0x07],
        'Z' => [0x61, 0x51, 0x49, 0x45, 0x43],
        ':' => [0x00, 0x36, 0x36, 0x00, 0x00],
        ',' => [0x00, 0x50, 0x30, 0x00, 0x00],
        _ => [0; 5],
    }
}
