//! The wallets of the shop: a sandbox process, and what a test does to it by control calls (contract §7).

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

use scanback::scan::{Limits, read_frame};
use serde_json::{Value, json};

use super::{
    PATIENCE, POLL,
    program::{Program, scanback},
};

/// A wallet, in the contract's word.
pub(crate) const WECHAT: &str = "wechat";
/// A wallet, in the contract's word.
pub(crate) const ALIPAY: &str = "alipay";
/// Both.
pub(crate) const WALLETS: [&str; 2] = [WECHAT, ALIPAY];

/// The keys that all sandboxes of this run share. Drawing six RSA keys takes a second of one core; every test would.
fn filled_directory() -> &'static Path {
    static FILLED: OnceLock<PathBuf> = OnceLock::new();
    static FILLING: Mutex<()> = Mutex::new(());
    let _alone = FILLING.lock().unwrap();
    FILLED.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sandbox-keys-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let log = std::fs::File::create(dir.join("sandbox.log")).unwrap();
        let mut command = scanback();
        command.args(["sandbox", "--listen", "127.0.0.1:0", "--dir"]).arg(&dir);
        let mut child = command.stdout(std::process::Stdio::null()).stderr(log).spawn().unwrap();
        let began = Instant::now();
        while !dir.join("scanback.toml").exists() {
            assert!(began.elapsed() < PATIENCE, "the sandbox did not fill {}", dir.display());
            std::thread::sleep(POLL);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        dir
    })
}

/// The files of a filled directory that make a sandbox who it is.
fn copy_identity(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_identity(&path, &target);
        } else if !path.extension().is_some_and(|end| end == "toml" || end == "log" || end == "sqlite") {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

/// A running sandbox.
pub(crate) struct Sandbox {
    program: Program,
    pub(crate) url: String,
    pub(crate) dir: PathBuf,
    http: reqwest::Client,
    /// Orders that were made here: (wallet, number).
    orders: Mutex<Vec<(String, String)>>,
    /// Payment codes and payers that were seen: they must be in no log and no table.
    secrets: Mutex<Vec<String>>,
}

impl Sandbox {
    /// Starts one under `dir`. `own_identity`: other accounts and keys than all others. `arguments`: more of the command's.
    pub(crate) async fn start(
        name: &'static str,
        dir: &Path,
        time_scale: u32,
        own_identity: bool,
        arguments: &[&str],
    ) -> Self {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        if !own_identity {
            copy_identity(filled_directory(), &dir);
        }
        let mut command = scanback();
        command
            .args(["sandbox", "--listen", "127.0.0.1:0", "--time-scale", &time_scale.to_string(), "--dir"])
            .arg(&dir)
            .args(arguments);
        let (program, url) = Program::start(name, command, &dir, "sandbox on ").await;
        Self { program, url, dir, http: reqwest::Client::new(), orders: Mutex::default(), secrets: Mutex::default() }
    }

    async fn control(&self, request: reqwest::RequestBuilder) -> Value {
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "the sandbox answered {status}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    fn at(&self, path: &str) -> String {
        format!("{}/_sandbox/{path}", self.url)
    }

    /// Somebody pays: an order of `fen`. The answer has `transaction_id`, `payer` and `payment_code`.
    pub(crate) async fn pay(&self, wallet: &str, number: &str, fen: i64) -> Value {
        self.order(json!({ "wallet": wallet, "out_trade_no": number, "amount_fen": fen })).await
    }

    /// An order with everything that the control call takes.
    pub(crate) async fn order(&self, order: Value) -> Value {
        let made = self.control(self.http.post(self.at("orders")).json(&order)).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.orders.lock().unwrap().push((text(&order["wallet"]), text(&order["out_trade_no"])));
        self.secrets.lock().unwrap().extend([text(&made["payer"]), text(&made["payment_code"])]);
        made
    }

    /// An order in the wallet's own books.
    pub(crate) async fn books_of(&self, wallet: &str, number: &str) -> Value {
        self.control(self.http.get(self.at(&format!("orders/{number}"))).query(&[("wallet", wallet)])).await
    }

    /// What the wallet paid back of an order in all, and how often each of its refunds was paid.
    pub(crate) async fn paid_back(&self, wallet: &str, number: &str) -> (i64, Vec<i64>) {
        let books = self.books_of(wallet, number).await;
        let times = books["refunds"].as_array().unwrap().iter().map(|refund| refund["times_paid"].as_i64().unwrap());
        (books["refunded_fen"].as_i64().unwrap(), times.collect())
    }

    /// The sandbox's whole ledger.
    pub(crate) async fn ledger(&self) -> Value {
        self.control(self.http.get(self.at("ledger"))).await
    }

    /// Breaks the next call of this kind.
    pub(crate) async fn fault(&self, wallet: &str, operation: &str, kind: &str) {
        self.fault_with(json!({ "wallet": wallet, "operation": operation, "kind": kind, "times": 1 })).await;
    }

    /// A fault with everything that the control call takes.
    pub(crate) async fn fault_with(&self, fault: Value) {
        self.control(self.http.post(self.at("faults")).json(&fault)).await;
    }

    /// Nothing goes wrong any more.
    pub(crate) async fn no_more_faults(&self) {
        self.control(self.http.delete(self.at("faults"))).await;
    }

    /// How many faults have fired since the sandbox was started.
    pub(crate) fn fired(&self) -> usize {
        self.program.log().matches("a fault fires").count()
    }

    /// Waits until that many have.
    pub(crate) async fn until_fired(&self, times: usize) {
        let began = Instant::now();
        while self.fired() < times {
            assert!(began.elapsed() < PATIENCE, "{} of {times} faults fired", self.fired());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the wallet has taken a refund of the order.
    pub(crate) async fn until_taken(&self, wallet: &str, number: &str) {
        let began = Instant::now();
        while self.paid_back(wallet, number).await.0 == 0 {
            assert!(began.elapsed() < PATIENCE, "the wallet took no refund of {number}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends a refund that stays in work: `SUCCESS`, `CLOSED` or `ABNORMAL`.
    pub(crate) async fn settle(&self, refund: &Value, status: &str) {
        let number = refund["wallet_request_no"].as_str().unwrap();
        let path = self.at(&format!("refunds/{number}/settle"));
        self.control(self.http.post(path).json(&json!({ "status": status }))).await;
    }

    /// WeChat Pay takes a new platform certificate; the old one stays valid for a while.
    pub(crate) async fn rotate(&self) {
        self.control(self.http.post(self.at("rotate"))).await;
    }

    /// What the terminal's camera sees: `payment_code` or `bill_code`.
    pub(crate) async fn frame(&self, wallet: &str, number: &str, show: &str, symbology: &str, format: &str) -> Vec<u8> {
        let query = [
            ("wallet", wallet),
            ("out_trade_no", number),
            ("show", show),
            ("symbology", symbology),
            ("format", format),
        ];
        let answer = self.http.get(self.at("frame")).query(&query).send().await.unwrap();
        let frame = answer.error_for_status().unwrap().bytes().await.unwrap().to_vec();
        if show == "payment_code" {
            let read = read_frame(&frame, &Limits::default()).unwrap();
            self.secrets.lock().unwrap().extend(read.texts().into_iter().map(|text| text.expose().to_owned()));
        }
        frame
    }

    /// The customer's payment code as a QR code.
    pub(crate) async fn payment_code(&self, wallet: &str, number: &str) -> Vec<u8> {
        self.frame(wallet, number, "payment_code", "qr_code", "png").await
    }

    /// The bill page's bar code.
    pub(crate) async fn bill_code(&self, wallet: &str, number: &str) -> Vec<u8> {
        self.frame(wallet, number, "bill_code", "code_128", "png").await
    }

    /// The orders that were made, as (wallet, number).
    pub(crate) fn orders(&self) -> Vec<(String, String)> {
        self.orders.lock().unwrap().clone()
    }

    /// What must not be found anywhere: codes, payers, and the keys of the accounts.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let mut secrets = self.secrets.lock().unwrap().clone();
        let params = self.params(WECHAT);
        secrets.push(params["apiv3_key"].as_str().unwrap().to_owned());
        for file in ["wechat/merchant_key.pem", "alipay/app_private_key.pem"] {
            let pem = std::fs::read_to_string(self.dir.join(file)).unwrap();
            secrets.extend(pem.lines().filter(|line| line.len() > 40).take(3).map(str::to_owned));
        }
        secrets
    }

    /// The account's parameters, as the sandbox wrote them.
    pub(crate) fn params(&self, wallet: &str) -> Value {
        let text = std::fs::read_to_string(self.dir.join(wallet).join("params.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Stops the wallets: nobody answers at their address.
    pub(crate) fn kill(&mut self) {
        self.program.kill();
    }

    /// Asks the process to stop and waits until it has.
    pub(crate) async fn stop(&mut self) {
        assert!(self.program.stop(Duration::from_secs(10)).await.success());
    }
}
