//! One delivery over HTTP: one request, no redirect, no private address, an end in time. Source: contract §5.

use std::{error::Error, net::IpAddr, time::Duration};

use jiff::Timestamp;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderValue},
    redirect,
};

use super::{
    address::{NoPublicAddress, PublicOnly, is_public},
    sign::{WebhookSecret, signature_header},
};

/// The longest URL that is registered.
pub const MAX_URL_LEN: usize = 2048;
/// How much of an answer is read, in bytes: enough to use the connection again. What it says doesn't matter.
const MAX_ANSWER: usize = 8 * 1024;
/// Idle connections kept for an endpoint.
const IDLE_PER_HOST: usize = 2;

/// How long a delivery may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the look-up of the name to the end of the TLS handshake.
    pub connect: Duration,
    /// From the beginning to the end of the answer.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), total: Duration::from_secs(10) }
    }
}

/// Delivers webhooks. Cheap to clone; one for the process.
#[derive(Clone, Debug)]
pub struct WebhookClient {
    http: Client,
    allow_private: bool,
}

/// The endpoint took the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// A 2xx status.
    pub status: StatusCode,
}

/// Why a message wasn't taken, or not provably.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// An answer other than 2xx. A redirect is one of them: it is not followed.
    #[error("the endpoint answered {status}")]
    Refused {
        /// The status.
        status: StatusCode,
    },
    /// No answer in time.
    #[error("the endpoint did not answer in time")]
    TimedOut,
    /// No connection: the name is not known, nobody listens, or TLS failed.
    #[error("the endpoint can't be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The connection broke, or what came over it is not HTTP.
    #[error("the connection to the endpoint broke")]
    Broken(#[source] reqwest::Error),
    /// The name leads to private addresses only.
    #[error("the endpoint's name leads to private addresses only")]
    ForbiddenAddress,
    /// The URL would not be registered now, for example because private addresses are no longer allowed.
    #[error("the endpoint's URL is not allowed")]
    Url(#[source] UrlError),
}

/// Why a URL can't be an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than [`MAX_URL_LEN`] bytes.
    #[error("the URL is longer than 2048 characters")]
    TooLong,
    /// No URL with a host.
    #[error("this is not a URL")]
    Malformed,
    /// Not `https`; `http` is for places where private addresses are allowed.
    #[error("the URL must begin with https://")]
    Scheme,
    /// A user name or a password. They would end in logs; the signature says who we are.
    #[error("the URL must not hold a user name or password")]
    Credentials,
    /// A fragment, which is never sent.
    #[error("the URL must not have a fragment")]
    Fragment,
    /// A literal address outside the public internet.
    #[error("the URL's address {0} is not public")]
    ForbiddenAddress(IpAddr),
}

/// Checks a URL that is to become an endpoint. A name is not looked up here: where it leads is judged at each delivery.
/// `allow_private` is the setting for sandbox and tests; it allows `http` too.
/// # Errors
/// [`UrlError`], the first that applies.
pub fn check_url(text: &str, allow_private: bool) -> Result<Url, UrlError> {
    if text.len() > MAX_URL_LEN {
        return Err(UrlError::TooLong);
    }
    let url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        _ => return Err(UrlError::Scheme),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    if url.fragment().is_some() {
        return Err(UrlError::Fragment);
    }
    match literal_address(&url) {
        Some(address) if !allow_private && !is_public(address) => Err(UrlError::ForbiddenAddress(address)),
        _ => Ok(url),
    }
}

/// The address that stands in the URL itself. The parser has brought decimal, octal, hexadecimal and short forms to four
/// numbers by now.
fn literal_address(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

impl WebhookClient {
    /// A client that calls the public internet alone, or, with `allow_private`, any address (contract §5: the sandbox's
    /// configuration and the tests).
    /// # Errors
    /// [`reqwest::Error`] where TLS can't be set up.
    pub fn new(allow_private: bool, timeouts: Timeouts) -> Result<Self, reqwest::Error> {
        let builder = Client::builder()
            .user_agent(concat!("Scanback/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never()) // a retry is the schedule's
            .no_proxy() // a proxy would look the name up itself, past our check
            .no_gzip()
            .referer(false)
            .https_only(!allow_private)
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.total)
            .pool_max_idle_per_host(IDLE_PER_HOST);
        let builder = if allow_private { builder } else { builder.dns_resolver(PublicOnly) };
        Ok(Self { http: builder.build()?, allow_private })
    }

    /// Sends one message once. `id` is the same over all tries of a message (visible ASCII), `timestamp` that of this
    /// try, `body` the JSON as it was stored, `secrets` the endpoint's: the present one and those being rotated out.
    /// # Errors
    /// [`DeliveryError`]. After [`DeliveryError::TimedOut`] and [`DeliveryError::Broken`] the endpoint may have it.
    pub async fn deliver(
        &self,
        url: &str,
        id: &str,
        timestamp: Timestamp,
        body: &[u8],
        secrets: &[WebhookSecret],
    ) -> Result<Delivered, DeliveryError> {
        // again, because a literal address never gets to the resolver, and because settings change
        let url = check_url(url, self.allow_private).map_err(DeliveryError::Url)?;
        let request = self
            .http
            .post(url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp.as_second())
            .header("webhook-signature", signature_header(secrets, id, timestamp, body))
            .body(body.to_vec());
        let answer = request.send().await.map_err(what_went_wrong)?;
        let status = answer.status();
        drain(answer).await;
        if status.is_success() { Ok(Delivered { status }) } else { Err(DeliveryError::Refused { status }) }
    }
}

/// Reads the rest of a short answer, so that the connection can be used again. The status has said everything: a body that
/// is too long, or breaks off, changes nothing.
async fn drain(mut answer: Response) {
    let mut left = MAX_ANSWER;
    while let Ok(Some(chunk)) = answer.chunk().await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn what_went_wrong(error: reqwest::Error) -> DeliveryError {
    let error = error.without_url(); // an endpoint's path may be as good as a password
    if causes(&error).any(|cause| cause.is::<NoPublicAddress>()) {
        DeliveryError::ForbiddenAddress
    } else if error.is_timeout() {
        DeliveryError::TimedOut
    } else if error.is_connect() {
        DeliveryError::Unreachable(error)
    } else {
        DeliveryError::Broken(error)
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        task::JoinHandle,
    };

    use super::*;

    const BODY: &[u8] = br#"{"type":"refund.succeeded"}"#;

    /// An endpoint on loopback that takes one request and gives `answer`; then it holds the line. Its handle returns the
    /// request.
    async fn endpoint(answer: &str) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?shop=1", listener.local_addr().unwrap());
        let answer = answer.to_owned();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(BODY) {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "the request broke off");
            }
            // the client may have left after the head of a long answer
            let _ = stream.write_all(answer.as_bytes()).await;
            tokio::spawn(async move { stream.read(&mut [0; 1]).await });
            String::from_utf8(request).unwrap()
        });
        (url, task)
    }

    fn client(allow_private: bool) -> WebhookClient {
        let timeouts = Timeouts { connect: Duration::from_millis(500), total: Duration::from_millis(500) };
        WebhookClient::new(allow_private, timeouts).unwrap()
    }

    async fn deliver(client: &WebhookClient, url: &str) -> Result<Delivered, DeliveryError> {
        let secret = WebhookSecret::generate().unwrap();
        client.deliver(url, "msg-1", Timestamp::now(), BODY, &[secret]).await
    }

    #[tokio::test]
    async fn a_delivery_is_one_signed_post_that_the_reference_verifier_takes() {
        let (url, request) = endpoint("HTTP/1.1 204 No Content\r\n\r\n").await;
        let secret = WebhookSecret::generate().unwrap();
        let delivered =
            client(true).deliver(&url, "msg-1", Timestamp::now(), BODY, std::slice::from_ref(&secret)).await;
        assert_eq!(delivered.unwrap().status, 204);

        let request = request.await.unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /hook?shop=1 HTTP/1.1\r\n"), "{head}");
        let mut headers = reqwest::header::HeaderMap::new();
        for line in head.lines().skip(1) {
            let (name, value) = line.split_once(": ").unwrap();
            let name: reqwest::header::HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["webhook-id"], "msg-1");
        standardwebhooks::Webhook::new(&secret.expose()).unwrap().verify(body.as_bytes(), &headers).unwrap();
    }

    #[tokio::test]
    async fn whatever_is_not_2xx_is_refused_and_a_redirect_is_not_followed() {
        let bystander = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let elsewhere = bystander.local_addr().unwrap();
        for status in [300, 301, 302, 303, 307, 308, 400, 401, 404, 410, 429, 500, 503] {
            let answer = format!("HTTP/1.1 {status} X\r\nlocation: http://{elsewhere}/\r\ncontent-length: 2\r\n\r\nno");
            let (url, _) = endpoint(&answer).await;
            match deliver(&client(true), &url).await {
                Err(DeliveryError::Refused { status: seen }) => assert_eq!(seen, status),
                other => panic!("{status}: {other:?}"),
            }
        }
        let called = tokio::time::timeout(Duration::from_millis(50), bystander.accept()).await;
        assert!(called.is_err(), "a redirect was followed");
    }

    #[tokio::test]
    async fn an_endless_answer_is_not_read_to_its_end() {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n{}", "x".repeat(4 * MAX_ANSWER));
        let (url, _) = endpoint(&answer).await;
        let start = std::time::Instant::now();
        let patient = WebhookClient::new(true, Timeouts::default()).unwrap();
        assert_eq!(deliver(&patient, &url).await.unwrap().status, 200);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn an_answer_whose_body_never_comes_counts_by_its_status() {
        let (url, _) = endpoint("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await;
        assert_eq!(deliver(&client(true), &url).await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn an_endpoint_that_hangs_times_out() {
        let (url, _) = endpoint("").await;
        let error = deliver(&client(true), &url).await.unwrap_err();
        assert!(matches!(error, DeliveryError::TimedOut), "{error:?}");
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_and_a_name_that_is_not_known_are_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let unknown = format!("https://{}.example/", "x".repeat(64)); // no label is that long: no server is asked
        for (allow_private, url) in [(true, nobody.as_str()), (false, &unknown)] {
            let error = deliver(&client(allow_private), url).await.unwrap_err();
            assert!(matches!(error, DeliveryError::Unreachable(_)), "{url}: {error:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_not_http_is_a_broken_connection_and_no_error_shows_the_url() {
        let (url, _) = endpoint("220 mail.example ESMTP\r\n").await;
        let error = deliver(&client(true), &url).await.unwrap_err();
        assert!(matches!(error, DeliveryError::Broken(_)), "{error:?}");
        assert!(!format!("{error:?}").contains("shop=1"), "{error:?}");
    }

    #[tokio::test]
    async fn a_name_that_leads_to_loopback_is_never_called() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let error = deliver(&client(false), &url).await.unwrap_err();
        assert!(matches!(error, DeliveryError::ForbiddenAddress), "{error:?}");
        assert!(tokio::time::timeout(Duration::from_millis(50), listener.accept()).await.is_err(), "it was called");
    }

    #[tokio::test]
    async fn a_url_that_was_allowed_once_is_checked_again_at_each_delivery() {
        let error = deliver(&client(false), "https://127.0.0.1:1/").await.unwrap_err();
        assert!(matches!(error, DeliveryError::Url(UrlError::ForbiddenAddress(_))), "{error:?}");
    }

    #[test]
    fn a_private_address_is_refused_in_every_way_to_write_it() {
        for host in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0x7f.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "0.0.0.0",
            "0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:8.8.8.8]",
            "[::127.0.0.1]",
            "[fe80::1]",
            "[fd00::1]",
            "[ff02::1]",
            "[64:ff9b::10.0.0.1]",
            "[2002:7f00:1::]",
        ] {
            let url = format!("https://{host}/hook");
            let error = check_url(&url, false).expect_err(&url);
            assert!(matches!(error, UrlError::ForbiddenAddress(_)), "{host}: {error:?}");
            assert!(check_url(&url, true).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_url_is_registered_or_refused_with_its_reason() {
        let long = format!("https://shop.example/{}", "x".repeat(MAX_URL_LEN));
        for (url, private, reason) in [
            ("https://shop.example/hook?a=1", false, None),
            ("https://shop.example:8443", false, None),
            ("https://8.8.8.8/", false, None),
            ("https://[2606:4700::1]/", false, None),
            ("https://商店.example/", false, None),
            ("http://127.0.0.1:8080/", true, None),
            ("http://shop.example/", false, Some(UrlError::Scheme)),
            ("ftp://shop.example/", true, Some(UrlError::Scheme)),
            ("file:///etc/passwd", true, Some(UrlError::Scheme)),
            ("javascript:alert(1)", true, Some(UrlError::Scheme)),
            ("https://", false, Some(UrlError::Malformed)),
            ("https://1.2.3.4.5/", false, Some(UrlError::Malformed)),
            ("https://[fe80::1%25eth0]/", false, Some(UrlError::Malformed)),
            ("shop.example/hook", false, Some(UrlError::Malformed)),
            ("", false, Some(UrlError::Malformed)),
            ("https://user@shop.example/", false, Some(UrlError::Credentials)),
            ("https://:word@shop.example/", false, Some(UrlError::Credentials)),
            ("https://shop.example/#top", false, Some(UrlError::Fragment)),
            (&long, false, Some(UrlError::TooLong)),
        ] {
            assert_eq!(check_url(url, private).err(), reason, "{url}");
        }
    }
}
