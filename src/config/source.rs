//! Where a key comes from: a file, the environment, or a command that prints it.
//!
//! `path`, `file:path`, `env:NAME` or `command:LINE`. A command is for a vault's own tool: it runs once at the start and at
//! each reload, by `sh -c`, and what it prints on standard output is the key.

use std::{
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use super::{ConfigError, wrong};

/// How long a command may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(10);
/// Bytes that a key or a bundle of certificates may have.
const MAX_BYTES: u64 = 256 * 1024;

/// Reads the text that `place` names; `setting` is for the message where that fails. A path is looked up from `folder`.
pub(super) fn read(setting: &str, place: &str, folder: &Path) -> Result<Zeroizing<String>, ConfigError> {
    if let Some(name) = place.strip_prefix("env:") {
        let value = std::env::var(name).map_err(|_| wrong(setting, format!("the environment has no {name}")))?;
        return Ok(Zeroizing::new(value));
    }
    if let Some(line) = place.strip_prefix("command:") {
        return printed(setting, line);
    }
    let path = folder.join(place.strip_prefix("file:").unwrap_or(place));
    let failed = |error| wrong(setting, format!("{} can't be read: {error}", path.display()));
    let file = std::fs::File::open(&path).map_err(failed)?;
    text(setting, file)
}

/// A secret that may stand in the settings themselves: only with a prefix is it looked for elsewhere.
pub(super) fn secret(setting: &str, value: &str, folder: &Path) -> Result<Zeroizing<String>, ConfigError> {
    if ["env:", "file:", "command:"].iter().any(|prefix| value.starts_with(prefix)) {
        let text = read(setting, value, folder)?;
        return Ok(Zeroizing::new(text.trim().to_owned()));
    }
    Ok(Zeroizing::new(value.to_owned()))
}

fn text(setting: &str, from: impl std::io::Read) -> Result<Zeroizing<String>, ConfigError> {
    let mut bytes = Zeroizing::new(Vec::new());
    from.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(setting, format!("can't be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(setting, "is longer than any key or certificate"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong(setting, "is no text: PEM or base64 is needed"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// What a command prints. Its own words on standard error go where ours go; the line itself is not repeated in messages.
fn printed(setting: &str, line: &str) -> Result<Zeroizing<String>, ConfigError> {
    let failed = |what: String| wrong(setting, format!("the command {what}"));
    let mut child = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("could not be started: {error}")))?;
    let Some(output) = child.stdout.take() else { return Err(failed("has no output".to_owned())) };
    let name = setting.to_owned();
    let reading = std::thread::spawn(move || text(&name, output));
    let began = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if began.elapsed() < COMMAND_WITHIN => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(format!("did not end within {} s", COMMAND_WITHIN.as_secs())));
            }
        }
    };
    // first: a command that prints too much dies of nobody reading on, and that is not the cause to tell of
    let text = reading.join().map_err(|_| failed("could not be read".to_owned()))??;
    if !status.success() {
        return Err(failed(format!("failed: {status}")));
    }
    if text.trim().is_empty() {
        return Err(failed("printed nothing".to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_here(place: &str) -> Result<String, String> {
        read("merchant m, wechat.merchant_key_file", place, Path::new(env!("CARGO_MANIFEST_DIR")))
            .map(|text| text.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_comes_from_a_file_the_environment_or_a_command() {
        let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        assert_eq!(read_here("Cargo.toml"), Ok(manifest.clone()));
        assert_eq!(read_here("file:Cargo.toml"), Ok(manifest));
        assert_eq!(read_here("env:CARGO_MANIFEST_DIR"), Ok(env!("CARGO_MANIFEST_DIR").to_owned()));
        assert_eq!(read_here("command:printf 'a\\nb'"), Ok("a\nb".to_owned()));
    }

    #[test]
    fn what_can_not_be_had_is_named_and_a_command_is_not_repeated() {
        for (place, words) in [
            ("nowhere.pem", "nowhere.pem can't be read"),
            ("env:SCANBACK_TEST_NOT_SET", "the environment has no SCANBACK_TEST_NOT_SET"),
            ("command:exit 3", "the command failed"),
            ("command:true", "the command printed nothing"),
            ("command:head -c 300000 /dev/zero", "longer than any key"),
        ] {
            let error = read_here(place).unwrap_err();
            assert!(error.contains(words) && error.starts_with("merchant m, wechat.merchant_key_file"), "{error}");
            assert!(!error.contains("exit 3") && !error.contains("/dev/zero"), "{error}");
        }
    }

    #[test]
    fn a_secret_in_the_settings_is_taken_as_it_stands() {
        let secret = |value: &str| super::secret("x", value, Path::new(".")).map(|text| text.to_string());
        assert_eq!(secret("0123456789abcdef").unwrap(), "0123456789abcdef");
        assert_eq!(secret("command:printf ' abc\\n'").unwrap(), "abc");
    }
}
