//! From a stranger's bytes to grey pixels as displayed, with every limit checked before anything is unpacked.

use std::io::Cursor;

use image::{
    DynamicImage, GrayImage, ImageDecoder, ImageFormat,
    codecs::{jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder},
    metadata::Orientation,
};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};

use super::{FrameError, Limits, guard::guarded};

/// A camera's progressive JPEG has about ten scans. More are a way to make one picture cost many.
const MAX_JPEG_SCANS: usize = 32;

/// What a decoder may hold per pixel that the limits allow: the widest pixel is 8 bytes, and it is held twice at most.
const MAX_BYTES_PER_PIXEL: u64 = 16;

/// The grey pixels of a frame as displayed (EXIF orientation applied, transparency on white).
///
/// Luma comes straight from a JPEG: that is three to four times as fast as by way of RGB (scanning notes).
/// # Errors
/// [`FrameError`]: not an image of the three kinds, over a limit, damaged.
pub(super) fn unpack(bytes: &[u8], limits: &Limits) -> Result<GrayImage, FrameError> {
    if bytes.is_empty() {
        return Err(FrameError::NotAnImage { found: "nothing" });
    }
    if bytes.len() > limits.max_bytes {
        return Err(FrameError::TooManyBytes { bytes: bytes.len(), max: limits.max_bytes });
    }
    let kind = image::guess_format(bytes).map_err(|_| FrameError::NotAnImage { found: "something else" })?;
    let unpacked = guarded(|| match kind {
        ImageFormat::Jpeg => from_jpeg(bytes, limits),
        ImageFormat::Png => {
            // The decoder sets aside a row as wide as the header says, so the header is asked first.
            if let Some(&[w0, w1, w2, w3, h0, h1, h2, h3]) = bytes.get(16..24) {
                let (width, height) = (u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]));
                checked(width as usize, height as usize, limits)?;
            }
            let decoder = PngDecoder::with_limits(Cursor::new(bytes), allocation_limit(limits));
            from_decoder(decoder.map_err(damaged)?, limits)
        }
        ImageFormat::WebP => from_decoder(WebPDecoder::new(Cursor::new(bytes)).map_err(damaged)?, limits),
        other => Err(FrameError::NotAnImage { found: other.to_mime_type() }),
    });
    unpacked.unwrap_or_else(|| Err(FrameError::Damaged { why: "its decoder gave up".to_owned() }))
}

fn from_jpeg(bytes: &[u8], limits: &Limits) -> Result<GrayImage, FrameError> {
    let options = DecoderOptions::default()
        .set_max_width(usize::from(u16::MAX)) // the format's own; ours are checked below, with a better answer
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(MAX_JPEG_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::Luma);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = checked(width, height, limits)?;
    if !matches!(decoder.input_colorspace(), Some(ColorSpace::YCbCr | ColorSpace::Luma)) {
        // RGB or CMYK inside: there is no luma to ask for.
        return from_decoder(JpegDecoder::new(Cursor::new(bytes)).map_err(damaged)?, limits);
    }
    let orientation = decoder.exif().and_then(|chunk| Orientation::from_exif_chunk(chunk));
    let luma = decoder.decode().map_err(damaged)?;
    let luma = GrayImage::from_raw(width, height, luma).ok_or_else(|| damaged("it has fewer pixels than it says"))?;
    Ok(upright(luma, orientation.unwrap_or(Orientation::NoTransforms)))
}

fn from_decoder(mut decoder: impl ImageDecoder, limits: &Limits) -> Result<GrayImage, FrameError> {
    let (width, height) = decoder.dimensions();
    checked(width as usize, height as usize, limits)?;
    decoder.set_limits(allocation_limit(limits)).map_err(damaged)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    let luma = match picture {
        DynamicImage::ImageLuma8(luma) => luma,
        DynamicImage::ImageRgb8(rgb) => {
            let grey = rgb.as_raw().chunks_exact(3).map(|pixel| luma_of(pixel[0], pixel[1], pixel[2])).collect();
            GrayImage::from_raw(width, height, grey).ok_or_else(|| damaged("it has fewer pixels than it says"))?
        }
        other if other.color().has_alpha() => on_white(&other),
        other => other.into_luma8(),
    };
    Ok(upright(luma, orientation))
}

/// Rec. 601 luma, as a JPEG has it.
const fn luma_of(red: u8, green: u8, blue: u8) -> u8 {
    ((77 * red as u32 + 150 * green as u32 + 29 * blue as u32 + 128) >> 8) as u8
}

/// A transparent pixel is paper: a code drawn on nothing is black on white on every screen that matters.
fn on_white(picture: &DynamicImage) -> GrayImage {
    let rgba = picture.to_rgba8();
    let mut grey = GrayImage::new(rgba.width(), rgba.height());
    for (to, from) in grey.pixels_mut().zip(rgba.pixels()) {
        let [red, green, blue, alpha] = from.0;
        let (luma, alpha) = (u32::from(luma_of(red, green, blue)), u32::from(alpha));
        to.0 = [((luma * alpha + 255 * (255 - alpha) + 127) / 255) as u8];
    }
    grey
}

fn upright(luma: GrayImage, orientation: Orientation) -> GrayImage {
    if orientation == Orientation::NoTransforms {
        return luma;
    }
    let mut picture = DynamicImage::ImageLuma8(luma);
    picture.apply_orientation(orientation);
    picture.into_luma8()
}

/// The dimensions that the header states, before a pixel is unpacked.
fn checked(width: usize, height: usize, limits: &Limits) -> Result<(u32, u32), FrameError> {
    let too_many =
        FrameError::TooManyPixels { width, height, max_side: limits.max_side, max_pixels: limits.max_pixels };
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(0), _) | (_, Ok(0)) => Err(damaged("it has no pixels")),
        (Ok(w), Ok(h)) if w.max(h) <= limits.max_side && u64::from(w) * u64::from(h) <= limits.max_pixels => Ok((w, h)),
        _ => Err(too_many),
    }
}

fn allocation_limit(limits: &Limits) -> image::Limits {
    let mut allowed = image::Limits::no_limits();
    allowed.max_alloc = Some(limits.max_pixels.saturating_mul(MAX_BYTES_PER_PIXEL));
    allowed
}

fn damaged(why: impl std::fmt::Display) -> FrameError {
    FrameError::Damaged { why: why.to_string() }
}
