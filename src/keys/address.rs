//! Where Redis is: one server, a cluster, or whichever server the sentinels name.

use redis::{
    Client, IntoConnectionInfo, RedisError,
    cluster::ClusterClient,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};

use super::KeysError;

/// Sentinels listen here unless the URL says otherwise.
const SENTINEL_PORT: u16 = 26_379;

/// What a `redis.url` names. Nothing is connected yet.
pub(super) enum Server {
    One(Client),
    Cluster(ClusterClient),
    Sentinel(SentinelClient),
    #[cfg(feature = "simulated")]
    Simulated(super::simulated::Line),
}

impl Server {
    /// Reads one of
    /// - `redis://` or `rediss://` `[user:password@]host[:port][/database]`
    /// - `redis+cluster://[user:password@]host[:port],host[:port],…`
    /// - `redis+sentinel://[user:password@]host[:port],host[:port],…/master[/database]`: user and password are those of the
    ///   Redis servers; the sentinels are asked without
    ///
    /// No error repeats the URL: it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, KeysError> {
        if url.contains('#') {
            return Err(KeysError::Fragment); // the client would read #insecure as "don't check certificates"
        }
        let (scheme, rest) = url.split_once("://").ok_or(KeysError::Scheme)?;
        match scheme {
            "redis" | "rediss" => Ok(Self::One(Client::open(url).map_err(KeysError::Malformed)?)),
            "redis+cluster" => Self::cluster(rest),
            "redis+sentinel" => Self::sentinel(rest),
            _ => Err(KeysError::Scheme),
        }
    }

    fn cluster(rest: &str) -> Result<Self, KeysError> {
        let (login, hosts) = split_login(rest.trim_end_matches('/'));
        let nodes: Vec<String> = hosts.split(',').map(|host| format!("redis://{login}{host}")).collect();
        ClusterClient::builder(nodes).retries(1).build().map(Self::Cluster).map_err(KeysError::Malformed)
    }

    fn sentinel(rest: &str) -> Result<Self, KeysError> {
        let (authority, path) = rest.split_once('/').ok_or(KeysError::NoMaster)?;
        let (master, database) = path.split_once('/').unwrap_or((path, ""));
        if master.is_empty() {
            return Err(KeysError::NoMaster);
        }
        let (login, hosts) = split_login(authority);
        let client = || -> Result<SentinelClient, RedisError> {
            let sentinels = hosts.split(',').map(sentinel_address).collect::<Result<Vec<_>, _>>()?;
            let mut builder = SentinelClientBuilder::new(sentinels, master, SentinelServerType::Master)?;
            // the host is the sentinels' to say: this URL only has its login and database read
            let server = format!("redis://{login}server/{database}").into_connection_info()?;
            let settings = server.redis_settings();
            builder = builder.set_client_to_redis_db(settings.db());
            if let Some(username) = settings.username() {
                builder = builder.set_client_to_redis_username(username);
            }
            if let Some(password) = settings.password() {
                builder = builder.set_client_to_redis_password(password);
            }
            builder.build()
        };
        client().map(Self::Sentinel).map_err(KeysError::Malformed)
    }
}

/// `user:password@` (or nothing) and what follows it.
fn split_login(authority: &str) -> (&str, &str) {
    authority.rfind('@').map_or(("", authority), |at| authority.split_at(at + 1))
}

fn sentinel_address(host: &str) -> Result<redis::ConnectionAddr, RedisError> {
    let url = format!("redis://{host}");
    let has_port = redis::parse_redis_url(&url).is_some_and(|url| url.port().is_some());
    let url = if has_port { url } else { format!("{url}:{SENTINEL_PORT}") };
    Ok(url.into_connection_info()?.addr().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_contract_is_read() {
        for url in ["redis://127.0.0.1", "redis://user:p%40ss@redis.shop:6380/2", "rediss://redis.shop"] {
            assert!(matches!(Server::parse(url), Ok(Server::One(_))), "{url}");
        }
        for url in ["redis+cluster://a:7001,b:7002,[::1]:7003", "redis+cluster://:secret@a,b/"] {
            assert!(matches!(Server::parse(url), Ok(Server::Cluster(_))), "{url}");
        }
        for url in ["redis+sentinel://a,b:26380,[::1]/shop", "redis+sentinel://user:p%40ss@a:1/shop/3"] {
            assert!(matches!(Server::parse(url), Ok(Server::Sentinel(_))), "{url}");
        }
    }

    #[test]
    fn sentinels_have_a_port_of_their_own() {
        for (host, address) in [("a", "a:26379"), ("a:7", "a:7"), ("[::1]", "::1:26379"), ("[::1]:7", "::1:7")] {
            assert_eq!(sentinel_address(host).unwrap().to_string(), address);
        }
    }

    #[test]
    fn what_names_no_redis_is_refused_without_its_password() {
        for url in [
            "",
            "127.0.0.1:6379",
            "http://:hunter2@127.0.0.1",
            "redis://",
            "redis://:hunter2@host/notanumber",
            "redis://:hunter2@host:99999",
            "rediss://:hunter2@host#insecure",
            "redis+cluster://",
            "redis+cluster://:hunter2@a,,b",
            "redis+sentinel://:hunter2@a,b",
            "redis+sentinel://:hunter2@a,b/",
            "redis+sentinel://:hunter2@a:x/shop",
            "redis+sentinel://:hunter2@a/shop/x",
        ] {
            let error = Server::parse(url).map(|_| ()).expect_err(url);
            let source = std::error::Error::source(&error).map(ToString::to_string);
            assert!(!format!("{error} {error:?} {source:?}").contains("hunter2"), "{url}");
        }
    }
}
