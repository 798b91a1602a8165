//! A line of `decode --json` (contract §2).

use serde::Serialize;

use super::{
    meaning::{SubjectOut, form, subject},
    micros,
};
use crate::scan::{Reading, Stage, Symbol, Symbology, Trace, Why};

/// One line of `--json`.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    file: &'a str,
    elapsed_us: u64,
    symbols: Vec<SymbolOut<'a>>,
    subject: SubjectOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Explained>,
}

#[derive(Serialize)]
struct SymbolOut<'a> {
    symbology: Symbology,
    text: &'a str,
    corners: [[i32; 2]; 4],
}

#[derive(Serialize)]
struct Explained {
    width: u32,
    height: u32,
    unpacking_us: u64,
    looking_us: u64,
    stages: Vec<StageOut>,
    /// What each text that was read is, in the order of `symbols`.
    forms: Vec<&'static str>,
    given_up: Vec<TraceOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unread: Option<UnreadOut>,
}

#[derive(Serialize)]
struct StageOut {
    stage: Stage,
    elapsed_us: u64,
    read: usize,
    damaged: usize,
    empty: usize,
    panicked: bool,
}

#[derive(Serialize)]
struct TraceOut {
    symbology: Symbology,
    corners: [[i32; 2]; 4],
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<Stage>,
    why: Why,
}

#[derive(Serialize)]
struct UnreadOut {
    reason: &'static str,
    mean: u8,
    contrast: u8,
    blown: f32,
    sharpness: f32,
    finder_patterns: usize,
}

#[derive(Serialize)]
/// A file that can't be read as an image.
pub(super) struct Failed<'a> {
    pub(super) file: &'a str,
    pub(super) error: &'a str,
}

pub(super) fn line<'a>(file: &'a str, reading: &'a Reading, explain: bool) -> Line<'a> {
    let symbol =
        |one: &'a Symbol| SymbolOut { symbology: one.symbology, text: one.text.expose(), corners: one.corners };
    Line {
        file,
        elapsed_us: micros(reading.elapsed()),
        symbols: reading.symbols.iter().map(symbol).collect(),
        subject: subject(reading),
        explain: explain.then(|| explained(reading)),
    }
}

fn explained(reading: &Reading) -> Explained {
    Explained {
        width: reading.width,
        height: reading.height,
        unpacking_us: micros(reading.unpacking),
        looking_us: micros(reading.looking),
        stages: (reading.looks.iter())
            .map(|look| StageOut {
                stage: look.stage,
                elapsed_us: micros(look.elapsed),
                read: look.read,
                damaged: look.damaged,
                empty: look.empty,
                panicked: look.panicked,
            })
            .collect(),
        forms: reading.symbols.iter().map(form).collect(),
        given_up: (reading.traces.iter())
            .map(|&Trace { symbology, corners, stage, why, .. }| TraceOut { symbology, corners, stage, why })
            .collect(),
        unread: reading.sight.map(|sight| UnreadOut {
            reason: sight.reason.as_str(),
            mean: sight.mean,
            contrast: sight.contrast,
            blown: sight.blown,
            sharpness: sight.sharpness,
            finder_patterns: sight.finder_patterns,
        }),
    }
}
