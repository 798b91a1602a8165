//! A `redis-server` of one test alone, to be killed, paused, filled and emptied.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use redis::{FromRedisValue, RedisResult};

use super::{PATIENCE, POLL, store};

/// The server; gone with the test.
pub(crate) struct RedisServer {
    pub(crate) port: u16,
    dir: PathBuf,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// Starts one with more arguments. `None`, loudly, where none is installed; the whole run of `tests/run` has one.
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        if let Err(error) = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status() {
            assert!(!store::is_whole_run(), "tests/run installs redis-server: {error}");
            eprintln!("SKIPPED: no redis-server to test with ({error}); on Debian: apt-get install redis-server");
            return None;
        }
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("scanback-test-redis-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { port, dir, arguments, process: None };
        server.launch();
        Some(server)
    }

    /// Starts it on its port, empty.
    pub(crate) fn launch(&mut self) {
        let configuration = self.dir.join("redis.conf"); // a file, because a sentinel insists on one that it can write
        let mut lines = format!("bind 127.0.0.1\nport {}\ndir {}\n", self.port, self.dir.display());
        if !self.arguments.iter().any(|argument| argument == "--sentinel") {
            lines.push_str("save \"\"\nappendonly no\nrepl-diskless-sync-delay 0\n");
        }
        std::fs::write(&configuration, lines).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(configuration).args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        let began = Instant::now();
        while self.try_ask::<String>(&["PING"]).is_err() {
            assert!(began.elapsed() < PATIENCE, "redis-server does not answer on port {}", self.port);
            std::thread::sleep(POLL);
        }
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Stops or continues the process: it keeps its port and connections and answers nothing.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// What `redis.url` is set to.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Says a command: the answer, or why there is none.
    pub(crate) fn try_ask<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }

    /// Says a command: the answer.
    pub(crate) fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).unwrap()
    }

    /// Says a command.
    pub(crate) fn tell(&self, words: &[&str]) {
        self.ask::<redis::Value>(words);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A port that was free a moment ago, with the one 10000 above it, which a cluster node takes too.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}
