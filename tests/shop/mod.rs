//! A whole shop for one test: the real service and the real sandbox as processes on ports of their own, a fresh store,
//! tokens, and the comparison of the books at the end.

mod books;
mod caller;
mod hand;
mod line;
mod opening;
pub(crate) mod pen;
pub(crate) mod pictures;
mod postgres;
mod program;
mod redis;
mod store;
mod wallets;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::Value;
use uuid::Uuid;

pub(crate) use caller::{Answer, Call, Caller, fen, fresh_key};
pub(crate) use line::Line;
pub(crate) use opening::Opening;
pub(crate) use postgres::PostgresServer;
pub(crate) use program::{Program, another_time, run, scanback};
pub(crate) use redis::RedisServer;
pub(crate) use store::{Store, is_whole_run, on_postgres};
pub(crate) use wallets::{ALIPAY, Sandbox, WALLETS, WECHAT};

/// How long a state may take to come. Far more than it needs: only a failing test waits for all of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a state is looked for.
pub(crate) const POLL: Duration = Duration::from_millis(15);
/// `serve` and `demo` stop within this (contract §2).
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// The environment variable of a setting, `section.key`.
pub(crate) fn variable(setting: &str) -> String {
    format!("SCANBACK__{}", setting.replace('.', "__").to_uppercase())
}

/// An open shop. Every test ends with [`Shop::close`].
pub(crate) struct Shop {
    dir: PathBuf,
    config_file: PathBuf,
    settings: BTreeMap<String, String>,
    sandboxes: Vec<Sandbox>,
    pub(crate) store: Store,
    service: Option<Program>,
    base: String,
    http: reqwest::Client,
    tokens: Mutex<BTreeMap<(String, String), String>>,
    secrets: Mutex<Vec<String>>,
    closed: bool,
}

impl Shop {
    /// A shop that opens with the usual settings.
    #[expect(clippy::new_ret_no_self, reason = "a shop is described first and opened then")]
    pub(crate) fn new() -> Opening {
        Opening::usual()
    }

    /// `scanback` with this shop's settings in the environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = scanback();
        command.args(arguments).arg("--config").arg(&self.config_file).envs(&self.settings);
        command
    }

    /// Runs a command with this shop's settings to its end.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        run(&mut self.command(arguments), input)
    }

    /// Tries to start the service with something changed: what it says on standard error when it ends at once, in failure.
    pub(crate) fn does_not_start(&self, change: impl FnOnce(&mut Command)) -> String {
        let mut command = self.command(&["serve"]);
        change(&mut command);
        let output = run(&mut command, "");
        assert!(!output.status.success(), "it ended well");
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    /// Changes a setting for the next start.
    pub(crate) fn set(&mut self, name: &str, value: impl ToString) {
        self.settings.insert(variable(name), value.to_string());
    }

    /// Sets a variable of the environment for the next start.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// Starts the service; again on the address that it had before, because the wallets know it.
    pub(crate) async fn start(&mut self) {
        let (service, url) = Program::start("service", self.command(&["serve"]), &self.dir, "listening on ").await;
        self.settings.insert(variable("http.listen"), url.trim_start_matches("http://").to_owned());
        self.base = url;
        self.service = Some(service);
    }

    /// Starts one more service on the same ledger, keys and wallets.
    pub(crate) async fn start_replica(&self) -> Replica {
        let (service, base) = self.start_replica_at("127.0.0.1:0").await;
        Replica { service, base }
    }

    async fn start_replica_at(&self, address: &str) -> (Program, String) {
        let mut command = self.command(&["serve"]);
        command.env(variable("http.listen"), address);
        Program::start("replica", command, &self.dir, "listening on ").await
    }

    /// Kills the service as a power cut would (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.service.as_mut().unwrap().kill();
    }

    /// Kills it and starts it again.
    pub(crate) async fn crash(&mut self) {
        self.kill();
        self.start().await;
    }

    /// Asks the service to stop, and waits for nothing.
    pub(crate) fn ask_to_stop(&self) {
        self.service.as_ref().unwrap().ask_to_stop();
    }

    /// Asks the service to read the keys of its wallets again.
    pub(crate) fn reload(&self) {
        self.service.as_ref().unwrap().reload();
    }

    /// Waits until the service that was asked to stop has stopped.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.service.as_mut().unwrap().stop(STOPS_WITHIN).await
    }

    /// What the service has logged.
    pub(crate) fn log(&self) -> String {
        self.service.as_ref().map(Program::log).unwrap_or_default()
    }

    /// Waits until the service has logged a text so often.
    pub(crate) async fn until_logged(&self, times: usize, text: &str) {
        let began = Instant::now();
        while self.log().matches(text).count() < times {
            assert!(began.elapsed() < PATIENCE, "{text:?} is not logged {times} times");
            tokio::time::sleep(POLL).await;
        }
    }

    /// The configuration file.
    pub(crate) fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// Where the service listens, `http://…`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The wallets.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandboxes[0]
    }

    /// The wallets, to be stopped.
    pub(crate) fn sandbox_mut(&mut self) -> &mut Sandbox {
        &mut self.sandboxes[0]
    }

    /// The wallets of the second merchant.
    pub(crate) fn other_sandbox(&self) -> &Sandbox {
        &self.sandboxes[1]
    }

    /// A text that must be in no log and no table.
    pub(crate) fn plant(&self, secret: impl Into<String>) {
        self.secrets.lock().unwrap().push(secret.into());
    }

    /// Makes a token by the command line: its text.
    pub(crate) fn make_token(&self, role: &str, merchant: &str, name: &str) -> String {
        let output = self.run(&["token", "create", "--role", role, "--merchant", merchant, "--name", name], "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        let token = printed.strip_suffix('\n').unwrap();
        assert!(!token.is_empty() && !token.contains(char::is_whitespace), "the token is printed alone: {printed:?}");
        self.plant(token);
        token.to_owned()
    }

    /// The same caller at another address of the desk, such as a proxy's.
    pub(crate) fn merchant_at(&self, base: &str) -> Caller {
        Caller { base: base.to_owned(), ..self.merchant() }
    }

    /// Who calls with this token.
    pub(crate) fn with_token(&self, token: &str) -> Caller {
        Caller { http: self.http.clone(), base: self.base.clone(), token: Some(token.to_owned()) }
    }

    /// Who calls without one.
    pub(crate) fn stranger(&self) -> Caller {
        Caller { http: self.http.clone(), base: self.base.clone(), token: None }
    }

    /// A caller of this role; its token is made once.
    pub(crate) fn caller(&self, role: &str, merchant: &str) -> Caller {
        let mut tokens = self.tokens.lock().unwrap();
        let place = (role.to_owned(), merchant.to_owned());
        let token = tokens.entry(place).or_insert_with(|| self.make_token(role, merchant, "test-1"));
        self.with_token(token)
    }

    /// The terminal at the till.
    pub(crate) fn terminal(&self) -> Caller {
        self.caller("terminal", "demo")
    }

    /// The merchant's own system.
    pub(crate) fn merchant(&self) -> Caller {
        self.caller("merchant", "demo")
    }

    /// A person with a PIN.
    pub(crate) fn add_operator(&self, id: &str, role: &str, pin: &str) {
        self.plant(pin);
        let arguments = ["operator", "add", "--merchant", "demo", "--id", id, "--role", role];
        let output = self.run(&arguments, &format!("{pin}\n"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A refund as it now stands.
    pub(crate) async fn refund(&self, refund_id: &str) -> Value {
        let answer = self.merchant().get(&format!("/v1/refunds/{refund_id}")).await;
        answer.assert_status(200);
        answer.body
    }

    /// Waits until a refund is in a state. One that ended otherwise fails at once.
    pub(crate) async fn until(&self, refund_id: &str, state: &str) -> Value {
        let began = Instant::now();
        loop {
            let refund = self.refund(refund_id).await;
            let now = refund["state"].as_str().unwrap().to_owned();
            if now == state {
                return refund;
            }
            let is_over = matches!(now.as_str(), "succeeded" | "failed");
            assert!(!is_over && began.elapsed() < PATIENCE, "not {state} but {refund:#}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a refund fits.
    pub(crate) async fn until_refund(&self, refund_id: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let refund = self.refund(refund_id).await;
            if fits(&refund) {
                return refund;
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what}: {refund:#}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// `/readyz`.
    pub(crate) async fn ready(&self) -> Answer {
        self.stranger().get("/readyz").await
    }

    /// Waits until `/readyz` fits.
    pub(crate) async fn until_ready(&self, what: &str, fits: impl Fn(&Answer) -> bool) -> Answer {
        let began = Instant::now();
        loop {
            let ready = self.ready().await;
            if fits(&ready) {
                return ready;
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what}: {}", ready.text);
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until nothing is under way but `open` refunds that stay so, and nothing waits to be told.
    pub(crate) async fn until_settled(&self, open: i64) {
        self.until_ready("all work to be done", |ready| {
            ready.body["follow_ups"]["open"] == open && ready.body["webhooks"]["waiting"] == 0
        })
        .await;
    }

    /// Closes the shop: the books agree, no work is left, no secret is anywhere, and the service stops in time.
    pub(crate) async fn close(self) {
        self.close_with_open(0).await;
    }

    /// The same where `open` refunds can't end by themselves.
    pub(crate) async fn close_with_open(mut self, open: i64) {
        self.closed = true;
        self.sandbox().no_more_faults().await;
        self.until_settled(open).await;
        books::compare(&self).await;
        for sandbox in &mut self.sandboxes {
            sandbox.stop().await;
        }
        self.close_without_wallets().await;
    }

    /// The same where the wallets were killed: what can be said without them.
    pub(crate) async fn close_without_wallets(mut self) {
        self.closed = true;
        self.ask_to_stop();
        assert!(self.stop().await.success(), "the service did not stop well");
        books::no_secret_is_anywhere(&self);
        self.store.remove().await;
    }

    /// Where the service never ran, or is dead on purpose.
    pub(crate) async fn abandon(mut self) {
        self.closed = true;
        self.service = None;
        self.store.remove().await;
    }
}

/// One more service of a shop, as long as it is kept.
pub(crate) struct Replica {
    pub(crate) service: Program,
    base: String,
}

impl Replica {
    /// Asks it to stop, and waits until it has ended what it had in hand.
    pub(crate) async fn until_ended(mut self) {
        assert!(self.service.stop(STOPS_WITHIN).await.success());
    }

    /// Where it listens, `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// Stops it the regular way, and starts it again where it was.
    pub(crate) async fn restart(&mut self, shop: &Shop) {
        assert!(self.service.stop(STOPS_WITHIN).await.success());
        let address = self.address().to_owned();
        self.service = shop.start_replica_at(&address).await.0;
    }

    /// Kills it and starts it again where it was.
    pub(crate) async fn crash(&mut self, shop: &Shop) {
        self.service.kill();
        let address = self.address().to_owned();
        self.service = shop.start_replica_at(&address).await.0;
    }

    /// The merchant's own system, calling this one.
    pub(crate) fn caller(&self, shop: &Shop) -> Caller {
        shop.merchant_at(&self.base)
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the shop's files stay in {}", self.dir.display());
            return;
        }
        let _ = std::fs::remove_dir_all(&self.dir);
        assert!(self.closed, "a test ends with the books: close the shop");
    }
}

/// A repeatable source of chance. Its seed is printed, and `SCANBACK_TEST_SEED` sets it.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new() -> Self {
        let given = std::env::var("SCANBACK_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| Uuid::now_v7().as_u64_pair().1);
        println!("SCANBACK_TEST_SEED={seed}");
        Self(seed)
    }

    /// The chance of this seed.
    pub(crate) const fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `end`, itself left out.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // SplitMix64 (Steele, Lea and Flood 2014)
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
