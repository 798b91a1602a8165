//! Which addresses a notification may go to: as the wallets want them, and http on loopback (contract §7).

use std::net::IpAddr;

use actix_web::http::Uri;

/// Why an address is refused.
pub(crate) fn check(url: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|_| "is not a URL".to_owned())?;
    let host = uri.host().ok_or("has no host")?.trim_start_matches('[').trim_end_matches(']').to_owned();
    if uri.query().is_some() || url.contains('#') {
        return Err("must not have a query string".to_owned());
    }
    // "any" is how a service that listens on it may call itself, and it is reached on loopback
    let is_local = |address: IpAddr| address.is_loopback() || address.is_unspecified();
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(is_local);
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if is_loopback => Ok(()),
        Some("http") => Err("must be https; plain http is taken only for loopback".to_owned()),
        _ => Err("must be https".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_and_loopback_http_without_a_query_are_taken() {
        for good in ["https://shop.example/n", "http://127.0.0.1:80/n", "http://[::1]:8080/n", "http://localhost/n"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["http://shop.example/n", "https://shop.example/n?a=1", "ftp://127.0.0.1/n", "/n", "https://a.b/#x"]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
