//! Frames and their truth: from a corpus's manifest, or fresh from the camera's model.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::camera::{Frame, Kind, burst};

/// What a frame shows.
#[derive(Clone)]
pub(crate) struct Truth {
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) bars: bool,
    /// The text of its code; `None` for a frame without one.
    pub(crate) text: Option<String>,
    /// Other texts that it shows.
    pub(crate) also: Vec<String>,
}

impl Truth {
    /// With the text of frames that were made for it.
    pub(crate) fn with(&self, frames: &[Frame]) -> Self {
        Self { text: frames.first().map(|frame| tidy(&frame.text)), ..self.clone() }
    }
}

/// The frames that a manifest lists, in the corpus's columns.
pub(crate) fn of_manifest(path: &str) -> Result<Vec<(Truth, PathBuf)>, Box<dyn Error>> {
    let folder = Path::new(path).parent().ok_or("the manifest has no folder")?;
    let mut rows = rows(&std::fs::read_to_string(path)?).into_iter();
    let columns = rows.next().ok_or("the manifest is empty")?;
    let column = |name: &str| {
        columns.iter().position(|one| one == name).ok_or_else(|| format!("the manifest has no column {name}"))
    };
    let (file, payload, also) = (column("file")?, column("payload")?, column("also")?);
    let (symbology, category) = (column("symbology")?, column("category")?);
    let truth = |row: Vec<String>| {
        let cell = |at: usize| row.get(at).map_or("", String::as_str);
        let text = Some(tidy(cell(payload))).filter(|text| !text.is_empty());
        let also: Vec<String> = serde_json::from_str(cell(also)).unwrap_or_default();
        let truth = Truth {
            name: cell(file).to_owned(),
            category: cell(category).to_owned(),
            bars: cell(symbology) == "code128",
            text,
            also: also.iter().map(|one| tidy(one)).collect(),
        };
        (truth, folder.join(cell(file)))
    };
    Ok(rows.map(truth).collect())
}

/// As the corpus's own scorer compares texts.
pub(crate) fn tidy(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\u{1d}', "");
    text.trim_matches(['\n', '\r', '\t', ' ', '\0', '\u{feff}']).to_owned()
}

/// The cells of a CSV, quotes undone.
fn rows(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = csv.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => cell.extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            '\r' if !quoted => {}
            _ => cell.push(character),
        }
    }
    if !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    rows
}

/// Whether a name belongs to a part such as `0/3`: the remainder of its SHA-256.
pub(crate) fn is_in(name: &str, part: &str) -> Result<bool, Box<dyn Error>> {
    let (nth, of) = part.split_once('/').ok_or("a part is N/M")?;
    let of: u64 = of.parse::<u64>()?.max(1);
    let rest = Sha256::digest(name).iter().fold(0, |rest, byte| (rest * 256 + u64::from(*byte)) % of);
    Ok(rest == nth.parse::<u64>()?)
}

/// Makes the frames of one kind.
type Maker = Box<dyn Fn(Kind) -> Result<Vec<Frame>, Box<dyn Error>>>;

/// Fresh frames: as many of each kind as the corpus's half has, or `count`, in bursts of `frames`.
pub(crate) fn fresh(seed: u64, frames: usize, count: Option<usize>) -> impl Iterator<Item = (Kind, Truth, Maker)> {
    (0_u64..).zip(Kind::ALL).flat_map(move |(at, (category, kind, share))| {
        (0..count.unwrap_or(share) as u64).map(move |nth| {
            let of = seed.wrapping_mul(1_000_003).wrapping_add(at * 10_007 + nth);
            let name = format!("{category}/{nth:03}");
            let truth = Truth { name, category: category.to_owned(), bars: kind.bars, text: None, also: Vec::new() };
            let maker: Maker = Box::new(move |kind| burst(kind, of, frames));
            (kind, truth, maker)
        })
    })
}
