//! The file that books are kept in: JSON lines, appended in the moment of each change, written anew at each start.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    SandboxError,
    books::{Books, Line},
    scale::Scale,
};

/// Its name in the sandbox's directory.
pub(crate) const FILE: &str = "books.jsonl";

/// Writes changes down.
#[derive(Debug)]
pub(crate) struct Keeper {
    path: PathBuf,
    file: File,
}

impl Keeper {
    /// The books that `dir` holds, and who keeps them from now on. A last line that was cut off by a crash was never answered
    /// for, and is left out.
    /// # Errors
    /// [`SandboxError::BadFile`] for any other line that is none, [`SandboxError::File`] where it can't be read or written.
    pub(crate) fn open(dir: &Path, scale: Scale, seed: Option<u64>) -> Result<(Books, Self), SandboxError> {
        let path = dir.join(FILE);
        let failed = |source| SandboxError::File { path: path.clone(), source };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(failed)?,
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = Vec::new();
        for (nth, line) in whole.lines().enumerate() {
            lines.push(serde_json::from_str::<Line>(line).map_err(|error| SandboxError::BadFile {
                path: path.clone(),
                why: format!("line {}: {error}", nth + 1),
            })?);
        }
        let books = Books::of_lines(lines, scale, seed);
        let fresh = path.with_extension("jsonl.new");
        fs::write(&fresh, written(&books.lines()).map_err(failed)?).map_err(failed)?;
        fs::rename(&fresh, &path).map_err(failed)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(failed)?;
        Ok((books, Self { path, file }))
    }

    /// Writes lines down, all or (after a crash) a part that is left out. What can't be written is said, and lost at the next
    /// start: the wallets' clients are answered all the same.
    pub(crate) fn keep(&mut self, lines: &[Line]) {
        let kept = written(lines).and_then(|text| self.file.write_all(text.as_bytes()));
        if let Err(error) = kept {
            tracing::error!(%error, file = %self.path.display(), "the books could not be written down");
        }
    }
}

fn written(lines: &[Line]) -> io::Result<String> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
    }
    Ok(text)
}
