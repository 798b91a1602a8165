//! What happens to a scene on the way to a file: blur, light, reflections, things in the way, noise, compression.

use std::f32::consts::{PI, TAU};

use super::{
    Hardship, Kind,
    random::Random,
    scene::{Picture, Scene},
};

/// A reflection or a thing in the way: an ellipse, in shares of the code.
#[derive(Clone)]
struct Spot {
    x: f32,
    y: f32,
    across: f32,
    down: f32,
    angle: f32,
    strength: f32,
}

/// How a frame is taken.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Pixels: radius of a point out of focus, and length and direction of a movement.
    defocus: f32,
    motion: (f32, f32),
    softness: f32,
    glare: Option<Spot>,
    cover: Option<Spot>,
    gain: f32,
    noise: f32,
    stripes: Option<(f32, f32, f32)>,
    pub(crate) quality: u8,
}

impl Settings {
    pub(crate) fn of(kind: Kind, severity: u32, module: f32, random: &mut Random) -> Self {
        let severe = severity as f32;
        let mut settings = Self {
            defocus: 0.0,
            motion: (0.0, 0.0),
            softness: random.between(0.35, 0.6),
            glare: None,
            cover: None,
            gain: random.between(0.85, 1.05),
            noise: random.between(1.5, 3.5),
            stripes: None,
            quality: random.between(60.0, 91.0) as u8,
        };
        let hardships = match kind.hardship {
            Hardship::Combo => {
                let all = [
                    Hardship::Defocus,
                    Hardship::Motion,
                    Hardship::Glare,
                    Hardship::Lowlight,
                    Hardship::Moire,
                    Hardship::Jpeg,
                ];
                let first = random.below(all.len());
                let second = (first + 1 + random.below(all.len() - 1)) % all.len();
                vec![(all[first], 0.5 * severe), (all[second], 0.4 * severe)]
            }
            one => vec![(one, severe)],
        };
        for (hardship, severe) in hardships {
            settings.add(hardship, severe, kind.bars, module, random);
        }
        settings
    }

    fn add(&mut self, hardship: Hardship, severe: f32, bars: bool, module: f32, random: &mut Random) {
        match hardship {
            Hardship::Defocus if bars => self.defocus = module * (0.2 + 0.2 * severe),
            Hardship::Defocus => self.defocus = module * (0.25 + 0.25 * severe),
            Hardship::Motion => {
                let length = module * if bars { 0.4 + 0.35 * severe } else { 0.6 + 0.5 * severe };
                self.motion = (length, random.between(0.0, PI));
            }
            Hardship::Glare => {
                let narrow = if bars { 0.4 } else { 1.0 };
                self.glare = Some(Spot {
                    x: random.between(0.2, 0.8),
                    y: random.between(0.2, 0.8),
                    across: (random.between(0.1, 0.16) + 0.04 * severe) * narrow,
                    down: (random.between(0.1, 0.16) + 0.04 * severe) * narrow,
                    angle: random.between(0.0, PI),
                    strength: 90.0 + 80.0 * severe,
                });
            }
            Hardship::Lowlight => {
                self.gain = 0.42 - 0.1 * severe + random.between(-0.03, 0.03);
                self.noise = 3.0 + 1.8 * severe;
            }
            Hardship::Occlusion => {
                self.cover = Some(Spot {
                    x: random.between(0.3, 1.0),
                    y: random.between(0.3, 1.0),
                    across: 0.08 + 0.035 * severe,
                    down: 0.1 + 0.045 * severe,
                    angle: random.between(0.0, PI),
                    strength: random.between(120.0, 190.0),
                });
            }
            Hardship::Moire => {
                self.stripes = Some((random.between(2.2, 5.0), random.between(0.0, PI), 8.0 + 9.0 * severe))
            }
            Hardship::Jpeg => self.quality = (60.0 - 6.5 * severe + random.between(-3.0, 3.0)) as u8,
            _ => {}
        }
    }

    /// The next frame of a burst: the hand moves on, and so does the reflection.
    pub(crate) fn changed(&self, random: &mut Random) -> Self {
        let mut next = self.clone();
        next.defocus *= random.between(0.75, 1.15);
        next.motion = (self.motion.0 * random.between(0.5, 1.2), self.motion.1 + random.between(-0.7, 0.7));
        if let Some(spot) = &mut next.glare {
            spot.x += random.between(-0.3, 0.3);
            spot.y += random.between(-0.3, 0.3);
        }
        next.gain *= random.between(0.9, 1.15);
        next
    }

    pub(crate) fn apply(&self, picture: &mut Picture, scene: &Scene, random: &mut Random) {
        if let Some(cover) = &self.cover {
            each(picture, |x, y, luma| if reach(cover, scene, x, y) < 1.0 { cover.strength } else { luma });
        }
        if self.defocus > 0.3 {
            let radius = self.defocus;
            let whole = radius.ceil() as i32;
            let places = (-whole..=whole).flat_map(|y| (-whole..=whole).map(move |x| (x, y)));
            // The rim counts by how much of it is inside.
            let weighed = places.map(|(x, y)| (x, y, (radius + 0.5 - (x as f32).hypot(y as f32)).clamp(0.0, 1.0)));
            convolve(picture, &weighed.filter(|place| place.2 > 0.0).collect::<Vec<_>>());
        }
        if self.motion.0 > 0.5 {
            let (sine, cosine) = self.motion.1.sin_cos();
            let steps = (self.motion.0 * 3.0).ceil() as i32;
            let mut weights = std::collections::BTreeMap::new();
            for step in 0..=steps {
                let along = self.motion.0 * (step as f32 / steps as f32 - 0.5);
                let (x, y) = (along * cosine, along * sine);
                let (left, top) = (x.floor(), y.floor());
                for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                    let weight = (1.0 - (x - left - dx as f32).abs()) * (1.0 - (y - top - dy as f32).abs());
                    *weights.entry((left as i32 + dx, top as i32 + dy)).or_insert(0.0) += weight;
                }
            }
            let weighed: Vec<_> = weights.into_iter().map(|((x, y), weight)| (x, y, weight)).collect();
            convolve(picture, &weighed);
        }
        let soft = |distance: f32| (-0.5 * (distance / self.softness).powi(2)).exp();
        let kernel = (-1..=1).flat_map(|y: i32| (-1..=1).map(move |x: i32| (x, y)));
        convolve(picture, &kernel.map(|(x, y)| (x, y, soft((x as f32).hypot(y as f32)))).collect::<Vec<_>>());
        if let Some((period, angle, strength)) = self.stripes {
            let (sine, cosine) = angle.sin_cos();
            each(picture, |x, y, luma| {
                let (u, v) = scene.on_code(x, y);
                let wave = ((x * cosine + y * sine) * TAU / period).sin()
                    * ((y * cosine - x * sine) * TAU / (period * 1.07)).sin();
                let on_screen = u > -5.0 && v > -8.0 && u < scene.size().0 as f32 + 5.0;
                if on_screen { luma * (1.0 + wave * strength / 200.0) } else { luma }
            });
        }
        if let Some(glare) = &self.glare {
            each(picture, |x, y, luma| luma + glare.strength * 2.2 * (-reach(glare, scene, x, y).powi(2)).exp());
        }
        let (gain, noise) = (self.gain, self.noise);
        for luma in &mut picture.luma {
            let light = *luma * gain;
            // Noise of the light itself, and of the sensor.
            *luma = light + random.normal() * (noise * noise * 0.5 + light.max(0.0) * 0.02).sqrt();
        }
    }
}

/// How far from the middle of a spot a pixel lies: 1 is its rim.
fn reach(spot: &Spot, scene: &Scene, x: f32, y: f32) -> f32 {
    let (u, v) = scene.on_code(x, y);
    let (across, down) = (scene.size().0 as f32, scene.size().1 as f32);
    let side = across.max(down).min(down * 3.0);
    let (dx, dy) = ((u - spot.x * across) / side, (v - spot.y * down) / side);
    let (sine, cosine) = spot.angle.sin_cos();
    ((dx * cosine + dy * sine) / spot.across).hypot((dy * cosine - dx * sine) / spot.down)
}

fn each(picture: &mut Picture, change: impl Fn(f32, f32, f32) -> f32) {
    let width = picture.width;
    for (at, luma) in picture.luma.iter_mut().enumerate() {
        *luma = change((at % width) as f32 + 0.5, (at / width) as f32 + 0.5, *luma);
    }
}

/// The weighed mean of pixels around each; beyond the border the last goes on.
fn convolve(picture: &mut Picture, kernel: &[(i32, i32, f32)]) {
    let (width, height) = (picture.width as i32, picture.height as i32);
    let whole: f32 = kernel.iter().map(|place| place.2).sum();
    let before = picture.luma.clone();
    for y in 0..height {
        for x in 0..width {
            let sum: f32 = kernel
                .iter()
                .map(|&(dx, dy, weight)| {
                    let (x, y) = ((x + dx).clamp(0, width - 1), (y + dy).clamp(0, height - 1));
                    before[(y * width + x) as usize] * weight
                })
                .sum();
            picture.luma[(y * width + x) as usize] = sum / whole;
        }
    }
}
