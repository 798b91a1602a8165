//! The command line keeps its word (contract §2): what is printed, what is refused and by which name, and the exit code.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::shop::{ALIPAY, POLL, Program, Shop, fen, fresh_key, run, scanback};

/// How long a command takes at most until it says what is wrong: a database that doesn't answer is waited for.
const REFUSED_WITHIN: Duration = Duration::from_secs(45);

/// Standard output, after an exit code of 0.
#[track_caller]
fn printed(output: Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error, after an exit code other than 0 and nothing on standard output.
#[track_caller]
fn complained(output: Output) -> String {
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code().is_some_and(|code| code != 0), "it went through: {error}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "what goes wrong is said on standard error");
    assert!(!error.contains("panicked"), "{error}");
    error
}

// --- decode ------------------------------------------------------------------------------------------------------------

fn frames() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/frames")
}

/// What is in each fixture, by its name: (symbology, text), sorted.
fn truth() -> BTreeMap<String, Vec<(String, String)>> {
    let mut truth: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for line in std::fs::read_to_string(frames().join("truth.csv")).unwrap().lines().skip(1) {
        let mut fields = line.split(',').map(str::to_owned);
        let [file, symbology, text] = [(); 3].map(|()| fields.next().unwrap());
        let codes = truth.entry(file).or_default();
        if !symbology.is_empty() {
            codes.push((symbology, text));
        }
        codes.sort();
    }
    truth
}

fn lines(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn decode_says_what_is_in_every_frame() {
    let truth = truth();
    let mut command = scanback();
    command.args(["decode", "--json"]).args(truth.keys()).current_dir(frames());
    let lines = lines(&printed(run(&mut command, "")));
    assert_eq!(lines.len(), truth.len());
    for (line, (file, codes)) in lines.iter().zip(&truth) {
        assert_eq!(line["file"], json!(file));
        assert!(line["elapsed_us"].is_u64() && line["subject"]["kind"].is_string(), "{line}");
        let symbols = line["symbols"].as_array().unwrap();
        let text = |symbol: &Value, name: &str| symbol[name].as_str().unwrap().to_owned();
        let mut read: Vec<_> = symbols.iter().map(|symbol| (text(symbol, "symbology"), text(symbol, "text"))).collect();
        read.sort();
        assert_eq!(&read, codes, "{file}");
        for symbol in symbols {
            let corners = symbol["corners"].as_array().unwrap();
            assert_eq!(corners.len(), 4);
            assert!(corners.iter().flat_map(|corner| corner.as_array().unwrap()).all(Value::is_i64), "{symbol}");
        }
        // the name of a payment code's frame says whose it is
        let of = |wallet: &str| file.contains(wallet).then(|| json!({ "kind": "payment_code", "wallet": wallet }));
        if let Some(subject) = of("alipay").or(of("wechat")) {
            assert_eq!(line["subject"], subject, "{file}");
        }
    }
}

#[test]
fn decode_goes_on_after_a_file_that_it_can_not_read() {
    let arguments = ["decode", "--json", "README.md", "qr-clean.png", "qr-alipay-720.jpg"];
    let output = run(scanback().args(arguments).current_dir(frames()), "");
    assert_eq!(output.status.code(), Some(2));
    let lines = lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(lines.len(), 3);
    for (line, file) in lines.iter().zip(["README.md", "qr-clean.png"]) {
        let fields: Vec<_> = line.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["error", "file"], "{line}");
        assert!(line["file"] == file && !line["error"].as_str().unwrap().is_empty(), "{line}");
    }
    assert_eq!(lines[2]["symbols"][0]["text"], "288623218230186196");
}

#[test]
fn decode_takes_a_list_from_standard_input() {
    let list = "qr-alipay-720.jpg\nno-code-480.jpg\n\nbars-clean.png\n";
    let mut command = scanback();
    command.args(["decode", "--json", "-"]).current_dir(frames());
    let all = lines(&printed(run(&mut command, list)));
    let files: Vec<_> = all.iter().map(|line| line["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["qr-alipay-720.jpg", "no-code-480.jpg", "bars-clean.png"]);
    assert_eq!(all[1]["symbols"], json!([]), "nothing found is no failure");
    let output = run(&mut command, "nowhere.png\nbars-clean.png\n");
    assert_eq!((output.status.code(), lines(&String::from_utf8(output.stdout).unwrap()).len()), (Some(2), 2));
    // no files at all is a wrong command line
    assert!(!complained(run(scanback().args(["decode", "--json"]), "")).is_empty());
}

// --- tokens and operators ----------------------------------------------------------------------------------------------

fn tokens(shop: &Shop) -> Vec<Vec<String>> {
    let list = printed(shop.run(&["token", "list"], ""));
    list.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

#[tokio::test]
async fn a_token_is_printed_once_listed_without_its_text_and_revoked() {
    let shop = Shop::new().open().await;
    assert_eq!(tokens(&shop), Vec::<Vec<String>>::new());
    let began = jiff::Timestamp::now();
    let mut made = Vec::new();
    for role in ["terminal", "merchant", "auditor", "admin"] {
        let name = format!("the-{role}");
        made.push(shop.make_token(role, "demo", &name));
        let last = tokens(&shop).pop().unwrap();
        let [id, kind, merchant, called, created] = last.as_slice() else {
            panic!("id role merchant name created: {last:?}")
        };
        assert_eq!([kind, merchant, called].map(String::as_str), [role, "demo", &name]);
        uuid::Uuid::parse_str(id).unwrap();
        let created: jiff::Timestamp = created.parse().unwrap();
        assert!((began.as_second()..=jiff::Timestamp::now().as_second()).contains(&created.as_second()));
    }
    let list = printed(shop.run(&["token", "list"], ""));
    assert!(made.iter().all(|token| !list.contains(token.as_str())), "the list shows a token");

    let id = tokens(&shop)[1][0].clone();
    assert_eq!(printed(shop.run(&["token", "revoke", &id], "")), "");
    assert_eq!(tokens(&shop).len(), 3);
    shop.with_token(&made[1]).get("/v1/refunds").await.assert(401, "unauthenticated");
    shop.with_token(&made[3]).get("/v1/refunds").await.assert_status(200);
    assert!(complained(shop.run(&["token", "revoke", &id], "")).contains(&id));
    shop.close().await;
}

#[tokio::test]
async fn a_token_that_can_not_be_is_refused() {
    let shop = Shop::new().open().await;
    for (role, merchant, name, more, named) in [
        ("cashier", "demo", "x", None, "cashier"),
        ("merchant", "nobody", "x", None, "nobody"),
        ("merchant", "no such", "x", None, "--merchant"),
        ("terminal", "demo", "the till", None, "--terminal"),
        ("terminal", "demo", "x", Some(["--terminal", "the till"]), "--terminal"),
    ] {
        let mut arguments = vec!["token", "create", "--role", role, "--merchant", merchant, "--name", name];
        arguments.extend(more.into_iter().flatten());
        let error = complained(shop.run(&arguments, ""));
        assert!(error.contains(named), "{named} is not named: {error}");
    }
    assert!(complained(shop.run(&["token", "revoke", "no-uuid"], "")).contains("no-uuid"));
    assert_eq!(tokens(&shop), Vec::<Vec<String>>::new());
    shop.close().await;
}

#[tokio::test]
async fn a_person_gets_in_with_a_pin_from_standard_input() {
    let shop = Shop::new().setting("policy.operator", "always").order(ALIPAY, "PERSON-001", 5_000).open().await;
    let add = |id: &str, role: &str, pin: &str| {
        shop.run(&["operator", "add", "--merchant", "demo", "--id", id, "--role", role], pin)
    };
    for bad in ["", "\n", "12345\n", "1234567890123\n", "12345x\n", "123 456\n", "-123456\n", "１２３４５６\n"] {
        let error = complained(add("li", "cashier", bad));
        assert!(error.contains("6 to 12 digits"), "{bad:?}: {error}");
        assert!(bad.trim().is_empty() || !error.contains(bad.trim()), "a PIN is shown: {error}");
    }
    let refund = |pin: &str| {
        let refund = json!({
            "order_no": "PERSON-001", "amount": fen(100), "reason": "other", "operator_id": "li", "operator_pin": pin,
        });
        shop.merchant().refund_call(&fresh_key(), &refund)
    };
    refund("135791").send().await.assert(403, "operator_unknown");
    for pin in ["135791", "135792135792"] {
        shop.plant(pin);
    }
    let said = printed(add("li", "cashier", "135791\n"));
    assert!(said.contains("li") && !said.contains("135791"), "{said}");
    // who is there already stays as they are
    assert!(complained(add("li", "manager", "135792135792\n")).contains("li"));
    refund("135792135792").send().await.assert(403, "pin_wrong");
    let done = refund("135791").send().await;
    done.assert(201, "succeeded");
    assert_eq!(done.body["operator_id"], "li");
    // twelve digits, and no line end
    printed(add("wang", "finance", "135792135792"));
    assert!(complained(add("zhao", "owner", "135791\n")).contains("owner"));
    let elsewhere = ["operator", "add", "--merchant", "nobody", "--id", "li", "--role", "cashier"];
    assert!(complained(shop.run(&elsewhere, "135791\n")).contains("nobody"));
    shop.close().await;
}

// --- openapi, migrate, help --------------------------------------------------------------------------------------------

#[tokio::test]
async fn the_description_of_the_api_is_the_one_that_is_served() {
    let shop = Shop::new().open().await;
    let described: Value = serde_json::from_str(&printed(run(scanback().arg("openapi"), ""))).unwrap();
    assert!(described["openapi"].as_str().unwrap().starts_with("3.1."), "{}", described["openapi"]);
    assert_eq!(described["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(described, shop.stranger().get("/openapi.json").await.body);
    shop.close().await;
}

#[tokio::test]
async fn the_schema_is_brought_up_to_date_as_often_as_one_likes() {
    let mut shop = Shop::new().order(ALIPAY, "MIGRATE-01", 5_000).prepare().await;
    for _ in 0..2 {
        assert!(printed(shop.run(&["migrate"], "")).contains("up to date"));
    }
    shop.start().await;
    shop.merchant().refund("MIGRATE-01", 700).await.assert(201, "succeeded");
    assert!(printed(shop.run(&["migrate"], "")).contains("up to date"), "while the service runs as well");
    assert_eq!(shop.merchant().order(ALIPAY, "MIGRATE-01").await["refunded"], fen(700));
    shop.close().await;
}

#[test]
fn the_program_explains_itself() {
    let version = printed(run(scanback().arg("--version"), ""));
    assert_eq!(version, format!("scanback {}\n", env!("CARGO_PKG_VERSION")));
    let commands = ["demo", "serve", "sandbox", "decode", "token", "operator", "migrate", "openapi"];
    for help in ["--help", "help", "-h"] {
        let help = printed(run(scanback().arg(help), ""));
        for command in commands {
            assert!(help.contains(&format!("\n  {command} ")), "{command} is not in the help:\n{help}");
        }
    }
    for command in commands {
        let help = printed(run(scanback().args([command, "--help"]), ""));
        assert!(help.contains(&format!("Usage: scanback {command}")), "{help}");
    }
    for wrong in [&["refund"][..], &[], &["serve"], &["serve", "--settings", "x"], &["token"], &["token", "create"]] {
        let error = complained(run(scanback().args(wrong), ""));
        assert!(error.contains("Usage: scanback"), "{wrong:?}: {error}");
    }
}

// --- demo --------------------------------------------------------------------------------------------------------------

#[test]
fn the_demo_tells_seven_steps_and_all_go_well() {
    let printed = printed(run(scanback().args(["demo", "--once"]), ""));
    let steps: Vec<_> = printed.lines().filter(|line| line.ends_with("  ok") || line.ends_with("  WRONG")).collect();
    assert_eq!(steps.len(), 7, "{printed}");
    for (number, step) in (1..).zip(&steps) {
        assert!(step.starts_with(&format!("{number} ")) && step.ends_with("  ok"), "{printed}");
    }
    for said in ["amount_exceeds_refundable", "wallet_mismatch", "hold 0 violations", "60 times faster"] {
        assert!(printed.contains(said), "{said} is not in:\n{printed}");
    }
}

/// Without `--once` it stays open, says where, and stops when it is asked to.
#[tokio::test]
async fn the_demo_stays_open_and_stops_in_time() {
    let dir = std::env::temp_dir().join(format!("scanback-test-demo-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut command = scanback();
    command.args(["demo", "--listen", "127.0.0.1:0"]);
    let (mut demo, service) = Program::start("demo", command, &dir, "  service ").await;
    let service = service.split(' ').next().unwrap();
    let ready = reqwest::get(format!("{service}/readyz")).await.unwrap();
    assert_eq!(ready.status(), 200);
    assert!(demo.stop(Duration::from_secs(10)).await.success());
    std::fs::remove_dir_all(dir).unwrap();
}

// --- serve: what it starts with, and how it stops ----------------------------------------------------------------------

#[tokio::test]
async fn the_service_stops_in_time_also_while_callers_stay_connected() {
    let mut shop = Shop::new().order(ALIPAY, "STOPS-0001", 5_000).open().await;
    let merchant = shop.merchant();
    let address = shop.base().trim_start_matches("http://").to_owned();
    let silent = tokio::net::TcpStream::connect(&address).await.unwrap();
    let slow = json!({ "wallet": ALIPAY, "operation": "refund", "kind": "slow", "times": 1, "delay_ms": 700 });
    shop.sandbox().fault_with(slow).await;
    let refund = tokio::spawn(async move { merchant.refund("STOPS-0001", 700).await });
    shop.sandbox().until_taken(ALIPAY, "STOPS-0001").await;
    shop.ask_to_stop();
    // what is in flight ends
    refund.await.unwrap().assert(201, "succeeded");
    assert!(shop.stop().await.success(), "the exit code is 0");
    drop(silent);
    shop.start().await;
    shop.close().await;
}

/// A command that can't start: it must end by itself, with what is wrong on standard error.
fn refused(command: &mut Command) -> String {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > REFUSED_WITHIN {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            return format!("IT STARTED, or hung: {output:?}");
        }
        std::thread::sleep(POLL);
    }
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code().is_some_and(|code| code != 0) && !error.contains("panicked"), "{error}");
    // logging is no complaint: that is said in plain words
    error.lines().filter(|line| !line.starts_with('{')).collect::<Vec<_>>().join("\n")
}

/// What is wrong with a complaint that must contain `words`.
fn lacks(case: &str, error: &str, words: &[&str]) -> Option<String> {
    let missing: Vec<_> = words.iter().filter(|word| !error.contains(**word)).collect();
    (!missing.is_empty() || error.starts_with("IT STARTED")).then(|| format!("{case}: no {missing:?} in: {error}"))
}

/// The shop's configuration with a line in the place of the one that begins so.
fn with_line(config: &str, begins: &str, line: &str) -> String {
    let is_it = |text: &str| text.starts_with(begins);
    assert_eq!(config.lines().filter(|text| is_it(text)).count(), 1, "{begins} is no line of:\n{config}");
    config.lines().map(|text| if is_it(text) { line } else { text }).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_configuration_that_can_not_be_is_refused_by_name() {
    let shop = Shop::new().prepare().await;
    let config = std::fs::read_to_string(shop.config_file()).unwrap();
    let file = |name: &str| shop.sandbox().dir.join(name).display().to_string();
    let set = |key: &str, value: &str| with_line(&config, &format!("{key} = "), &format!("{key} = {value:?}"));
    let after = |section: &str, line: &str| with_line(&config, section, &format!("{section}\n{line}"));
    let weak_pepper = "0123456789";
    let mut wrong = Vec::new();
    for (changed, names) in [
        (format!("{config}\n[htpp]\nlisten = \"127.0.0.1:0\"\n"), &["htpp"][..]),
        (after("[http]", "listne = \"127.0.0.1:0\""), &["listne"]),
        (after("[policy]", "max_refund = 3"), &["max_refund"]),
        (after("[merchant.wechat]", "api_key = \"x\""), &["api_key"]),
        (after("[limits]", "max_frame_bytes = \"many\""), &["max_frame_bytes"]),
        (set("operator", "sometimes"), &["policy.operator"]),
        (format!("{config}\n[[merchant]\n"), &[]),
        // keys and certificates
        (set("merchant_key_file", "nowhere.pem"), &["wechat.merchant_key_file", "nowhere.pem"]),
        (set("app_private_key_file", "nowhere.pem"), &["alipay.app_private_key_file", "nowhere.pem"]),
        (set("merchant_key_file", &file("alipay/app_private_key.pem")), &["wechat", "merchant_key", "merchant_cert"]),
        (set("merchant_key_file", &file("wechat/merchant_cert.pem")), &["wechat", "merchant_key"]),
        (set("merchant_cert_file", &file("wechat/merchant_key.pem")), &["wechat", "merchant_cert"]),
        (set("platform_public_key_file", &file("wechat/params.json")), &["wechat", "public"]),
        (set("app_private_key_file", &file("alipay/alipay_public_key.pem")), &["alipay", "private key"]),
        (set("alipay_public_key_file", &file("wechat/params.json")), &["alipay", "public key"]),
        (
            with_line(
                &config,
                "alipay_public_key_file",
                &format!(
                    "app_cert_file = {:?}\nalipay_cert_file = {:?}\nalipay_root_cert_file = {:?}",
                    file("alipay/alipay_cert.pem"),
                    file("alipay/alipay_cert.pem"),
                    file("alipay/alipay_root_cert.pem")
                ),
            ),
            &["alipay", "certificate", "private key"],
        ),
        (with_line(&config, "platform_public_key_id", ""), &["wechat.platform_public_key_id"]),
        (set("apiv3_key", "too-short"), &["wechat", "apiv3_key"]),
        (set("mchid", "M-1900"), &["wechat", "mchid"]),
        (set("app_id", ""), &["alipay", "app id"]),
        // secrets
        (set("pepper", weak_pepper), &["secrets.pepper"]),
        (with_line(&config, "pepper = ", ""), &["secrets.pepper"]),
        // time may be compressed only where no money is real
        (set("gateway_url", "https://openapi.alipay.com/gateway.do"), &["wallet.time_scale"]),
        (set("base_url", "https://api.mch.weixin.qq.com"), &["wallet.time_scale"]),
        (with_line(&config, "time_scale", "time_scale = 0"), &["wallet.time_scale"]),
        (with_line(&config, "time_scale", "time_scale = -1"), &["time_scale"]),
        (with_line(&config, "time_scale", "time_scale = 1.5"), &["time_scale"]),
        (with_line(&config, "time_scale", "time_scale = true"), &["time_scale"]),
        (with_line(&config, "id = ", "id = \"has space\""), &["merchant.id"]),
    ] {
        std::fs::write(shop.config_file(), &changed).unwrap();
        let error = refused(&mut shop.command(&["serve"]));
        let case = changed.lines().find(|line| !config.lines().any(|was| was == *line)).unwrap_or("a line less");
        wrong.extend(lacks(case, &error, &[names, &["serve.toml"]].concat()));
        for secret in shop.sandbox().secrets().iter().map(String::as_str).chain([weak_pepper, "too-short"]) {
            assert!(secret.is_empty() || !error.contains(secret), "a secret is shown: {error}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    shop.abandon().await;
}

#[tokio::test]
async fn a_setting_from_the_environment_is_refused_by_name_as_well() {
    let shop = Shop::new().prepare().await;
    let mut wrong = Vec::new();
    for (variable, value, names) in [
        ("SCANBACK__HTTP__LISTNE", "127.0.0.1:0", &["listne"][..]),
        ("SCANBACK__HTPP__LISTEN", "127.0.0.1:0", &["htpp"]),
        ("SCANBACK__HTTP__LISTEN", "nowhere", &["http.listen", "nowhere"]),
        ("SCANBACK__HTTP__METRICS_LISTEN", "nowhere", &["http.metrics_listen"]),
        ("SCANBACK__HTTP__PUBLIC_URL", "ftp://shop.example", &["http.public_url"]),
        ("SCANBACK__HTTP__ANSWER_WITHIN_MS", "soon", &["answer_within_ms"]),
        ("SCANBACK__HTTP__ANSWER_WITHIN_MS", "0", &["http.answer_within_ms"]),
        ("SCANBACK__LIMITS__REQUESTS_PER_SECOND", "0", &["limits.requests_per_second"]),
        ("SCANBACK__SECRETS__PEPPER", "short", &["secrets.pepper"]),
        ("SCANBACK__DATABASE__URL", "mysql://root@127.0.0.1/x", &["database.url", "sqlite:", "postgres://"]),
        ("SCANBACK__DATABASE__URL", "sqlite:/nowhere/at/all.sqlite", &["database"]),
        ("SCANBACK__DATABASE__URL", "postgres://127.0.0.1:1/nobody", &["the database does not answer"]),
        ("SCANBACK__REDIS__URL", "http://127.0.0.1:1", &["redis", "redis://"]),
        ("SCANBACK__REDIS__URL", "redis+sentinel://127.0.0.1:1", &["redis", "master"]),
        ("SCANBACK__REDIS__KEY_LEASE_MS", "60000", &["lease"]),
    ] {
        let mut command = shop.command(&["serve"]);
        if variable == "SCANBACK__REDIS__KEY_LEASE_MS" {
            command.env("SCANBACK__REDIS__URL", "redis://127.0.0.1:1");
        }
        let error = refused(command.env(variable, value));
        wrong.extend(lacks(&format!("{variable}={value}"), &error, names));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    shop.abandon().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let shop = Shop::new().prepare().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (setting, variable) in
        [("http.listen", "SCANBACK__HTTP__LISTEN"), ("http.metrics_listen", "SCANBACK__HTTP__METRICS_LISTEN")]
    {
        let error = refused(shop.command(&["serve"]).env(variable, &address));
        assert!(error.contains(setting) && error.contains(&address), "{error}");
    }
    let error = refused(scanback().args(["demo", "--once", "--listen", &address]));
    assert!(error.contains(&address), "{error}");
    let sandbox = ["sandbox", "--listen", &address, "--dir", shop.sandbox().dir.to_str().unwrap()];
    let error = refused(scanback().args(sandbox));
    assert!(error.contains(&address), "{error}");
    shop.abandon().await;
}

#[test]
fn a_configuration_that_is_not_there_is_named_by_every_command() {
    let nowhere = "/nowhere/scanback.toml";
    for command in [
        &["serve"][..],
        &["migrate"],
        &["token", "list"],
        &["token", "create", "--role", "merchant", "--merchant", "demo", "--name", "x"],
        &["token", "revoke", "0196d5a0-0000-7000-8000-000000000000"],
        &["operator", "add", "--merchant", "demo", "--id", "li", "--role", "cashier"],
    ] {
        let error = refused(scanback().args(command).args(["--config", nowhere]));
        assert!(error.contains(nowhere), "{command:?}: {error}");
    }
}
