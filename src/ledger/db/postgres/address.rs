//! Where the server is: `postgres://USER:PASSWORD@HOST[:PORT][,HOST…]/NAME?…`, with libpq's names.

use std::{error::Error as _, path::PathBuf};

use sqlx::{
    ConnectOptions as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::CONNECT_TIMEOUT;
use crate::ledger::error::LedgerError;

/// PostgreSQL's own bounds: on a statement, on the wait for a row, on a transaction that nobody goes on with.
const BOUNDS: &str = "-c statement_timeout=6s -c lock_timeout=5s -c idle_in_transaction_session_timeout=15s";
/// After this long without an acknowledgement a line counts as cut.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(7);
/// Another port than this is written in the address.
const PORT: u16 = 5432;

/// How the server's certificate is looked at, as libpq's `sslmode` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Not at all.
    Anybody,
    /// It is signed by one that we trust.
    Signed,
    /// And it names the host.
    Named,
}

/// An address, taken apart.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) config: tokio_postgres::Config,
    pub(super) trust: Trust,
    pub(super) root_cert: Option<PathBuf>,
    /// Certificate and key that we show.
    pub(super) client_cert: Option<(PathBuf, PathBuf)>,
}

fn wrong(what: &str) -> LedgerError {
    LedgerError::Unavailable(format!("database.url: {what}").into())
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, LedgerError> {
        // several hosts are none of a URL's forms: what stands before the question mark is left to the driver
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut passed_on = form_urlencoded::Serializer::new(String::new());
        let (mut mode, mut root_cert, mut cert, mut key, mut session) = (None, None, None, None, false);
        let mut bounds = BOUNDS.to_owned();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "sslmode" | "ssl-mode" => mode = Some(value.into_owned()),
                "sslrootcert" | "ssl-root-cert" | "ssl-ca" => root_cert = Some(PathBuf::from(value.as_ref())),
                "sslcert" | "ssl-cert" => cert = Some(PathBuf::from(value.as_ref())),
                "sslkey" | "ssl-key" => key = Some(PathBuf::from(value.as_ref())),
                // settings of the session: of two the later one holds, so theirs win over ours
                "options" => bounds = format!("{bounds} {value}"),
                setting if setting.starts_with("options[") && setting.ends_with(']') => {
                    let setting = &setting["options[".len()..setting.len() - 1];
                    bounds = format!("{bounds} -c {setting}={}", value.replace('\\', "\\\\").replace(' ', "\\ "));
                }
                _ => {
                    session |= name == "target_session_attrs";
                    passed_on.append_pair(&name, &value);
                }
            }
        }
        let plain = format!("{place}?{}", passed_on.finish());
        let mut config: tokio_postgres::Config = plain.parse().map_err(|error: tokio_postgres::Error| {
            wrong(&error.source().map_or_else(|| error.to_string(), ToString::to_string))
        })?;
        let (ssl, trust) = match mode.as_deref() {
            None | Some("prefer" | "allow") => (SslMode::Prefer, Trust::Anybody),
            Some("disable") => (SslMode::Disable, Trust::Anybody),
            // as libpq: who names a root wants it looked at
            Some("require") if root_cert.is_none() => (SslMode::Require, Trust::Anybody),
            Some("require" | "verify-ca") => (SslMode::Require, Trust::Signed),
            Some("verify-full") => (SslMode::Require, Trust::Named),
            Some(_) => return Err(wrong("sslmode is disable, allow, prefer, require, verify-ca or verify-full")),
        };
        let client_cert = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(wrong("sslcert and sslkey go together")),
        };
        config
            .ssl_mode(ssl)
            .options(bounds)
            .application_name("scanback")
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(SILENCE)
            .keepalives_idle(SILENCE);
        if !session && config.get_hosts().len() > 1 {
            // of several the one that takes writes: after a fail-over that is another
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self { config, trust, root_cert, client_cert })
    }

    /// A connection for the migrations, which are sqlx's, to the host that takes writes.
    pub(super) async fn connect_to_the_writable(&self) -> Result<PgConnection, LedgerError> {
        let mut failure = wrong("names no host");
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let ports = self.config.get_ports();
            let port = ports.get(at).or_else(|| ports.first()).copied().unwrap_or(PORT);
            let tried = async {
                let mut connection = self.options(host, port).connect().await?;
                let standby: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(&mut connection).await?;
                Ok::<_, sqlx::Error>((connection, standby))
            };
            match tried.await {
                Ok((connection, false)) => return Ok(connection),
                Ok((_, true)) => failure = wrong("its servers are standbys and take no writes"),
                Err(error) => failure = error.into(),
            }
        }
        Err(failure)
    }

    fn options(&self, host: &Host, port: u16) -> PgConnectOptions {
        let config = &self.config;
        let mut options = PgConnectOptions::new_without_pgpass().port(port);
        options = match host {
            Host::Tcp(name) => options.host(name),
            #[cfg(unix)]
            Host::Unix(folder) => options.socket(folder),
        };
        if let Some(user) = config.get_user() {
            options = options.username(user);
        }
        if let Some(password) = config.get_password() {
            options = options.password(&String::from_utf8_lossy(password));
        }
        if let Some(name) = config.get_dbname() {
            options = options.database(name);
        }
        options = options.ssl_mode(match (config.get_ssl_mode(), self.trust) {
            (SslMode::Disable, _) => PgSslMode::Disable,
            (_, Trust::Named) => PgSslMode::VerifyFull,
            (_, Trust::Signed) => PgSslMode::VerifyCa,
            (SslMode::Require, Trust::Anybody) => PgSslMode::Require,
            (_, Trust::Anybody) => PgSslMode::Prefer,
        });
        if let Some(root) = &self.root_cert {
            options = options.ssl_root_cert(root);
        }
        if let Some((cert, key)) = &self.client_cert {
            options = options.ssl_client_cert(cert).ssl_client_key(key);
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_libpq_reads_it() {
        let read = |url| Address::parse(url).unwrap();
        let plain = read("postgres://u:p%40ss@db.example:5433/shop");
        assert_eq!(plain.config.get_ports(), [5433]);
        assert_eq!(plain.config.get_password(), Some(b"p@ss".as_slice()));
        assert_eq!((plain.config.get_ssl_mode(), plain.trust), (SslMode::Prefer, Trust::Anybody));
        assert_eq!(plain.config.get_target_session_attrs(), TargetSessionAttrs::Any);

        let strict =
            read("postgresql://u@db/shop?sslmode=verify-full&sslrootcert=%2Fca.pem&options=-c%20work_mem%3D8MB");
        assert_eq!((strict.config.get_ssl_mode(), strict.trust), (SslMode::Require, Trust::Named));
        assert_eq!(strict.root_cert.as_deref(), Some(std::path::Path::new("/ca.pem")));
        assert_eq!(strict.config.get_options(), Some(format!("{BOUNDS} -c work_mem=8MB").as_str()));
        let set = read("postgres://db/shop?options[search_path]=a%20b&options[work_mem]=8MB");
        assert_eq!(set.config.get_options(), Some(format!("{BOUNDS} -c search_path=a\\ b -c work_mem=8MB").as_str()));
        assert_eq!(read("postgres://db/shop?sslmode=require&sslrootcert=/ca.pem").trust, Trust::Signed);
        assert_eq!(read("postgres://db/shop?sslmode=require").trust, Trust::Anybody);

        let several = read("postgres://u@one:5432,two:5433/shop");
        assert_eq!(several.config.get_hosts().len(), 2);
        assert_eq!(several.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
    }

    #[test]
    fn a_wrong_address_says_what_is_wrong() {
        for (url, said) in [
            ("postgres://db/shop?sslmode=maybe", "sslmode"),
            ("postgres://db/shop?sslcert=/c.pem", "sslkey"),
            ("postgres://db/shop?colour=red", "colour"),
        ] {
            let error = Address::parse(url).err().unwrap().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
