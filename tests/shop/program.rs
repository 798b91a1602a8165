//! The real binary as a process: started, waited for by the line it prints, killed or asked to stop.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use super::{PATIENCE, POLL};

/// Another binary than the one that cargo built for these tests, for example the release.
const BINARY: &str = "SCANBACK_TEST_BINARY";

/// `scanback`.
pub(crate) fn scanback() -> Command {
    let mut command = Command::new(std::env::var_os(BINARY).unwrap_or_else(|| env!("CARGO_BIN_EXE_scanback").into()));
    // more than the default says: what must not be logged must not be logged at any level of ours
    command.env("RUST_LOG", "warn,scanback=trace,scanback_wechat=trace,scanback_alipay=trace,scanback_sandbox=trace");
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// The library that shows a process another time, where it is installed.
pub(crate) fn another_time() -> Option<&'static str> {
    let places = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    ];
    let found = places.into_iter().find(|place| Path::new(place).exists());
    if found.is_none() {
        assert!(!super::store::is_whole_run(), "tests/run installs faketime");
        eprintln!("SKIPPED: no libfaketime to test with; on Debian: apt-get install faketime");
    }
    found
}

/// Runs a command to its end; `input` is its standard input.
pub(crate) fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // one that ends before it reads has said why on standard error
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let (id, (ended, end)) = (child.id(), std::sync::mpsc::channel());
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    match end.recv_timeout(PATIENCE) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
            panic!("{command:?} did not end");
        }
    }
}

/// A running process, its output kept in a file. Killed when dropped.
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it, and waits until it prints a line that begins with `ready`: the rest of that line.
    pub(crate) async fn start(name: &'static str, command: Command, dir: &Path, ready: &str) -> (Self, String) {
        let mut program = Self::spawn(name, command, dir);
        let printed = program.child.stdout.take().unwrap();
        let ready = ready.to_owned();
        // a thread, because the pipe must be read to its end: a full one would stop the program
        let (line, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            use std::io::BufRead as _;
            let mut line = Some(line);
            for printed in std::io::BufReader::new(printed).lines().map_while(Result::ok) {
                if let Some(rest) = printed.strip_prefix(&ready)
                    && let Some(line) = line.take()
                {
                    let _ = line.send(rest.trim().to_owned());
                }
            }
        });
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(rest)) => (program, rest),
            _ => panic!("{name} did not start:\n{}", program.log_tail()),
        }
    }

    fn spawn(name: &'static str, mut command: Command, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = command.stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        Self { name, child, log }
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop (SIGTERM), and waits until it has.
    pub(crate) async fn stop(&mut self, within: Duration) -> ExitStatus {
        let asked = Instant::now();
        self.ask_to_stop();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(asked.elapsed() < within, "{} did not stop within {within:?}:\n{}", self.name, self.log_tail());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks it to stop, and waits for nothing.
    pub(crate) fn ask_to_stop(&self) {
        self.signal("-TERM");
    }

    /// Asks it to read its settings again.
    pub(crate) fn reload(&self) {
        self.signal("-HUP");
    }

    /// Holds it where it is; it keeps its sockets and says nothing.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Everything it logged, over all its starts.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        const TAIL: i64 = 6_000;
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            let _ = file.seek(SeekFrom::End(-TAIL));
            let _ = file.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the end of {}'s log ---\n{}", self.name, self.log_tail());
        }
    }
}
