//! From a stranger's bytes to grey pixels as displayed, with every limit checked before anything is unpacked.

use std::io::Cursor;

use image::{
    DynamicImage, GrayImage, ImageDecoder, ImageFormat,
    codecs::{jpeg::JpegDecoder, webp::WebPDecoder},
    metadata::Orientation,
};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};

use super::{FrameError, Limits, guard::guarded};

/// A camera's progressive JPEG has about ten scans. More are a way to make one picture cost many: a small one may have 32, and
/// none may have so many that scans times pixels are more than this, twelve for the largest picture.
const MAX_JPEG_SCANS: usize = 32;
const MAX_SCANNED_PIXELS: u64 = 144_000_000;

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
            from_png(bytes, limits)
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
        .jpeg_set_out_colorspace(ColorSpace::Luma);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = checked(width, height, limits)?;
    let scans = MAX_SCANNED_PIXELS / (u64::from(width) * u64::from(height));
    decoder.set_options(
        options.jpeg_set_max_scans(usize::try_from(scans).unwrap_or(MAX_JPEG_SCANS).clamp(12, MAX_JPEG_SCANS)),
    );
    if !matches!(decoder.input_colorspace(), Some(ColorSpace::YCbCr | ColorSpace::Luma)) {
        // RGB or CMYK inside: there is no luma to ask for.
        return from_decoder(JpegDecoder::new(Cursor::new(bytes)).map_err(damaged)?, limits);
    }
    let orientation = decoder.exif().and_then(|chunk| Orientation::from_exif_chunk(chunk));
    let luma = decoder.decode().map_err(damaged)?;
    let luma = GrayImage::from_raw(width, height, luma).ok_or_else(|| damaged("it has fewer pixels than it says"))?;
    Ok(upright(luma, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Row by row: of a wide pixel (up to 8 bytes) only its grey is kept, so that a picture costs a byte a pixel.
fn from_png(bytes: &[u8], limits: &Limits) -> Result<GrayImage, FrameError> {
    let most = usize::try_from(limits.max_pixels.saturating_mul(MAX_BYTES_PER_PIXEL)).unwrap_or(usize::MAX);
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: most });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(damaged)?;
    let info = reader.info();
    let (width, height) = checked(info.width as usize, info.height as usize, limits)?;
    let orientation = info.exif_metadata.as_ref().and_then(|chunk| Orientation::from_exif_chunk(chunk));
    let interlaced = info.interlaced;
    let channels = reader.output_color_type().0.samples();
    let mut grey = GrayImage::new(width, height);
    if interlaced {
        let mut line = Vec::new();
        while let Some(row) = reader.next_interlaced_row().map_err(damaged)? {
            line.clear();
            line.extend(row.data().chunks_exact(channels).map(grey_of));
            if let png::InterlaceInfo::Adam7(pass) = row.interlace() {
                png::expand_interlaced_row(&mut grey, width as usize, &line, pass, 8);
            }
        }
    } else {
        let mut rows = grey.chunks_exact_mut(width as usize);
        while let Some(row) = reader.next_row().map_err(damaged)? {
            let to = rows.next().ok_or_else(|| damaged("it has more rows than it says"))?;
            to.iter_mut().zip(row.data().chunks_exact(channels)).for_each(|(to, from)| *to = grey_of(from));
        }
    }
    Ok(upright(grey, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Grey of a pixel of one (grey), two (and alpha), three (colours) or four bytes. A transparent pixel is paper: a code drawn on
/// nothing is black on white on every screen that matters.
fn grey_of(pixel: &[u8]) -> u8 {
    match *pixel {
        [grey] => grey,
        [grey, alpha] => on_paper(grey, alpha),
        [red, green, blue] => luma_of(red, green, blue),
        [red, green, blue, alpha] => on_paper(luma_of(red, green, blue), alpha),
        _ => 0,
    }
}

fn on_paper(luma: u8, alpha: u8) -> u8 {
    let (luma, alpha) = (u32::from(luma), u32::from(alpha));
    ((luma * alpha + 255 * (255 - alpha) + 127) / 255) as u8
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

fn on_white(picture: &DynamicImage) -> GrayImage {
    let rgba = picture.to_rgba8();
    let grey = rgba.pixels().map(|pixel| grey_of(&pixel.0)).collect();
    GrayImage::from_raw(rgba.width(), rgba.height(), grey).unwrap_or_default() // a byte a pixel
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
