//! A camera over a counter, as a model: a telephone with a code on its screen, seen with what makes codes hard to read.
//! Seeded: the same seed, kind and number make the same frame. It is a model and not a camera: its rates compare readers.
//!
//! `scene` says what is in front of the camera, `lens` what happens to it on the way to a file.

mod lens;
mod random;
mod scene;

use std::{error::Error, io::Cursor};

use image::{GrayImage, codecs::jpeg::JpegEncoder};

#[allow(unused_imports, reason = "not every example that has this camera rolls dice of its own")]
pub(crate) use random::Random;
use scene::{Code, Scene};

/// What makes a frame hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hardship {
    Clean,
    Rotation,
    Perspective,
    Motion,
    Defocus,
    Glare,
    Lowlight,
    Small,
    Occlusion,
    Moire,
    Inverted,
    Jpeg,
    Combo,
}

/// A symbology and a hardship, as in the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) bars: bool,
    pub(crate) hardship: Hardship,
}

impl Kind {
    /// Every kind, with its name and how many of each the corpus's half has.
    pub(crate) const ALL: [(&'static str, Self, usize); 22] = [
        ("syn-qr-clean", Self::square(Hardship::Clean), 12),
        ("syn-qr-combo", Self::square(Hardship::Combo), 12),
        ("syn-qr-defocus", Self::square(Hardship::Defocus), 12),
        ("syn-qr-glare", Self::square(Hardship::Glare), 12),
        ("syn-qr-inverted", Self::square(Hardship::Inverted), 12),
        ("syn-qr-jpeg", Self::square(Hardship::Jpeg), 12),
        ("syn-qr-lowlight", Self::square(Hardship::Lowlight), 12),
        ("syn-qr-moire", Self::square(Hardship::Moire), 12),
        ("syn-qr-motion", Self::square(Hardship::Motion), 12),
        ("syn-qr-occlusion", Self::square(Hardship::Occlusion), 12),
        ("syn-qr-perspective", Self::square(Hardship::Perspective), 12),
        ("syn-qr-rotation", Self::square(Hardship::Rotation), 12),
        ("syn-qr-small", Self::square(Hardship::Small), 12),
        ("syn-c128-clean", Self::bars(Hardship::Clean), 7),
        ("syn-c128-combo", Self::bars(Hardship::Combo), 7),
        ("syn-c128-defocus", Self::bars(Hardship::Defocus), 7),
        ("syn-c128-glare", Self::bars(Hardship::Glare), 7),
        ("syn-c128-lowlight", Self::bars(Hardship::Lowlight), 7),
        ("syn-c128-motion", Self::bars(Hardship::Motion), 7),
        ("syn-c128-perspective", Self::bars(Hardship::Perspective), 7),
        ("syn-c128-rotation", Self::bars(Hardship::Rotation), 7),
        ("syn-c128-small", Self::bars(Hardship::Small), 7),
    ];

    const fn square(hardship: Hardship) -> Self {
        Self { bars: false, hardship }
    }

    const fn bars(hardship: Hardship) -> Self {
        Self { bars: true, hardship }
    }
}

/// A frame: its file and what it says.
pub(crate) struct Frame {
    /// A JPEG.
    pub(crate) file: Vec<u8>,
    /// The text of its code.
    pub(crate) text: String,
}

/// The frames of one code in a burst: the hand, the light and the noise change between them, the code does not.
pub(crate) fn burst(kind: Kind, seed: u64, frames: usize) -> Result<Vec<Frame>, Box<dyn Error>> {
    taken(kind, seed, frames, None)
}

/// A frame of a severity of one's own choice; [`burst`] has 1 to 3. 0 is a scene whose code's place is empty.
#[allow(dead_code, reason = "not every example that has this camera asks for it")]
pub(crate) fn at_severity(kind: Kind, seed: u64, severity: u32) -> Result<Vec<Frame>, Box<dyn Error>> {
    taken(kind, seed, 1, Some(severity))
}

fn taken(kind: Kind, seed: u64, frames: usize, severity: Option<u32>) -> Result<Vec<Frame>, Box<dyn Error>> {
    let mut random = Random::of(seed);
    let chosen = 1 + random.below(3) as u32;
    let mut code = Code::of(kind.bars, &mut random)?;
    if severity == Some(0) {
        code.wipe();
    }
    let severity = severity.map_or(chosen, |severity| severity.max(1));
    let (width, height) = [(640, 480), (640, 480), (640, 480), (1280, 720), (1280, 720), (1920, 1080)][random.below(6)];
    let scene = Scene::of(code, kind.hardship, severity, (width, height), &mut random);
    let settings = lens::Settings::of(kind, severity, scene.module(), &mut random);
    (0..frames)
        .map(|nth| {
            let mut random = Random::of(seed ^ (nth as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            // The first frame is the scene itself; a hand moves it a little for the others.
            let scene = if nth == 0 { scene.clone() } else { scene.shaken(&mut random) };
            let settings = if nth == 0 { settings.clone() } else { settings.changed(&mut random) };
            let mut picture = scene.drawn();
            settings.apply(&mut picture, &scene, &mut random);
            let pixels = picture.luma.iter().map(|value| value.round().clamp(0.0, 255.0) as u8).collect();
            let luma = GrayImage::from_raw(width as u32, height as u32, pixels).ok_or("a picture has its pixels")?;
            let mut file = Cursor::new(Vec::new());
            luma.write_with_encoder(JpegEncoder::new_with_quality(&mut file, settings.quality))?;
            Ok(Frame { file: file.into_inner(), text: scene.text().to_owned() })
        })
        .collect()
}
