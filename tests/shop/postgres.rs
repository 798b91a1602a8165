//! A PostgreSQL server of one test alone, to be killed, restarted, crowded and failed over.

use std::{
    net::TcpListener,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use super::{PATIENCE, POLL, store};

/// The server; gone with the test. `fsync` is on, as it must be where money is kept.
pub(crate) struct PostgresServer {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    arguments: Vec<String>,
    process: Option<Child>,
}

/// Debian's newest PostgreSQL.
fn bin() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<_> = versions.map(|version| version.unwrap().path().join("bin")).collect();
    found.retain(|bin| bin.join("initdb").exists());
    found.sort();
    found.pop()
}

/// PostgreSQL refuses to run as root: who runs it instead.
fn user() -> Option<(u32, u32)> {
    let id = |words: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(words).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    (id(&["-u"]) == Some(0)).then(|| (id(&["-u", "postgres"]).unwrap(), id(&["-g", "postgres"]).unwrap()))
}

impl PostgresServer {
    fn place() -> Option<Self> {
        let Some(bin) = bin() else {
            assert!(!store::is_whole_run(), "tests/run installs PostgreSQL");
            eprintln!("SKIPPED: no PostgreSQL to test with; on Debian: apt-get install postgresql");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = std::env::temp_dir().join(format!("scanback-test-postgres-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        if let Some((user, group)) = user() {
            chown(&dir, Some(user), Some(group)).unwrap();
        }
        Some(Self { bin, dir, port, arguments: Vec::new(), process: None })
    }

    /// Starts an empty one with settings, `name=value`. `None`, loudly, where none is installed.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        let mut server = Self::place()?;
        let data = server.data();
        server
            .run("initdb", &["--auth=trust", "--username=scanback", "--encoding=UTF8", "--no-sync", "--pgdata", &data]);
        server.arguments = settings.iter().map(|&setting| setting.to_owned()).collect();
        server.launch();
        Some(server)
    }

    /// Starts a standby of this one.
    pub(crate) fn standby(&self, settings: &[&str]) -> Self {
        let mut standby = Self::place().unwrap();
        let (data, port) = (standby.data(), self.port.to_string());
        let words =
            ["--host=127.0.0.1", "--port", &port, "--username=scanback", "--write-recovery-conf", "--checkpoint=fast"];
        standby.run("pg_basebackup", &[&words[..], &["--no-sync", "--pgdata", &data]].concat());
        standby.arguments = settings.iter().map(|&setting| setting.to_owned()).collect();
        standby.launch();
        standby
    }

    fn data(&self) -> String {
        self.dir.join("data").display().to_string()
    }

    fn command(&self, program: &str) -> Command {
        let path = self.bin.join(program);
        let mut command = match user() {
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", &user.to_string(), "--regid", &group.to_string(), "--clear-groups"]).arg(path);
                command
            }
            None => Command::new(path),
        };
        command.current_dir(&self.dir).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, words: &[&str]) {
        let output = self.command(program).args(words).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts it on its port, and waits until it takes connections.
    pub(crate) fn launch(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let mut command = self.command("postgres");
        command.args(["-D", &self.data(), "-p", &self.port.to_string()]);
        command
            .args(["-c", "listen_addresses=127.0.0.1", "-c"])
            .arg(format!("unix_socket_directories={}", self.data()));
        command.args(self.arguments.iter().flat_map(|setting| ["-c", setting]));
        self.process = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let began = Instant::now();
        let port = self.port.to_string();
        loop {
            let ready = self.command("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &port]).status().unwrap();
            if ready.success() {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "PostgreSQL does not start: {}", self.log());
            std::thread::sleep(POLL);
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Kills every process of it, as a power cut would.
    pub(crate) fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let children =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", process.id())).unwrap_or_default();
        process.kill().unwrap();
        process.wait().unwrap();
        for child in children.split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", child]).stderr(Stdio::null()).status();
        }
        // until the last has let go of the files, no other may start on them
        let began = Instant::now();
        while children.split_whitespace().any(|child| Path::new("/proc").join(child).exists()) {
            assert!(began.elapsed() < PATIENCE, "PostgreSQL's processes stay");
            std::thread::sleep(POLL);
        }
    }

    /// Stops it the quick regular way, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.run("pg_ctl", &["stop", "--mode=fast", "--pgdata", &self.data()]);
        self.process.take().unwrap().wait().unwrap();
        self.launch();
    }

    /// A standby becomes the one that takes writes.
    pub(crate) fn promote(&self) {
        self.run("pg_ctl", &["promote", "--pgdata", &self.data()]);
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What `database.url` is set to.
    pub(crate) fn url(&self) -> String {
        format!("postgres://scanback@{}/postgres", self.address())
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- PostgreSQL's log ---\n{}", self.log());
        }
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
