//! What could have been a code and was not read, and why: for those who ask (`decode --explain`), and for `sight`, which
//! measures where a code was found instead of over the whole picture.

use serde::Serialize;

use super::{Corners, Stage, Symbology};

/// Traces that are kept of one look: noise makes many.
pub(super) const MOST: usize = 8;

/// Why something was not read, or not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The grid of a QR code was found, and error correction could not mend what was in it.
    NotCorrected,
    /// Finder patterns stand as those of a QR code do, and no grid fits them.
    NoGrid,
    /// One row or strip alone said a text, with a good check digit; no second one did.
    NotConfirmed,
    /// Bars, and no text in them with a good start, stop and check digit.
    NoText,
}

impl Why {
    /// In a word or two, for a picture.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::NotCorrected => "not corrected",
            Self::NoGrid => "no grid",
            Self::NotConfirmed => "not confirmed",
            Self::NoText => "no text",
        }
    }

    /// In words, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotCorrected => "a grid was found, error correction failed",
            Self::NoGrid => "finder patterns were found, no grid fits them",
            Self::NotConfirmed => "one row alone said a text, no second one confirmed it",
            Self::NoText => "bars were found, no text with a good check digit",
        }
    }
}

/// Something that could have been a code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trace {
    /// What it would have been.
    pub symbology: Symbology,
    /// Where: corners `[x, y]`, clockwise, in pixels of the picture as displayed.
    pub corners: [[i32; 2]; 4],
    /// The stage that gave it up; `None` where it was found after all stages.
    pub stage: Option<Stage>,
    /// Why.
    pub why: Why,
    /// Pixels a module, where that is known.
    pub module: Option<f32>,
}

impl Trace {
    pub(super) fn of(symbology: Symbology, corners: &Corners, why: Why) -> Self {
        Self { symbology, corners: corners.to_pixels(), stage: None, why, module: None }
    }

    pub(super) fn with_modules(self, modules: u32) -> Self {
        let [from, to, ..] = self.corners.map(|corner| corner.map(|value| value as f32));
        Self { module: Some((to[0] - from[0]).hypot(to[1] - from[1]) / modules.max(1) as f32), ..self }
    }
}
