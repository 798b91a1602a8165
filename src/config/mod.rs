//! Settings: what is written down (`raw`) becomes checked values once, at the start, and is refused by name. The example
//! file `deploy/scanback.example.toml` is the manual.

mod merchants;
mod raw;
mod source;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};

pub use merchants::MerchantAccounts;

use crate::{
    domain::{
        gate::GateLimits,
        payer::PayerCheck,
        policy::{OperatorRule, Policy},
    },
    scan::Limits,
};

/// The checked settings of `serve`. `Debug` shows no secret.
#[derive(Debug)]
pub struct Settings {
    /// Where the service listens.
    pub listen: SocketAddr,
    /// A second address for `/metrics` alone, open to whoever reaches it.
    pub metrics_listen: Option<SocketAddr>,
    /// What wallets are told to notify; `None`: `http://` and the actual listen address.
    pub public_url: Option<String>,
    /// Threads that answer HTTP; at least 1.
    pub workers: usize,
    /// How long a refund request waits before it answers 202.
    pub answer_within: Duration,
    /// How long a process that is asked to stop goes on serving, unready, before it does.
    pub drain: Duration,
    /// `sqlite:PATH` or `postgres://…`.
    pub database_url: SecretString,
    /// Connections to a database server; at least 2.
    pub database_connections: u32,
    /// `redis://…` and its kin; absent: no Redis.
    pub redis_url: Option<SecretString>,
    /// How long a dead owner of a key is awaited.
    pub key_lease: Duration,
    /// How long Redis keeps answers.
    pub key_ttl: Duration,
    /// What keyed hashes hang on.
    pub pepper: SecretString,
    /// Divides the wallets' own time.
    pub time_scale: u32,
    /// From the look-up of the wallet's name to the end of the TLS handshake.
    pub wallet_connect_timeout: Duration,
    /// One wallet call in all.
    pub wallet_timeout: Duration,
    /// How much WeChat Pay is asked at once and a second.
    pub wechat_gate: GateLimits,
    /// How much Alipay is.
    pub alipay_gate: GateLimits,
    /// Refund requests that are worked on at once.
    pub refunds_at_once: usize,
    /// Whether webhooks may go to private addresses.
    pub private_webhooks: bool,
    /// The refund policy.
    pub policy: Policy,
    /// What frames may cost.
    pub frames: Limits,
    /// Requests a second that a token may make, as many in a burst.
    pub requests_per_second: u32,
    /// Who is served, and their accounts at the wallets.
    pub merchants: Vec<MerchantAccounts>,
}

/// Why settings can't be used. Names the setting and the way out, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration {} can't be read: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Not the form that is expected, or a setting that doesn't exist.
    #[error("{0}")]
    Form(config::ConfigError),
    /// A value that can't be.
    #[error("{setting}: {problem}")]
    Value {
        /// The setting, for example `http.listen`.
        setting: String,
        /// What is wrong, and the way out.
        problem: String,
    },
}

fn wrong(setting: impl Into<String>, problem: impl ToString) -> ConfigError {
    ConfigError::Value { setting: setting.into(), problem: problem.to_string() }
}

/// The shortest pepper, in characters: 16 random bytes as hex.
const MIN_PEPPER: usize = 32;
/// The longest wait for a wallet's word; the owner of a key is awaited for 30 s at most (contract §4 rule 2).
const MAX_ANSWER_WITHIN_MS: u64 = 25_000;
/// Of the 10 s that a stop may take (contract §2), half is left for what is in flight.
const MAX_DRAIN_MS: u64 = 5_000;
const MAX_KEY_LEASE_MS: u64 = 30_000;
const MIN_KEY_TTL_S: u64 = 86_400;
/// The most that a number of calls or requests can be set to.
const MAX_COUNT: usize = 100_000;
/// A call needs time to be answered, and a follow-up job is leased for longer than its calls may take.
const WALLET_TIMEOUTS_MS: std::ops::RangeInclusive<u64> = 100..=30_000;

/// The other half is for the ledger's writer and the scanner.
fn half_the_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

impl Settings {
    /// How many connections to a database server each thread may have that asks it: those that answer HTTP, and the one that
    /// follows refunds.
    #[must_use]
    pub fn connections_a_thread(&self) -> u32 {
        let threads = u32::try_from(self.workers + 1).unwrap_or(u32::MAX);
        (self.database_connections / threads).max(1)
    }

    /// Reads `file` and the environment (`SCANBACK__SECTION__KEY` goes before the file), and checks everything that can be
    /// checked without the network.
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|cause| ConfigError::File { path: file.to_owned(), cause })?;
        let folder = file.parent().map_or_else(PathBuf::new, Path::to_owned);
        Self::read(&text, &folder)
    }

    /// As [`Settings::load`], for a text; key files are looked for from `folder`.
    /// # Errors
    /// [`ConfigError`].
    pub fn read(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let raw: raw::Raw = config::Config::builder()
            .add_source(config::File::from_str(text, config::FileFormat::Toml))
            .add_source(config::Environment::with_prefix("SCANBACK").prefix_separator("__").separator("__"))
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(ConfigError::Form)?;
        Self::check(raw, folder)
    }

    fn check(raw: raw::Raw, folder: &Path) -> Result<Self, ConfigError> {
        let address = |name: &str, text: &str| {
            text.parse().map_err(|_| wrong(name, format!("{text:?} is no address such as 127.0.0.1:8080")))
        };
        let database_url = raw.database.url;
        if !["sqlite:", "postgres:", "postgresql:"]
            .iter()
            .any(|scheme| database_url.expose_secret().starts_with(scheme))
        {
            return Err(wrong("database.url", "begins with sqlite: or postgres://"));
        }
        let pepper = raw.secrets.pepper.ok_or_else(|| {
            wrong(
                "secrets.pepper",
                "is missing; make one with `openssl rand -hex 32`, and keep it: kept hashes hang on it",
            )
        })?;
        if pepper.expose_secret().len() < MIN_PEPPER {
            return Err(wrong("secrets.pepper", "has fewer than 32 characters; make one with `openssl rand -hex 32`"));
        }
        if raw.http.answer_within_ms == 0 || raw.http.answer_within_ms > MAX_ANSWER_WITHIN_MS {
            return Err(wrong("http.answer_within_ms", format!("is 1 to {MAX_ANSWER_WITHIN_MS}")));
        }
        if raw.http.drain_ms > MAX_DRAIN_MS {
            return Err(wrong("http.drain_ms", format!("is 0 to {MAX_DRAIN_MS}")));
        }
        let lease_ms = raw.redis.key_lease_ms;
        if !(1..=MAX_KEY_LEASE_MS).contains(&lease_ms) {
            return Err(wrong("redis.key_lease_ms", "is 1 to 30000"));
        }
        if raw.redis.key_ttl_s < MIN_KEY_TTL_S {
            return Err(wrong("redis.key_ttl_s", "is at least 86400: a day"));
        }
        for (name, value) in
            [("wallet.timeout_ms", raw.wallet.timeout_ms), ("wallet.connect_timeout_ms", raw.wallet.connect_timeout_ms)]
        {
            if !WALLET_TIMEOUTS_MS.contains(&value) {
                return Err(wrong(name, "is 100 to 30000"));
            }
        }
        if raw.wallet.time_scale == 0 {
            return Err(wrong("wallet.time_scale", "is a whole number of at least 1; 1 for the real wallets"));
        }
        let counts = [
            ("wallet.calls_at_once", raw.wallet.calls_at_once),
            ("wallet.wechat_refunds_per_second", count(raw.wallet.wechat_refunds_per_second)),
            (
                "wallet.wechat_refunds_per_second_while_refused",
                count(raw.wallet.wechat_refunds_per_second_while_refused),
            ),
            ("wallet.alipay_refunds_per_second", count(raw.wallet.alipay_refunds_per_second)),
            (
                "wallet.alipay_refunds_per_second_while_refused",
                count(raw.wallet.alipay_refunds_per_second_while_refused),
            ),
            ("wallet.look_ups_per_second", count(raw.wallet.look_ups_per_second)),
            ("limits.refunds_at_once", raw.limits.refunds_at_once),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, number)| !(1..=MAX_COUNT).contains(number)) {
            return Err(wrong(name, format!("is 1 to {MAX_COUNT}")));
        }
        let gate = |refunds_per_second, refunds_per_second_while_refused| GateLimits {
            calls_at_once: raw.wallet.calls_at_once,
            waiting: raw.wallet.calls_waiting,
            refunds_per_second,
            refunds_per_second_while_refused,
            look_ups_per_second: raw.wallet.look_ups_per_second,
        };
        if raw.limits.requests_per_second == 0 {
            return Err(wrong("limits.requests_per_second", "is at least 1"));
        }
        let operator = match raw.policy.operator.as_str() {
            "never" => OperatorRule::Never,
            "terminal" => OperatorRule::Terminal,
            "always" => OperatorRule::Always,
            other => return Err(wrong("policy.operator", format!("{other:?} is not never, terminal or always"))),
        };
        let payer_check = PayerCheck::parse(&raw.policy.payer_check).ok_or_else(|| {
            wrong("policy.payer_check", format!("{:?} is not off, where_possible or required", raw.policy.payer_check))
        })?;
        let defaults = Limits::default();
        let merchants = raw
            .merchant
            .into_iter()
            .map(|merchant| merchants::check(merchant, folder, raw.wallet.time_scale))
            .collect::<Result<Vec<_>, _>>()?;
        for (index, merchant) in merchants.iter().enumerate() {
            if merchants.iter().take(index).any(|other| other.id == merchant.id) {
                return Err(wrong("merchant.id", format!("{} stands there twice", merchant.id)));
            }
        }
        Ok(Self {
            listen: address("http.listen", &raw.http.listen)?,
            metrics_listen: raw.http.metrics_listen.map(|text| address("http.metrics_listen", &text)).transpose()?,
            public_url: raw.http.public_url.map(public_url).transpose()?,
            workers: raw.http.workers.filter(|workers| *workers > 0).unwrap_or_else(half_the_cores),
            answer_within: Duration::from_millis(raw.http.answer_within_ms),
            drain: Duration::from_millis(raw.http.drain_ms),
            database_url,
            database_connections: raw.database.max_connections.max(2),
            redis_url: raw.redis.url.filter(|url| !url.expose_secret().is_empty()),
            key_lease: Duration::from_millis(raw.redis.key_lease_ms),
            key_ttl: Duration::from_secs(raw.redis.key_ttl_s),
            pepper,
            time_scale: raw.wallet.time_scale,
            wallet_connect_timeout: Duration::from_millis(raw.wallet.connect_timeout_ms),
            wallet_timeout: Duration::from_millis(raw.wallet.timeout_ms),
            wechat_gate: gate(raw.wallet.wechat_refunds_per_second, raw.wallet.wechat_refunds_per_second_while_refused),
            alipay_gate: gate(raw.wallet.alipay_refunds_per_second, raw.wallet.alipay_refunds_per_second_while_refused),
            refunds_at_once: raw.limits.refunds_at_once,
            private_webhooks: raw.webhook.allow_private,
            policy: Policy {
                scan_max_age_s: raw.policy.scan_max_age_s,
                refund_window_days: raw.policy.refund_window_days,
                operator,
                require_note: raw.policy.require_note,
                partial_refunds: raw.policy.partial_refunds,
                payer_check,
                ..Policy::default()
            },
            frames: Limits {
                max_bytes: raw.limits.max_frame_bytes.unwrap_or(defaults.max_bytes),
                max_pixels: raw.limits.max_frame_pixels.unwrap_or(defaults.max_pixels),
                budget: raw.limits.scan_budget_ms.map_or(defaults.budget, Duration::from_millis),
                ..defaults
            },
            requests_per_second: raw.limits.requests_per_second,
            merchants,
        })
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A URL without a slash at its end: paths are put behind it.
fn public_url(text: String) -> Result<String, ConfigError> {
    let url = reqwest::Url::parse(&text).map_err(|error| wrong("http.public_url", error))?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("http.public_url", "is an http(s) URL without query and fragment"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "[database]\nurl = \"sqlite:x\"\n[secrets]\npepper = \"0123456789abcdef0123456789abcdef\"\n";

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        for (text, name) in [
            ("[http]\nlisten = \"nowhere\"\n", "http.listen"),
            ("[http]\nlistne = \"127.0.0.1:1\"\n", "listne"),
            ("[htpp]\nlisten = \"127.0.0.1:1\"\n", "htpp"),
            ("[wallet]\ntime_scale = 0\n", "wallet.time_scale"),
            ("[policy]\noperator = \"sometimes\"\n", "policy.operator"),
            ("[policy]\npayer_check = \"maybe\"\n", "policy.payer_check"),
            ("[http]\nanswer_within_ms = 0\n", "http.answer_within_ms"),
            ("[http]\npublic_url = \"ftp://x\"\n", "http.public_url"),
            ("[[merchant]]\nid = \"has space\"\n", "merchant.id"),
            ("[[merchant]]\nid = \"m\"\n[[merchant]]\nid = \"m\"\n", "merchant.id"),
        ] {
            let error = Settings::read(&format!("{MINIMAL}{text}"), Path::new(".")).unwrap_err().to_string();
            assert!(error.contains(name), "{text} -> {error}");
        }
        for (text, name) in [
            ("", "secrets.pepper"),
            ("[secrets]\npepper = \"short\"\n", "secrets.pepper"),
            (
                "[database]\nurl = \"mysql://x\"\n[secrets]\npepper = \"0123456789abcdef0123456789abcdef\"\n",
                "database.url",
            ),
        ] {
            let error = Settings::read(text, Path::new(".")).unwrap_err().to_string();
            assert!(error.contains(name), "{text} -> {error}");
        }
    }

    /// The manual is true: every setting in it exists, those that are commented out (`#key = value`) as well.
    #[test]
    fn the_example_file_names_settings_that_exist() {
        let example = include_str!("../../deploy/scanback.example.toml");
        let is_setting = |line: &str| {
            let name = line.split(" = ").next().unwrap_or("");
            line.contains(" = ") && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let all: Vec<_> = example
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line))
            .collect();
        let config = config::Config::builder()
            .add_source(config::File::from_str(&all.join("\n"), config::FileFormat::Toml))
            .build()
            .unwrap();
        let raw = config.try_deserialize::<raw::Raw>();
        assert!(raw.is_ok(), "{:?}", raw.err());
    }

    #[test]
    fn no_secret_shows_in_debug() {
        let settings = Settings::read(MINIMAL, Path::new(".")).unwrap();
        assert!(!format!("{settings:?}").contains("0123456789abcdef"));
    }
}
