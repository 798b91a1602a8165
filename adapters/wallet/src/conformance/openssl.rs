//! The `openssl` program, a third party to signatures that an adapter makes and believes.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// Runs `openssl` on `input` and gives what it printed, or nothing where it refused.
/// # Panics
/// Where there is no such program.
#[must_use]
pub fn openssl(arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("these tests need the openssl program: {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    output.status.success().then_some(output.stdout)
}

/// A file for `openssl`, gone with this value. What is in it are test keys.
#[derive(Debug)]
pub struct TestFile(PathBuf);

impl TestFile {
    /// A file with this content, of a name of its own.
    /// # Panics
    /// Where it can't be written.
    #[must_use]
    pub fn new(content: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("scanback-openssl-{}-{count}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    /// Where it is.
    /// # Panics
    /// Where the temporary folder's name is no UTF-8.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
