//! How a shop is opened: orders, settings, wallets, a fresh store.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Mutex,
};

use uuid::Uuid;

use super::{Sandbox, Shop, Store, variable};

/// How much faster the wallets' time runs: a refund that takes WeChat a minute is paid after a tenth of a second.
const TIME_SCALE: u32 = 600;

/// How a shop shall be.
pub(crate) struct Opening {
    time_scale: u32,
    orders: Vec<(&'static str, &'static str, i64)>,
    settings: BTreeMap<String, String>,
    alipay_settings: String,
    second_merchant: bool,
    partner: bool,
    sqlite_in: Option<PathBuf>,
}

impl Opening {
    /// The usual settings, no orders.
    pub(super) fn usual() -> Self {
        Self {
            time_scale: TIME_SCALE,
            orders: Vec::new(),
            settings: BTreeMap::new(),
            alipay_settings: String::new(),
            second_merchant: false,
            partner: false,
            sqlite_in: None,
        }
    }

    /// Orders that are paid when it opens: wallet, number, fen.
    pub(crate) fn order(mut self, wallet: &'static str, number: &'static str, fen: i64) -> Self {
        self.orders.push((wallet, number, fen));
        self
    }

    /// How much faster the wallets' time runs.
    pub(crate) fn time_scale(mut self, times: u32) -> Self {
        self.time_scale = times;
        self
    }

    /// A setting of the service, `section.key`.
    pub(crate) fn setting(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.insert(variable(name), value.to_string());
        self
    }

    /// A line of the merchant's Alipay account.
    pub(crate) fn alipay_setting(mut self, line: &str) -> Self {
        self.alipay_settings = format!("{line}\n");
        self
    }

    /// A wallet call is given up after 1.5 s, a dead owner of a key after 3 s: for tests in which calls hang or die.
    pub(crate) fn impatient(self) -> Self {
        self.setting("wallet.timeout_ms", 1500)
            .setting("http.answer_within_ms", 2000)
            .setting("redis.key_lease_ms", 3000)
    }

    /// A SQLite ledger in this folder.
    pub(crate) fn sqlite_in(mut self, folder: &Path) -> Self {
        self.sqlite_in = Some(folder.to_owned());
        self
    }

    /// A second merchant, `other`, with accounts of its own at wallets of its own.
    pub(crate) fn with_second_merchant(mut self) -> Self {
        self.second_merchant = true;
        self
    }

    /// The account at WeChat Pay is a partner's (服务商).
    pub(crate) fn of_a_partner(mut self) -> Self {
        self.partner = true;
        self
    }

    /// Opens it.
    pub(crate) async fn open(self) -> Shop {
        let mut shop = self.prepare().await;
        shop.start().await;
        shop
    }

    /// Everything but the service itself.
    pub(crate) async fn prepare(self) -> Shop {
        let dir = std::env::temp_dir().join(format!("scanback-test-{}", Uuid::now_v7().simple()));
        std::fs::create_dir(&dir).unwrap();
        let arguments: &[&str] = if self.partner { &["--partner"] } else { &[] };
        let mut sandboxes = vec![Sandbox::start("sandbox", &dir, self.time_scale, false, arguments).await];
        let mut config = std::fs::read_to_string(sandboxes[0].dir.join("scanback.toml")).unwrap();
        config.push_str(&self.alipay_settings); // the account is the last section of the file
        if self.second_merchant {
            let other = Sandbox::start("other-sandbox", &dir, self.time_scale, true, &[]).await;
            let theirs = std::fs::read_to_string(other.dir.join("scanback.toml")).unwrap();
            let (_, merchant) = theirs.split_once("[[merchant]]").unwrap();
            config.push_str(&format!("\n[[merchant]]{}", merchant.replacen("\"demo\"", "\"other\"", 1)));
            sandboxes.push(other);
        }
        let config_file = dir.join("serve.toml");
        std::fs::write(&config_file, &config).unwrap();
        let store = match self.sqlite_in {
            Some(folder) => Store::Sqlite { file: folder.join("scanback.sqlite") },
            None => Store::make(&dir).await,
        };
        let mut settings = BTreeMap::from([
            (variable("http.listen"), "127.0.0.1:0".to_owned()),
            (variable("http.workers"), "2".to_owned()),
            (variable("database.url"), store.url()),
        ]);
        settings.extend(Store::next_redis_url().map(|url| (variable("redis.url"), url)));
        settings.extend(self.settings);
        for (wallet, number, fen) in self.orders {
            sandboxes[0].pay(wallet, number, fen).await;
        }
        let pepper = config.lines().find_map(|line| line.strip_prefix("pepper = ")).unwrap().trim_matches('"');
        Shop {
            secrets: Mutex::new(vec![pepper.to_owned()]),
            dir,
            config_file,
            settings,
            sandboxes,
            store,
            service: None,
            base: String::new(),
            http: reqwest::Client::new(),
            tokens: Mutex::default(),
            closed: false,
        }
    }
}
