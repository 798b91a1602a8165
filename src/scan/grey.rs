//! Grey pixels between pixels, and pictures half and twice as large.

use image::GrayImage;

/// A point of a picture. Pixel (0, 0) has its centre at (0.5, 0.5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spot {
    pub(super) x: f32,
    pub(super) y: f32,
}

impl Spot {
    pub(super) const fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    pub(super) fn distance(self, to: Self) -> f32 {
        (to.x - self.x).hypot(to.y - self.y)
    }

    /// `self` moved by `share` of the way from `from` to `to`.
    pub(super) fn moved(self, from: Self, to: Self, share: f32) -> Self {
        Self::new(self.x + (to.x - from.x) * share, self.y + (to.y - from.y) * share)
    }
}

/// A grey picture that can be asked between its pixels. Beyond the border the last pixel goes on.
#[derive(Clone, Copy)]
pub(super) struct Grey<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: &'a [u8],
}

impl<'a> Grey<'a> {
    pub(super) fn of(luma: &'a GrayImage) -> Self {
        Self { width: luma.width() as usize, height: luma.height() as usize, pixels: luma.as_raw() }
    }

    /// Luma at a point, from the four pixels around it. 0 for a picture without pixels.
    pub(super) fn at(self, x: f32, y: f32) -> f32 {
        let (Some(right), Some(below)) = (self.width.checked_sub(1), self.height.checked_sub(1)) else { return 0.0 };
        let (x, y) = ((x - 0.5).clamp(0.0, right as f32), (y - 0.5).clamp(0.0, below as f32));
        let (left, top) = (x as usize, y as usize);
        let (right, below) = ((left + 1).min(right), (top + 1).min(below));
        let (aside, down) = (x - left as f32, y - top as f32);
        let pixel = |x: usize, y: usize| f32::from(self.pixels[y * self.width + x]);
        let upper = pixel(left, top) + (pixel(right, top) - pixel(left, top)) * aside;
        let lower = pixel(left, below) + (pixel(right, below) - pixel(left, below)) * aside;
        upper + (lower - upper) * down
    }

    /// Luma at a point as a camera with larger pixels sees it: the mean of nine points, `reach` pixels around.
    pub(super) fn around(self, x: f32, y: f32, reach: f32) -> f32 {
        let mut sum = 0.0;
        for down in [-reach, 0.0, reach] {
            for aside in [-reach, 0.0, reach] {
                sum += self.at(x + aside, y + down);
            }
        }
        sum / 9.0
    }
}

/// Half as wide and high, each pixel the mean of four: what noise hides at full size may show.
pub(super) fn halved(luma: &GrayImage) -> GrayImage {
    let grey = Grey::of(luma);
    let (width, height) = (grey.width / 2, grey.height / 2);
    let mut half = Vec::with_capacity(width * height);
    for rows in grey.pixels.chunks_exact((grey.width * 2).max(1)).take(height) {
        let (upper, lower) = rows.split_at(grey.width);
        let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
        half.extend(pairs.take(width).map(|(upper, lower)| {
            let sum = u16::from(upper[0]) + u16::from(upper[1]) + u16::from(lower[0]) + u16::from(lower[1]);
            ((sum + 2) / 4) as u8
        }));
    }
    GrayImage::from_raw(width as u32, height as u32, half).unwrap_or_default()
}

/// Twice as wide and high, with pixels between pixels: modules below two pixels come into the reach of readers that count
/// whole pixels.
pub(super) fn doubled(luma: &GrayImage) -> GrayImage {
    let grey = Grey::of(luma);
    let (width, height) = (grey.width, grey.height);
    let mut double = vec![0; width * height * 4];
    let mixed = |near: u8, far: u8| ((u16::from(near) * 3 + u16::from(far) + 2) / 4) as u8;
    let mut wide = vec![[0_u8; 2]; width];
    let mut rows: Vec<Vec<[u8; 2]>> = Vec::with_capacity(height);
    for row in grey.pixels.chunks_exact(width.max(1)) {
        for (at, to) in wide.iter_mut().enumerate() {
            let (before, after) = (row[at.saturating_sub(1)], row[(at + 1).min(width - 1)]);
            *to = [mixed(row[at], before), mixed(row[at], after)];
        }
        rows.push(wide.clone());
    }
    for (at, lines) in double.chunks_exact_mut((width * 4).max(1)).enumerate() {
        let (upper, lower) = lines.split_at_mut(width * 2);
        let (before, after) = (&rows[at.saturating_sub(1)], &rows[(at + 1).min(height - 1)]);
        for (line, far) in [(upper, before), (lower, after)] {
            for ((to, near), far) in line.as_chunks_mut::<2>().0.iter_mut().zip(&rows[at]).zip(far) {
                *to = [mixed(near[0], far[0]), mixed(near[1], far[1])];
            }
        }
    }
    GrayImage::from_raw(width as u32 * 2, height as u32 * 2, double).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_pixels_lies_their_mean_and_beyond_the_border_the_last() {
        let luma = GrayImage::from_raw(2, 2, vec![0, 100, 100, 200]).unwrap();
        let grey = Grey::of(&luma);
        assert_eq!((grey.at(0.5, 0.5), grey.at(1.0, 0.5), grey.at(1.0, 1.0)), (0.0, 50.0, 100.0));
        assert_eq!((grey.at(-9.0, -9.0), grey.at(9.0, 9.0)), (0.0, 200.0));
    }

    #[test]
    fn a_slope_stays_a_slope_at_half_and_double_size() {
        let luma = GrayImage::from_fn(16, 12, |x, y| image::Luma([(x * 8 + y * 4) as u8]));
        let (half, double) = (halved(&luma), doubled(&luma));
        assert_eq!((half.dimensions(), double.dimensions()), ((8, 6), (32, 24)));
        for (x, y) in [(4.0, 4.0), (8.0, 6.0), (11.0, 9.0)] {
            let here = Grey::of(&luma).at(x, y);
            assert!((Grey::of(&half).at(x / 2.0, y / 2.0) - here).abs() <= 1.0);
            assert!((Grey::of(&double).at(x * 2.0, y * 2.0) - here).abs() <= 1.0);
        }
    }
}
