//! `scanback decode`: what the service would read in files, without a ledger (contract §2). `json` and `people` say it, `meaning`
//! is what they both say of a text.

mod json;
mod meaning;
mod people;

use std::{
    fs::File,
    io::{self, BufRead, Read, Write},
    path::{Path, PathBuf},
};

use self::{
    json::{Failed, line},
    people::for_people,
};
use super::annotate::annotate;
use crate::scan::{Clock, Limits, Reading, Stage, read_frame_by};

/// Nothing went wrong, also where nothing was found.
pub const EXIT_OK: u8 = 0;
/// At least one file could not be read as an image.
pub const EXIT_UNREADABLE: u8 = 2;

/// What to read, and how to say it.
#[derive(Clone, Debug, clap::Args)]
pub struct DecodeArgs {
    /// One line of JSON a file
    #[arg(long)]
    pub json: bool,
    /// Say what each stage did, how long it took, and what was given up and why
    #[arg(long)]
    pub explain: bool,
    /// Write the frame as a PNG with corners and stages drawn; of several files the last
    #[arg(long, value_name = "OUT.png")]
    pub annotate: Option<PathBuf>,
    /// Pictures (JPEG, PNG, WebP); `-` reads file names from standard input, one a line
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Reads every file and writes what is in it to `out`; names come from `names` where a file is `-`. Answers the exit code.
///
/// Texts are shown in full, payment codes too: the files are the caller's own.
/// # Errors
/// Only where `out` or `names` fails. A file that can't be read is said on `out`, and the others still run.
pub fn run(args: &DecodeArgs, names: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<u8> {
    run_within(&Limits::default(), args, names, out)
}

/// [`run`] with limits of one's own: tests don't race against a clock.
fn run_within(limits: &Limits, args: &DecodeArgs, names: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<u8> {
    let mut exit = EXIT_OK;
    for file in &args.files {
        if file.as_os_str() == "-" {
            let mut name = String::new();
            while names.read_line(&mut name)? > 0 {
                let listed = name.trim_end_matches(['\n', '\r']);
                if !listed.is_empty() {
                    exit = exit.max(one(limits, args, Path::new(listed), out)?);
                }
                name.clear();
            }
        } else {
            exit = exit.max(one(limits, args, file, out)?);
        }
    }
    Ok(exit)
}

fn one(limits: &Limits, args: &DecodeArgs, file: &Path, out: &mut dyn Write) -> io::Result<u8> {
    let name = file.to_string_lossy();
    match read(limits, args, file) {
        Ok(reading) if args.json => {
            serde_json::to_writer(&mut *out, &line(&name, &reading, args.explain))?;
            writeln!(out)?;
        }
        Ok(reading) => for_people(&name, &reading, args.explain, out)?,
        Err(error) => {
            if args.json {
                serde_json::to_writer(&mut *out, &Failed { file: &name, error: &error })?;
                writeln!(out)?;
            } else {
                writeln!(out, "{name}: {error}")?;
            }
            return Ok(EXIT_UNREADABLE);
        }
    }
    Ok(EXIT_OK)
}

fn read(limits: &Limits, args: &DecodeArgs, file: &Path) -> Result<Reading, String> {
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know that there are too many.
    let most = u64::try_from(limits.max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let opened = File::open(file).and_then(|open| open.take(most).read_to_end(&mut bytes));
    opened.map_err(|error| format!("it can't be read: {error}"))?;
    let (reading, luma) =
        read_frame_by(&bytes, limits, &Stage::CHAIN, Clock::Wall).map_err(|error| error.to_string())?;
    if let Some(to) = &args.annotate {
        annotate(&luma, &reading, to).map_err(|error| format!("{} can't be written: {error}", to.display()))?;
    }
    Ok(reading)
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
