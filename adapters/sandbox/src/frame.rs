//! Frames as a terminal's camera would take them: a symbol on a customer's screen, a little turned and tilted, unevenly
//! lit, a little soft and noisy. Made to be read: the scan corpus has the hard ones.

mod symbol;

use std::io::Cursor;

use image::{GrayImage, ImageFormat, Luma, RgbImage, codecs::jpeg::JpegEncoder};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

use symbol::Symbol;
pub(crate) use symbol::Symbology;

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;
const JPEG_QUALITY: u8 = 88;

/// The file that a frame comes as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
}

impl Format {
    /// Every format and its word.
    pub(crate) const WORDS: [(&'static str, Self); 2] = [("jpeg", Self::Jpeg), ("png", Self::Png)];

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("this text can't be written in that symbology")]
    NotWritable,
    #[error("this text is too long for a linear code in a frame of 1280 pixels: take qr_code")]
    TooLong,
    #[error("the picture could not be written: {0}")]
    Image(#[from] image::ImageError),
}

/// Draws a frame with this text in it; the same seed draws the same picture.
pub(crate) fn draw(text: &str, symbology: Symbology, format: Format, seed: u64) -> Result<Vec<u8>, FrameError> {
    let symbol = Symbol::of(text, symbology)?;
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let grey = photograph(&symbol, &mut rng);
    let mut file = Cursor::new(Vec::new());
    match format {
        // a scanner's grey picture
        Format::Png => grey.write_to(&mut file, ImageFormat::Png)?,
        // a camera's, a little warm
        Format::Jpeg => {
            let warm = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
                let Luma([value]) = *grey.get_pixel(x, y);
                image::Rgb([value, value.saturating_sub(value / 64), value.saturating_sub(value / 16)])
            });
            warm.write_with_encoder(JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY))?;
        }
    }
    Ok(file.into_inner())
}

/// How the camera looks at the screen: turned by an angle, tilted by a perspective, shifted.
struct View {
    cos: f32,
    sin: f32,
    tilt_x: f32,
    tilt_y: f32,
    centre_x: f32,
    centre_y: f32,
}

impl View {
    /// A view that keeps the whole symbol in the picture: wide ones are turned and tilted less.
    fn of(symbol: &Symbol, rng: &mut ChaCha20Rng) -> Self {
        let room = (1.0 - symbol.width() / WIDTH as f32).clamp(0.0, 0.7);
        let angle = rng.gen_range(-1.0..1.0_f32) * (1.2_f32 + 6.0 * room).to_radians();
        let tilt = 0.000_02 + 0.000_15 * room;
        let shift = |rng: &mut ChaCha20Rng, most: f32| rng.gen_range(-1.0..1.0_f32) * most;
        Self {
            cos: angle.cos(),
            sin: angle.sin(),
            tilt_x: shift(rng, tilt),
            tilt_y: shift(rng, tilt),
            centre_x: WIDTH as f32 / 2.0 + shift(rng, 120.0 * room),
            centre_y: HEIGHT as f32 / 2.0 + shift(rng, 60.0 * room),
        }
    }

    /// Where on the screen, from its middle, this point of the picture is.
    fn on_screen(&self, x: f32, y: f32) -> (f32, f32) {
        let (x, y) = (x - self.centre_x, y - self.centre_y);
        let depth = 1.0 + self.tilt_x * x + self.tilt_y * y;
        ((self.cos * x + self.sin * y) / depth, (self.cos * y - self.sin * x) / depth)
    }
}

fn photograph(symbol: &Symbol, rng: &mut ChaCha20Rng) -> GrayImage {
    let view = View::of(symbol, rng);
    let (width, height) = (WIDTH as usize, HEIGHT as usize);
    let light = Light::new(rng);
    let mut sharp = vec![0_f32; width * height];
    for y in 0..height {
        for x in 0..width {
            let (u, v) = view.on_screen(x as f32 + 0.5, y as f32 + 0.5);
            let shade = if symbol.has(u, v) {
                // four looks a pixel: the edges of modules fall between pixels
                let looks = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)].map(|(dx, dy)| {
                    let (u, v) = view.on_screen(x as f32 + dx, y as f32 + dy);
                    symbol.shade(u, v)
                });
                looks.iter().sum::<f32>() / 4.0
            } else {
                symbol.shade(u, v)
            };
            sharp[y * width + x] = shade * light.at(x as f32, y as f32);
        }
    }
    let mut noise = rng.r#gen::<u32>() | 1;
    GrayImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let (x, y) = (x as usize, y as usize);
        let at = |x: usize, y: usize| sharp[y.min(height - 1) * width + x.min(width - 1)];
        // a little soft: the pixel and its neighbours
        let around = at(x.saturating_sub(1), y) + at(x + 1, y) + at(x, y.saturating_sub(1)) + at(x, y + 1);
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        let grain = (noise % 9) as f32 - 4.0;
        let value = at(x, y) * 0.6 + around * 0.1 + grain;
        // in range after the clamp
        Luma([value.clamp(0.0, 255.0) as u8])
    })
}

/// Light that falls off to one side.
struct Light {
    along_x: f32,
    along_y: f32,
}

impl Light {
    fn new(rng: &mut ChaCha20Rng) -> Self {
        Self { along_x: rng.gen_range(-0.18..0.18), along_y: rng.gen_range(-0.12..0.12) }
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        0.84 + self.along_x * (x / WIDTH as f32 - 0.5) + self.along_y * (y / HEIGHT as f32 - 0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_frame_and_another_seed_another() {
        let one = draw("134567890123456789", Symbology::QrCode, Format::Jpeg, 1).unwrap();
        assert_eq!(one, draw("134567890123456789", Symbology::QrCode, Format::Jpeg, 1).unwrap());
        assert_ne!(one, draw("134567890123456789", Symbology::QrCode, Format::Jpeg, 2).unwrap());
        let picture = image::load_from_memory_with_format(&one, ImageFormat::Jpeg).unwrap();
        assert_eq!((picture.width(), picture.height()), (1280, 720));
    }

    #[test]
    fn the_longest_order_number_of_wechat_fits_a_linear_code_and_a_longer_one_is_refused() {
        let longest = "aB-".repeat(11);
        assert!(draw(&longest[..32], Symbology::Code128, Format::Png, 1).is_ok());
        let refused = draw(&"a".repeat(64), Symbology::Code128, Format::Png, 1).unwrap_err();
        assert!(matches!(refused, FrameError::TooLong));
        assert!(draw(&"a".repeat(64), Symbology::QrCode, Format::Png, 1).is_ok());
    }

    /// An independent reader, as a terminal would use one.
    fn read(file: &[u8], symbology: Symbology) -> Option<String> {
        let grey = image::load_from_memory(file).unwrap().to_luma8();
        let format = match symbology {
            Symbology::QrCode => rxing::BarcodeFormat::QR_CODE,
            Symbology::Code128 => rxing::BarcodeFormat::CODE_128,
        };
        let (width, height) = grey.dimensions();
        let found = rxing::helpers::detect_in_luma(grey.into_raw(), width, height, Some(format)).ok()?;
        Some(found.getText().to_owned())
    }

    #[test]
    fn every_frame_is_read_whatever_its_seed_kind_and_length() {
        let texts = [
            "T-1",
            "134567890123456789",
            "2025071010113130166241449811882",
            "100160000351000012511150504679",
            "A|B*C_d-20250710",
            "aB-aB-aB-aB-aB-aB-aB-aB-aB-aB-aB",
        ];
        for (seed, text) in (0..).zip(texts.repeat(2)) {
            for symbology in [Symbology::QrCode, Symbology::Code128] {
                let format = if seed % 2 == 0 { Format::Jpeg } else { Format::Png };
                let file = draw(text, symbology, format, seed).unwrap();
                assert_eq!(read(&file, symbology).as_deref(), Some(text), "{symbology:?}, seed {seed}");
            }
        }
    }
}
