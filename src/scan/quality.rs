//! Which frames of a burst are worth the dear stages.

use image::GrayImage;

/// Luma from which a pixel is blown out.
const BLOWN_FROM: u8 = 252;

/// Every so many rows are looked at.
const ROWS: usize = 4;

/// Sharp and well exposed is high: how steep the steepest hundredth of edges are, in luma, less what is blown out. A dark
/// frame has no steep edges, nor has a blurred one.
pub(super) fn quality(luma: &GrayImage) -> f32 {
    let (mut steps, mut blown, mut all) = ([0_u32; 256], 0_u32, 0_u32);
    for row in luma.as_raw().chunks_exact((luma.width() as usize).max(1)).step_by(ROWS) {
        for pair in row.windows(2) {
            steps[usize::from(pair[0].abs_diff(pair[1]))] += 1;
            blown += u32::from(pair[0] >= BLOWN_FROM);
            all += 1;
        }
    }
    let mut left = (all / 100).max(1);
    let steep = (0..256).rev().find(|&step| {
        left = left.saturating_sub(steps[step]);
        left == 0
    });
    steep.unwrap_or(0) as f32 * (1.0 - blown as f32 / all.max(1) as f32)
}

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

    #[test]
    fn sharp_comes_before_soft_before_dark_before_blown_out() {
        let stripes = |low: u8, high: u8, soft: bool| {
            GrayImage::from_fn(80, 40, |x, _| {
                let level = if soft {
                    [0, 60, 120, 180, 240, 180, 120, 60][x as usize % 8]
                } else {
                    [0, 240][x as usize / 4 % 2]
                };
                Luma([low + (u32::from(high - low) * level / 240) as u8])
            })
        };
        let frames = [
            stripes(0, 20, false),
            stripes(20, 220, true),
            GrayImage::from_pixel(80, 40, Luma([255])),
            stripes(20, 220, false),
        ];
        let [dark, soft, blown, sharp] = frames.each_ref().map(quality);
        assert!(sharp > soft && soft > dark && dark > blown, "{sharp} {soft} {dark} {blown}");
        assert!(quality(&GrayImage::new(0, 0)) <= 0.0);
    }
}
