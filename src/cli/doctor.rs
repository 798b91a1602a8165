//! `scanback doctor`: is everything as it must be before the shop opens? A line for each thing, and what to do about it.
//!
//! It changes nothing: no schema, no row, and the wallets are asked for an order that doesn't exist.

use std::{
    fmt,
    io::{self, Write},
    net::{SocketAddr, ToSocketAddrs as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::ExitCode,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use scanback_wallet::{OrderNo, OrderNumber, Wallet, WalletError};
use secrecy::ExposeSecret as _;

use super::ConfigArgs;
use crate::{
    config::{ConfigError, Settings},
    domain::payer::PayerCheck,
    keys::{Keys, KeysHealth},
    ledger::{CLOCK_LIMIT, Ledger, LedgerClock},
    scan::{Limits, read_frame},
    startup,
};

/// A frame that any decoder reads, and what it says.
const FRAME: &[u8] = include_bytes!("../../fixtures/frames/qr-order-720.jpg");
const FRAME_SAYS: &str = "RF20240119EP74RYMNWLSEW9YJUF3";
/// A clock that differs by more is told; wallets refuse at 300 s.
const SKEW_WARNING: SignedDuration = SignedDuration::from_secs(30);
const SKEW_LIMIT: SignedDuration = SignedDuration::from_secs(240);
/// Before a certificate ends.
const EXPIRY_WARNING: SignedDuration = SignedDuration::from_hours(30 * 24);
/// For a name to resolve and a line to open.
const REACH_WITHIN: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok  ",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// What was looked at so far.
struct Findings {
    failed: bool,
    out: io::Stdout,
}

impl Findings {
    fn say(&mut self, verdict: Verdict, what: &str, how: impl fmt::Display) {
        self.failed |= verdict == Verdict::Fail;
        let _ = writeln!(self.out, "{verdict}  {what}: {how}");
    }
}

/// Looks at everything. Fails where one thing fails; a warning does not.
pub(super) async fn run(args: &ConfigArgs) -> ExitCode {
    let mut findings = Findings { failed: false, out: io::stdout() };
    file_mode(&args.config, &mut findings);
    match args.settings_plain() {
        Ok(settings) => look_at(settings, &mut findings).await,
        Err(error) => findings.say(Verdict::Fail, "settings", error),
    }
    if findings.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The file holds secrets.
fn file_mode(config: &Path, findings: &mut Findings) {
    let Ok(meta) = std::fs::metadata(config) else { return };
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        let file = config.display();
        findings.say(
            Verdict::Warn,
            "settings file",
            format_args!("mode {mode:o} lets everyone read its secrets: chmod 0640 {file}"),
        );
    }
}

async fn look_at(settings: Settings, findings: &mut Findings) {
    findings.say(Verdict::Ok, "settings", "every value can be used; keys match their certificates");
    let names: Vec<_> = settings.merchants.iter().map(|merchant| merchant.id.clone()).collect();
    if names.is_empty() {
        findings.say(Verdict::Warn, "merchants", "none is configured: nobody can be refunded; add a [[merchant]]");
    }
    match &settings.public_url {
        None => findings.say(
            Verdict::Warn,
            "http.public_url",
            "not set: wallets can't notify from outside, and refunds end only by asking, later; set it",
        ),
        Some(url) if !url.starts_with("https://") => {
            findings.say(Verdict::Warn, "http.public_url", "is no https address: WeChat Pay notifies https alone");
        }
        Some(_) => findings.say(Verdict::Ok, "http.public_url", "set"),
    }
    decoder(findings);
    redis(&settings, findings).await;
    if let Some(ledger) = database(&settings, findings).await {
        endpoints(&ledger, &settings, &names, findings).await;
        ledger.close();
    }
    expiries(&settings, findings);
    wallets(settings, findings).await;
}

fn decoder(findings: &mut Findings) {
    let read = read_frame(FRAME, &Limits::default());
    let found = read.is_ok_and(|reading| reading.texts().iter().any(|text| text.expose() == FRAME_SAYS));
    if found {
        findings.say(Verdict::Ok, "decoder", "reads the built-in frame");
    } else {
        findings.say(
            Verdict::Fail,
            "decoder",
            "does not read the built-in frame: this build is broken, install another",
        );
    }
}

async fn redis(settings: &Settings, findings: &mut Findings) {
    let Some(url) = &settings.redis_url else {
        return findings.say(Verdict::Ok, "redis", "not configured: the database keeps all keys by itself");
    };
    let how = "the service runs without it, more slowly and degraded; check redis.url and that it is up";
    match Keys::connect(url.expose_secret(), settings.key_lease, settings.key_ttl).await {
        Ok(keys) if keys.health() == KeysHealth::Up => findings.say(Verdict::Ok, "redis", "answers"),
        Ok(_) => findings.say(Verdict::Warn, "redis", format_args!("does not answer: {how}")),
        Err(error) => findings.say(Verdict::Fail, "redis", error),
    }
}

async fn database(settings: &Settings, findings: &mut Findings) -> Option<Ledger> {
    let url = settings.database_url.expose_secret();
    let file = url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    if file.is_some_and(|file| !Path::new(file.split('?').next().unwrap_or(file)).exists()) {
        findings.say(Verdict::Warn, "database", "the SQLite file is not there yet: `serve` or `migrate` makes it");
        return None;
    }
    let ledger = match Ledger::open(url, settings.database_connections).await {
        Ok(ledger) => ledger,
        Err(error) => {
            findings.say(Verdict::Fail, "database", format_args!("{error}; check database.url and that it is up"));
            return None;
        }
    };
    match ledger.ping().await {
        Ok(()) => {
            findings.say(Verdict::Ok, "database", "answers, and takes writes");
            database_settings(&ledger, findings).await;
            Some(ledger)
        }
        Err(error) => {
            let how = "if it is new, run `scanback migrate`; else check that it is up and its disk isn't full";
            findings.say(Verdict::Fail, "database", format_args!("{error}; {how}"));
            None
        }
    }
}

/// What would be refused or told of at the start: another schema, settings that lose commits, another time.
async fn database_settings(ledger: &Ledger, findings: &mut Findings) {
    match ledger.schema_gap().await {
        Ok(None) => findings.say(Verdict::Ok, "schema", "is this program's"),
        Ok(Some((there, here))) if there > here => {
            let what = format_args!("is of a newer program ({there}, this one knows {here}); use the newest program");
            findings.say(Verdict::Fail, "schema", what);
        }
        Ok(Some((there, here))) => {
            let what = format_args!("is older ({there}, this program wants {here}); `serve` or `migrate` brings it up");
            findings.say(Verdict::Warn, "schema", what);
        }
        Err(error) => {
            findings.say(Verdict::Warn, "schema", format_args!("can't be read: {error}; run `scanback migrate`"))
        }
    }
    for name in ledger.settings_that_lose_commits().await.unwrap_or_default() {
        let how = format_args!("an acknowledged refund could be forgotten in a crash: set {name} = on");
        findings.say(Verdict::Warn, &format!("database setting {name}"), how);
    }
    if let Ok(Some(ahead)) = LedgerClock::default().set_by(ledger).await
        && ahead.abs() > CLOCK_LIMIT
    {
        let what = format_args!("is {} s ahead of the database's; set it (NTP)", ahead.as_secs());
        findings.say(Verdict::Fail, "clock", what);
    }
}

/// Whether each webhook endpoint has an address that it may be called at.
async fn endpoints(
    ledger: &Ledger,
    settings: &Settings,
    merchants: &[scanback_wallet::MerchantId],
    findings: &mut Findings,
) {
    for merchant in merchants {
        let endpoints = match ledger.endpoints(merchant).await {
            Ok(endpoints) => endpoints,
            Err(error) => return findings.say(Verdict::Fail, "webhooks", error),
        };
        for endpoint in endpoints {
            let what = format!("webhook {} of {merchant}", endpoint.id);
            let url = reqwest::Url::parse(&endpoint.url).ok();
            let place = url.and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)));
            let Some((host, port)) = place else {
                findings.say(Verdict::Warn, &what, "its URL can't be read: delete it and register it again");
                continue;
            };
            match resolve(host.clone(), port).await {
                None => findings.say(
                    Verdict::Warn,
                    &what,
                    format_args!("{host} does not resolve: deliveries wait and are tried again for three days"),
                ),
                Some(addresses) if !settings.private_webhooks && addresses.iter().all(is_loopback) => {
                    findings.say(
                        Verdict::Warn,
                        &what,
                        format_args!("{host} is this machine: webhook.allow_private is off"),
                    );
                }
                Some(_) => findings.say(Verdict::Ok, &what, format_args!("{host} resolves")),
            }
        }
    }
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}

async fn resolve(host: String, port: u16) -> Option<Vec<SocketAddr>> {
    let host = host.trim_matches(['[', ']']).to_owned();
    let looked_up = tokio::task::spawn_blocking(move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect));
    let addresses: Vec<_> = tokio::time::timeout(REACH_WITHIN, looked_up).await.ok()?.ok()?.ok()?;
    (!addresses.is_empty()).then_some(addresses)
}

fn expiries(settings: &Settings, findings: &mut Findings) {
    let now = Timestamp::now();
    for merchant in &settings.merchants {
        let wechat = merchant.wechat.as_ref().and_then(scanback_wechat::Settings::first_expiry);
        let alipay = merchant.alipay.as_ref().and_then(scanback_alipay::Settings::first_expiry);
        for (wallet, end) in [("wechat", wechat), ("alipay", alipay)] {
            let Some(end) = end else { continue };
            let what = format!("certificates of {}, {wallet}", merchant.id);
            let left = end.duration_since(now);
            if left.is_negative() {
                findings.say(Verdict::Fail, &what, format_args!("one ended at {end}: download it anew"));
            } else if left < EXPIRY_WARNING {
                findings.say(Verdict::Warn, &what, format_args!("one ends at {end}: download it anew before"));
            } else {
                findings.say(Verdict::Ok, &what, format_args!("valid until {end}"));
            }
        }
    }
}

/// Asks each wallet for an order that nobody has: a signature that it takes, and an answer that we verify.
async fn wallets(settings: Settings, findings: &mut Findings) {
    let check = settings.policy.payer_check;
    let accounts = match startup::accounts_of(settings) {
        Ok(accounts) => accounts,
        Err(error) => return findings.say(Verdict::Fail, "wallets", error),
    };
    for ((merchant, kind), wallet) in accounts {
        let what = format!("wallet {kind} of {merchant}");
        let number = format!("SCANBACKDOCTOR{}", Timestamp::now().as_second());
        let Ok(number) = OrderNo::parse(&number) else { continue };
        match wallet.query_order(&OrderNumber::OrderNo(number)).await {
            Ok(_) => findings.say(Verdict::Ok, &what, "takes our signature, and its answer is genuine"),
            Err(WalletError::Refused { code, detail }) => findings.say(
                Verdict::Fail,
                &what,
                format_args!("refuses us ({code} {detail}): check account number, key and permissions in its console"),
            ),
            Err(error) => findings.say(
                Verdict::Fail,
                &what,
                format_args!("{error}: check base_url, the way out, and what its answers are verified with"),
            ),
        }
        clock(&merchant, kind.as_str(), &*wallet, findings);
        if check != PayerCheck::Off && !wallet.capabilities().names_payer {
            let how = if check == PayerCheck::Required {
                "is required, and this account can't say who shows a payment code: each refund by one is refused"
            } else {
                "is on, and this account can't say who shows a payment code: those refunds pass unchecked"
            };
            findings.say(Verdict::Warn, &format!("policy.payer_check with {kind} of {merchant}"), how);
        }
    }
}

fn clock(merchant: &scanback_wallet::MerchantId, kind: &str, wallet: &dyn Wallet, findings: &mut Findings) {
    let Some(skew) = wallet.clock_skew() else { return };
    let what = format!("clock against {kind} of {merchant}");
    let (seconds, amount) = (skew.as_secs(), skew.abs());
    if amount >= SKEW_LIMIT {
        findings.say(Verdict::Fail, &what, format_args!("differs by {seconds} s: wallets refuse at 300; set it (NTP)"));
    } else if amount >= SKEW_WARNING {
        findings.say(Verdict::Warn, &what, format_args!("differs by {seconds} s: set it (NTP) before wallets refuse"));
    } else {
        findings.say(Verdict::Ok, &what, format_args!("differs by {seconds} s"));
    }
}

impl ConfigArgs {
    fn settings_plain(&self) -> Result<Settings, ConfigError> {
        Settings::load(&self.config)
    }
}
