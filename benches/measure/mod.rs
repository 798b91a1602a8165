//! What the benches measure with: our own binary as a process with its CPU time, and the unit that they compare with.

#![allow(dead_code, reason = "no bench needs all of it")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{self, KeyPair as _, UnparsedPublicKey},
};

/// `USER_HZ` of Linux: ticks a second in /proc/PID/stat.
const TICKS_PER_SECOND: f64 = 100.0;

/// Camera frames of 1280 x 720 in `fixtures/frames`.
pub(crate) const FRAMES: [&str; 6] = [
    "qr-alipay-720.jpg",
    "qr-order-720.jpg",
    "both-alipay-720.jpg",
    "bars-order-720.jpg",
    "bars-refund-720.jpg",
    "bars-turned-wechat-720.jpg",
];

pub(crate) type Failure = Box<dyn std::error::Error>;

/// A folder of this run's own, gone with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn make() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("scanback-bench-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A child process that is gone with us.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts the binary; the process and the address that its line `… on URL` names.
    pub(crate) fn start(args: &[&str], env: &[(&str, &str)]) -> Result<(Self, String), Failure> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scanback"));
        command.args(args).envs(env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        let running = Self(child);
        for line in BufReader::new(output).lines() {
            if let Some((_, url)) = line?.split_once(" on http") {
                return Ok((running, format!("http{}", url.trim())));
            }
        }
        Err("it ended before it listened".into())
    }

    /// A sandbox that fills this folder.
    pub(crate) fn sandbox(folder: &Path, time_scale: &str) -> Result<(Self, String), Failure> {
        let dir = folder.to_str().ok_or("the folder's name")?;
        Self::start(&["sandbox", "--listen", "127.0.0.1:0", "--dir", dir, "--time-scale", time_scale], &[])
    }

    /// A program that was started elsewhere.
    pub(crate) fn of(child: Child) -> Self {
        Self(child)
    }

    /// CPU seconds, user and system.
    pub(crate) fn cpu(&self) -> Result<f64, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).ok_or("no ticks");
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }

    /// Resident memory in megabytes.
    pub(crate) fn memory(&self) -> Result<f64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse::<f64>()? / 1024.0)
    }
}

/// A token of the merchant `demo`, made by the command as an operator would.
pub(crate) fn merchant_token(config: &Path, env: &[(&str, &str)]) -> Result<String, Failure> {
    let output = Command::new(env!("CARGO_BIN_EXE_scanback"))
        .args(["token", "create", "--role", "merchant", "--merchant", "demo", "--name", "load", "--config"])
        .arg(config)
        .envs(env.iter().copied())
        .output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Seconds of one `work`, out of `times` in a row: the best of five rounds, since the machine is shared.
pub(crate) fn seconds_of(times: u32, mut work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        for _ in 0..times {
            work()?;
        }
        best = best.min(began.elapsed().as_secs_f64() / f64::from(times));
    }
    Ok(best)
}

/// One signature and one verification: the unit of the figure.
struct Rsa {
    key: KeyPair,
    public: UnparsedPublicKey<Vec<u8>>,
    random: SystemRandom,
    signed: Vec<u8>,
}

const MESSAGE: [u8; 400] = [7; 400];

impl Rsa {
    fn new() -> Result<Self, Failure> {
        let key = KeyPair::generate(KeySize::Rsa2048)?;
        let public = UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref().to_vec());
        let mut rsa = Self { signed: vec![0; key.public_modulus_len()], key, public, random: SystemRandom::new() };
        rsa.sign()?;
        Ok(rsa)
    }

    fn sign(&mut self) -> Result<(), Failure> {
        Ok(self.key.sign(&signature::RSA_PKCS1_SHA256, &self.random, &MESSAGE, &mut self.signed)?)
    }

    fn verify(&self) -> Result<(), Failure> {
        Ok(self.public.verify(&MESSAGE, &self.signed)?)
    }
}

/// Seconds of a signature and of a verification on a machine that does nothing else, the best of five rounds.
pub(crate) fn rsa_alone() -> Result<(f64, f64), Failure> {
    let mut rsa = Rsa::new()?;
    let sign = seconds_of(200, || rsa.sign())?;
    let verify = seconds_of(2000, || rsa.verify())?;
    Ok((sign, verify))
}

/// The same as CPU time while a load runs: a thread signs and verifies now and then. What a shared machine takes from everybody it
/// takes from this too, which a best of five beforehand hides.
pub(crate) struct RsaBeside {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(f64, f64), String>>,
}

impl RsaBeside {
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || measure_beside(&told).map_err(|error| error.to_string()));
        Self { stop, thread }
    }

    /// CPU seconds of a signature and of a verification.
    pub(crate) fn end(self) -> Result<(f64, f64), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| "the thread that signs broke off")??)
    }
}

fn measure_beside(stop: &AtomicBool) -> Result<(f64, f64), Failure> {
    let mut rsa = Rsa::new()?;
    let (mut signs, mut verifies) = (Rounds::of(3), Rounds::of(20));
    while !stop.load(Ordering::Relaxed) || verifies.rounds == 0 {
        signs.another(|| rsa.sign())?;
        verifies.another(|| rsa.verify())?;
    }
    Ok((signs.mean(), verifies.mean()))
}

/// Pieces of work with pauses between them, and the CPU time that they took.
struct Rounds {
    times: u32,
    rounds: u32,
    seconds: f64,
}

impl Rounds {
    const fn of(times: u32) -> Self {
        Self { times, rounds: 0, seconds: 0.0 }
    }

    fn another(&mut self, mut work: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
        let before = thread_cpu()?;
        for _ in 0..self.times {
            work()?;
        }
        // the kernel's count is up to date where the thread was away
        std::thread::sleep(Duration::from_millis(12));
        (self.rounds, self.seconds) = (self.rounds + 1, self.seconds + thread_cpu()? - before);
        Ok(())
    }

    fn mean(&self) -> f64 {
        self.seconds / f64::from(self.rounds * self.times)
    }
}

/// CPU seconds of this thread, from the kernel's nanoseconds.
fn thread_cpu() -> Result<f64, Failure> {
    let told = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(told.split_whitespace().next().ok_or("no schedstat")?.parse::<f64>()? / 1e9)
}
