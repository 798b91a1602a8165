//! `scanback.toml`: the configuration with which `scanback serve` works against this sandbox at once (contract §7).

use std::{fmt::Write as _, path::Path};

use super::Identity;
use crate::SandboxError;

/// The text of the file. Paths are absolute; a path that is not Unicode is refused, TOML can't hold it.
pub(super) fn scanback_toml(identity: &Identity, time_scale: u32) -> Result<String, SandboxError> {
    let dir = &identity.dir;
    let (wechat, alipay) = (&identity.wechat.params, &identity.alipay.params);
    let file = |name: &str| text(&dir.join(name)).map(|path| quoted(&path));
    // sqlx unpacks %xx in the path and takes '?' for the beginning of options
    let database = text(&dir.join("scanback.sqlite"))?.replace('%', "%25").replace('?', "%3F");
    let mut toml = String::from(
        "# Written by `scanback sandbox` at each start: changes here are lost. Serves one merchant against the mock wallets.\n",
    );
    let mut section = |name: &str, pairs: &[(&str, String)]| {
        let _ = writeln!(toml, "\n{name}");
        for (key, value) in pairs {
            let _ = writeln!(toml, "{key} = {value}");
        }
    };
    section("[http]", &[("listen", quoted("127.0.0.1:8080"))]);
    section("[database]", &[("url", quoted(&format!("sqlite:{database}")))]);
    section("[secrets]", &[("pepper", quoted(&identity.pepper))]);
    section("[wallet]", &[("time_scale", time_scale.to_string())]);
    section("[webhook]", &[("allow_private", "true".to_owned())]);
    section("[policy]", &[("operator", quoted("never")), ("require_note", "false".to_owned())]);
    section("[limits]", &[("requests_per_second", "200".to_owned())]);
    section("[[merchant]]", &[("id", quoted("demo")), ("name", quoted("Demo"))]);
    let mut account = vec![
        ("base_url", quoted(&wechat.base_url)),
        ("mchid", quoted(&wechat.mchid)),
        ("appid", quoted(&wechat.appid)),
        ("merchant_key_file", file("wechat/merchant_key.pem")?),
        ("merchant_cert_file", file("wechat/merchant_cert.pem")?),
        ("platform_cert_file", file("wechat/platform_cert.pem")?),
        ("platform_public_key_file", file("wechat/platform_public_key.pem")?),
        ("platform_public_key_id", quoted(&wechat.platform_public_key_id)),
        ("apiv3_key", quoted(&wechat.apiv3_key)),
        ("apiv2_key", quoted(&wechat.apiv2_key)),
    ];
    if let Some(sub) = &wechat.sub {
        account.extend([("sub_mchid", quoted(&sub.sub_mchid)), ("sub_appid", quoted(&sub.sub_appid))]);
    }
    section("[merchant.wechat]", &account);
    section(
        "[merchant.alipay]",
        &[
            ("gateway_url", quoted(&alipay.gateway_url)),
            ("app_id", quoted(&alipay.app_id)),
            ("seller_id", quoted(&alipay.seller_id)),
            ("app_private_key_file", file("alipay/app_private_key.pem")?),
            ("alipay_public_key_file", file("alipay/alipay_public_key.pem")?),
            ("payer_lookup", quoted("decode")),
        ],
    );
    Ok(toml)
}

fn text(path: &Path) -> Result<String, SandboxError> {
    path.to_str().map(str::to_owned).ok_or_else(|| SandboxError::BadFile {
        path: path.to_owned(),
        why: "its name is not Unicode: choose another --dir".to_owned(),
    })
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_quotes_and_control_characters_is_one_toml_string() {
        assert_eq!(quoted("a\"b\\c\nd\u{7f}é"), "\"a\\\"b\\\\c\\u000Ad\\u007Fé\"");
    }
}
