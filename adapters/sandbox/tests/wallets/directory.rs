//! The directory: filled once, used again, repeatable with a seed; and what stops a start.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

use reqwest::Method;
use scanback_sandbox::{Sandbox, SandboxError};
use serde_json::{Value, json};

use crate::shop::{Shop, filled_dir, fresh_dir, options};

/// Every file by its name; both `params.json` and `scanback.toml` hold the address and are left out.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for part in ["", "wechat", "alipay"] {
        for entry in fs::read_dir(dir.join(part)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{part}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_file() && !name.ends_with("params.json") && !name.ends_with(".toml") {
                all.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    all
}

fn params(dir: &Path, wallet: &str) -> Value {
    let mut params: Value =
        serde_json::from_str(&fs::read_to_string(dir.join(wallet).join("params.json")).unwrap()).unwrap();
    let fields = params.as_object_mut().unwrap();
    fields.remove("base_url").or_else(|| fields.remove("gateway_url")).unwrap();
    params
}

#[tokio::test]
async fn the_directory_holds_what_the_contract_names_and_private_keys_are_private() {
    let dir = filled_dir().await;
    for name in [
        "wechat/merchant_key.pem",
        "wechat/merchant_cert.pem",
        "wechat/platform_cert.pem",
        "wechat/platform_public_key.pem",
        "wechat/params.json",
        "alipay/app_private_key.pem",
        "alipay/app_cert.pem",
        "alipay/alipay_public_key.pem",
        "alipay/alipay_cert.pem",
        "alipay/alipay_root_cert.pem",
        "alipay/params.json",
        "scanback.toml",
    ] {
        assert!(dir.join(name).is_file(), "{name}");
    }
    for (name, text) in files(&dir) {
        let mode = fs::metadata(dir.join(name.trim_start_matches('/'))).unwrap().permissions().mode() & 0o777;
        let is_private = String::from_utf8_lossy(&text).contains("PRIVATE KEY") || name == "/pepper";
        assert_eq!(mode, if is_private { 0o600 } else { 0o644 }, "{name}");
    }
    for name in ["scanback.toml", "wechat/params.json", "alipay/params.json"] {
        assert_eq!(fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name} holds secrets");
    }
    let wechat = params(&dir, "wechat");
    let lengths = ["mchid", "merchant_serial", "apiv3_key", "apiv2_key", "platform_serial"];
    assert_eq!(lengths.map(|name| wechat[name].as_str().unwrap().len()), [10, 40, 32, 32, 40]);
    assert!(wechat["platform_public_key_id"].as_str().unwrap().starts_with("PUB_KEY_ID_01"));
    fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn a_second_start_keeps_the_keys_and_writes_the_addresses_anew() {
    let shop = Shop::open().await;
    let dir = shop.dir.clone();
    let before = (files(&dir), params(&dir, "wechat"), params(&dir, "alipay"));
    shop.sandbox.stop().await;
    let mut other = options(&dir);
    other.seed = None; // what is there is used, whatever the seed
    other.time_scale = 5;
    let sandbox = Sandbox::start(other).await.unwrap();
    assert_eq!((files(&dir), params(&dir, "wechat"), params(&dir, "alipay")), before);
    let toml = fs::read_to_string(dir.join("scanback.toml")).unwrap();
    for line in [
        "listen = \"127.0.0.1:8080\"".to_owned(),
        format!("url = \"sqlite:{}/scanback.sqlite\"", dir.canonicalize().unwrap().display()),
        "time_scale = 5".to_owned(),
        "allow_private = true".to_owned(),
        "operator = \"never\"".to_owned(),
        "requests_per_second = 200".to_owned(),
        format!("base_url = \"{}\"", sandbox.base_url()),
        format!("gateway_url = \"{}/gateway.do\"", sandbox.base_url()),
        format!("apiv3_key = {}", before.1["apiv3_key"]),
    ] {
        assert!(toml.lines().any(|one| one == line), "{line} in\n{toml}");
    }
    sandbox.stop().await;
    fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn a_seed_fills_a_directory_the_same_way_again_and_another_seed_another_way() {
    let first = filled_dir().await; // seed 7
    let (second, third) = (fresh_dir(), fresh_dir());
    Sandbox::start(options(&second)).await.unwrap().stop().await;
    let mut other = options(&third);
    other.seed = Some(8);
    Sandbox::start(other).await.unwrap().stop().await;
    assert!(files(&first) == files(&second), "the same bytes in every file");
    assert_eq!(params(&first, "wechat"), params(&second, "wechat"));
    assert_eq!(params(&first, "alipay"), params(&second, "alipay"));
    let (one, other) = (files(&first), files(&third));
    assert!(one.iter().all(|(name, text)| other[name] != *text), "nothing is shared between seeds");
    assert_ne!(params(&first, "wechat"), params(&third, "wechat"));
    for dir in [first, second, third] {
        fs::remove_dir_all(dir).unwrap();
    }
}

#[tokio::test]
async fn seeded_numbers_repeat() {
    let made = async || {
        let shop = Shop::open().await;
        let made = shop.order("wechat", "T-1", 100, json!({ "paid_at": "2025-06-01T12:00:00+08:00" })).await;
        let frame = shop.http.get(shop.url("/_sandbox/frame?out_trade_no=T-1&show=bill_code")).send().await.unwrap();
        let frame = frame.bytes().await.unwrap();
        shop.close().await;
        (made, frame)
    };
    let (one, two) = (made().await, made().await);
    assert_eq!(one.0, two.0);
    assert!(one.1 == two.1, "the same picture");
}

#[tokio::test]
async fn what_stops_a_start_is_named_with_the_way_out() {
    let shop = Shop::open().await;
    let dir = filled_dir().await;
    let mut taken = options(&dir);
    taken.listen = shop.sandbox.address();
    let error = Sandbox::start(taken).await.unwrap_err();
    assert!(matches!(error, SandboxError::Listen { .. }));
    assert!(error.to_string().contains(&shop.sandbox.address().to_string()));

    let mut standing = options(&dir);
    standing.time_scale = 0;
    assert!(matches!(Sandbox::start(standing).await.unwrap_err(), SandboxError::TimeScale));

    let file = dir.join("scanback.toml");
    let error = Sandbox::start(options(&file)).await.unwrap_err();
    assert!(matches!(&error, SandboxError::Directory { path, .. } if *path == file), "{error}");

    fs::write(dir.join("wechat/merchant_key.pem"), "nonsense").unwrap();
    let error = Sandbox::start(options(&dir)).await.unwrap_err();
    assert!(error.to_string().contains("merchant_key.pem"), "{error}");

    fs::remove_file(dir.join("wechat/merchant_key.pem")).unwrap();
    let mut other = options(&dir);
    other.seed = Some(9); // another key than the one that the certificate is for
    let error = Sandbox::start(other).await.unwrap_err();
    assert!(error.to_string().contains("merchant_cert.pem"), "{error}");

    fs::remove_file(dir.join("wechat/merchant_cert.pem")).unwrap();
    fs::write(dir.join("wechat/params.json"), "{}").unwrap();
    let error = Sandbox::start(options(&dir)).await.unwrap_err();
    assert!(error.to_string().contains("params.json"), "{error}");
    fs::remove_dir_all(dir).unwrap();
    shop.close().await;
}

#[tokio::test]
async fn the_tls_listener_is_trusted_by_the_authority_in_the_directory() {
    let shop = Shop::with(|options| options.tls_listen = Some("127.0.0.1:0".parse().unwrap())).await;
    let ca = reqwest::Certificate::from_pem(&fs::read(shop.dir.join("sandbox_ca.pem")).unwrap()).unwrap();
    let address = shop.sandbox.tls_address().unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([ca])
        .resolve("api.mch.weixin.qq.com", address)
        .build()
        .unwrap();
    let host = format!("https://api.mch.weixin.qq.com:{}", address.port());
    let path = "/v3/certificates";
    let authorization = shop.authorization("GET", path, "");
    let answer = client.get(format!("{host}{path}")).header("Authorization", authorization).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    shop.fault("wechat", "certificates", "effect_then_reset").await;
    let authorization = shop.authorization("GET", path, "");
    assert!(client.get(format!("{host}{path}")).header("Authorization", authorization).send().await.is_err());
    let (status, _) = shop.control(Method::GET, "/ledger", None).await;
    assert_eq!(status, 200);
    shop.close().await;
}
