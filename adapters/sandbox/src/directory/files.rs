//! Reading and writing the directory: each file is whole or absent, private ones are mode 0600.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rand_chacha::ChaCha20Rng;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    SandboxError,
    keys::{Certificate, KeyError, SigningKey},
};

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Makes the directory and its two halves; its absolute name.
pub(super) fn prepare(dir: &Path) -> Result<PathBuf, SandboxError> {
    let failed = |source| SandboxError::Directory { path: dir.to_owned(), source };
    for half in ["wechat", "alipay"] {
        fs::create_dir_all(dir.join(half)).map_err(failed)?;
    }
    dir.canonicalize().map_err(failed)
}

pub(super) fn bad(path: &Path, source: KeyError) -> SandboxError {
    SandboxError::BadFile { path: path.to_owned(), why: source.to_string() }
}

/// The key in this file, made now where there is none.
pub(super) fn key(path: &Path, rng: &mut ChaCha20Rng) -> Result<SigningKey, SandboxError> {
    if let Some(pem) = read(path)? {
        return SigningKey::from_pem(&pem).map_err(|source| bad(path, source));
    }
    let key = SigningKey::generate(rng).map_err(SandboxError::from)?;
    write_private(path, key.private_pem())?;
    Ok(key)
}

/// The certificate in this file, made now where there is none. It must belong to the key.
pub(super) fn certificate(
    path: &Path,
    key: &SigningKey,
    make: impl FnOnce() -> Result<Certificate, KeyError>,
) -> Result<Certificate, SandboxError> {
    if let Some(pem) = read(path)? {
        let certificate = Certificate::from_pem(&pem).map_err(|source| bad(path, source))?;
        if !certificate.fits(key) {
            let why = "it belongs to another key than the one beside it".to_owned();
            return Err(SandboxError::BadFile { path: path.to_owned(), why });
        }
        return Ok(certificate);
    }
    let certificate = make().map_err(SandboxError::from)?;
    write(path, &certificate.pem)?;
    Ok(certificate)
}

/// The secret text in this file, made now where there is none.
pub(super) fn text_or_else(path: &Path, make: impl FnOnce() -> String) -> Result<String, SandboxError> {
    if let Some(text) = read(path)? {
        return Ok(text);
    }
    let text = make();
    write_private(path, &text)?;
    Ok(text)
}

/// The public text in this file, made now where there is none.
pub(super) fn text_or_try(
    path: &Path,
    make: impl FnOnce() -> Result<String, KeyError>,
) -> Result<String, SandboxError> {
    if let Some(text) = read(path)? {
        return Ok(text);
    }
    let text = make().map_err(SandboxError::from)?;
    write(path, &text)?;
    Ok(text)
}

/// The JSON of this file, where there is one.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, SandboxError> {
    let Some(text) = read(path)? else { return Ok(None) };
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).map_err(|error| SandboxError::BadFile { path: path.to_owned(), why: error.to_string() })
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), SandboxError> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| SandboxError::File { path: path.to_owned(), source: error.into() })?;
    write_private(path, &format!("{text}\n"))
}

fn read(path: &Path) -> Result<Option<String>, SandboxError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SandboxError::File { path: path.to_owned(), source }),
    }
}

/// Writes a file that anyone may read.
pub(super) fn write(path: &Path, text: &str) -> Result<(), SandboxError> {
    replace(path, text, PUBLIC).map_err(|source| SandboxError::File { path: path.to_owned(), source })
}

/// Writes a file that holds a secret.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), SandboxError> {
    replace(path, text, PRIVATE).map_err(|source| SandboxError::File { path: path.to_owned(), source })
}

/// Beside it first, then over it: a reader sees the old text or the new one.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
