//! The sources themselves: what may use what, what belongs together, and that every refusal has a test.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const TOP: &str = env!("CARGO_MANIFEST_DIR");
/// Lines of a file without its tests: what a reader can keep in mind.
const MOST_LINES: usize = 450;

/// Every file below a folder with this ending, with its text.
fn files(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.to_str().unwrap().ends_with(ending) {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(TOP).join(folder), ending, &mut found);
    assert!(!found.is_empty(), "{folder} has no {ending}");
    found
}

/// The code of a file: without comments and without its tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The top module that a source file belongs to: `src/http/auth.rs` is of `http`.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(TOP).join("src")).unwrap();
    below.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The words that follow `prefix` in a text; of `prefix{a, b::{c, d}}` it is `a` and `b`.
fn named_after(text: &str, prefix: &str) -> BTreeSet<String> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut names = BTreeSet::new();
    for rest in text.split(prefix).skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.extend(rest.split(|letter| !is_word(letter)).next().map(str::to_owned));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (at, letter) in group.char_indices() {
            match letter {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                letter if begins && is_word(letter) => {
                    begins = false;
                    names.extend(group[at..].split(|letter| !is_word(letter)).next().map(str::to_owned));
                }
                _ => {}
            }
        }
    }
    names
}

/// Three hops: http → service → ledger or wallet; the domain is below everything and pure.
#[test]
fn each_module_uses_only_what_lies_below_it() {
    let may_use: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("domain", &[][..]),
        ("words", &["domain"]),
        ("ledger", &["domain"]),
        ("keys", &["domain"]),
        ("scan", &["domain"]),
        ("webhook", &["domain"]),
        ("telemetry", &[]),
        ("config", &["domain", "scan"]),
        ("service", &["domain", "ledger", "keys", "scan", "webhook"]),
        ("worker", &["domain", "ledger", "service"]),
        ("http", &["domain", "ledger", "keys", "service", "words", "telemetry"]),
    ]);
    for (path, text) in files("src", ".rs") {
        let Some(allowed) = may_use.get(module(&path).as_str()) else { continue };
        let used = named_after(&code(&text), "crate::");
        let wrong: Vec<_> =
            used.iter().filter(|used| **used != module(&path) && !allowed.contains(&used.as_str())).collect();
        assert!(wrong.is_empty(), "{} uses {wrong:?}", path.display());
    }
}

#[test]
fn each_library_is_used_in_its_place_alone() {
    for (library, places) in [
        ("sqlx", &["ledger"][..]),
        ("redis", &["keys"]),
        ("actix_web", &["http", "startup", "telemetry", "cli"]),
        ("rxing", &["scan"]),
        ("rqrr", &["scan"]),
        ("clap", &["cli", "main"]),
        ("scanback_wechat", &["startup", "config", "cli"]),
        ("scanback_alipay", &["startup", "config", "cli"]),
        ("scanback_sandbox", &["cli"]),
    ] {
        let mut used = false;
        for (path, text) in files("src", ".rs") {
            if code(&text).contains(&format!("{library}::")) {
                used = true;
                assert!(places.contains(&module(&path).as_str()), "{} uses {library}", path.display());
            }
        }
        assert!(used, "{library} is used nowhere: is this test still about it?");
    }
}

/// No I/O, no clock, no waiting: time is an argument.
#[test]
fn the_domain_is_pure() {
    for (path, text) in files("src/domain", ".rs") {
        let code = code(&text);
        for impure in [
            "async ",
            ".await",
            "tokio",
            "std::fs",
            "std::net",
            "std::env",
            "Timestamp::now",
            "Instant::now",
            "println!",
            "tracing::",
        ] {
            assert!(!code.contains(impure), "{} has {impure}", path.display());
        }
    }
}

/// `adapters/wallet` knows no wallet, no adapter knows another or the service, and the sandbox shares nothing with those that
/// it checks.
#[test]
fn each_adapter_knows_only_the_wallet_crate() {
    for (path, text) in files("adapters", "Cargo.toml") {
        let name = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let ours: BTreeSet<_> = text
            .lines()
            .filter(|line| line.starts_with("scanback"))
            .map(|line| line.split(['.', ' ', '=']).next().unwrap())
            .collect();
        let allowed: &[&str] = if matches!(name, "wechat" | "alipay") { &["scanback-wallet"] } else { &[] };
        assert!(ours.iter().all(|one| allowed.contains(one)), "adapters/{name} depends on {ours:?}");
    }
}

#[test]
fn no_file_is_longer_than_a_reader_can_keep_in_mind() {
    let mut long = Vec::new();
    for folder in ["src", "adapters", "tests"] {
        for (path, text) in files(folder, ".rs") {
            let lines = text.split("#[cfg(test)]\nmod tests").next().unwrap().lines().count();
            if lines > MOST_LINES && !path.ends_with("tests/keys.rs") {
                long.push(format!("{} has {lines} lines", path.display()));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

/// The example configuration is the manual: it names every setting.
#[test]
fn every_setting_is_in_the_example() {
    let example = fs::read_to_string(Path::new(TOP).join("deploy/scanback.example.toml")).unwrap();
    let raw = fs::read_to_string(Path::new(TOP).join("src/config/raw.rs")).unwrap();
    let mut settings = 0;
    for line in raw.lines().filter_map(|line| line.trim().strip_prefix("pub(super) ")) {
        let Some((name, _)) = line.split_once(": ") else { continue };
        let is_section = example.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            line.starts_with(&format!("[{name}]"))
                || line.starts_with(&format!("[[{name}]]"))
                || line.starts_with(&format!("[merchant.{name}]"))
        });
        let is_setting =
            example.lines().any(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{name} = ")));
        assert!(is_section || is_setting, "{name} is not in deploy/scanback.example.toml");
        settings += 1;
    }
    assert!(settings > 20, "only {settings} settings were found in raw.rs");
}

/// Tables and columns of a migration: `table.column`.
fn columns(sql: &str) -> BTreeSet<String> {
    let mut columns = BTreeSet::new();
    let mut table = None;
    for line in sql.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
            table = rest.split(' ').next();
        } else if line.starts_with(')') {
            table = None;
        } else if let Some(table) = table {
            let word = line.split(' ').next().unwrap();
            if word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_') && !word.is_empty() {
                columns.insert(format!("{table}.{word}"));
            }
        }
    }
    columns
}

/// Two engines, one schema: the same migrations, tables, columns and indexes.
#[test]
fn both_engines_have_the_same_schema() {
    let of = |engine: &str| -> BTreeMap<String, String> {
        let all = files(&format!("src/ledger/migrations/{engine}"), ".sql").into_iter();
        all.map(|(path, text)| (path.file_name().unwrap().to_str().unwrap().to_owned(), text)).collect()
    };
    let (sqlite, postgres) = (of("sqlite"), of("postgres"));
    assert_eq!(sqlite.keys().collect::<Vec<_>>(), postgres.keys().collect::<Vec<_>>());
    for (name, text) in &sqlite {
        let other = &postgres[name];
        assert!(text.starts_with("--") && other.starts_with("--"), "{name} begins by saying why");
        assert_eq!(columns(text), columns(other), "{name}");
        let indexes = |text: &str| -> BTreeSet<String> {
            text.lines().filter(|line| line.contains("INDEX ")).map(str::to_owned).collect()
        };
        assert_eq!(indexes(text), indexes(other), "{name}");
    }
    assert!(columns(&sqlite.values().cloned().collect::<String>()).len() > 50);
}

/// Every code of the error map is provoked by a promise, through the real program.
#[test]
fn every_refusal_has_a_test() {
    // no call of this version can meet them: states that need approvals, and faults of ours
    let out_of_reach = BTreeSet::from(["refund_state_conflict", "internal"]);
    let map = fs::read_to_string(Path::new(TOP).join("src/http/problem.rs")).unwrap();
    let map = code(&map);
    let mut codes = BTreeSet::new();
    for rest in map.split("new(").skip(1) {
        let Some((status, rest)) = rest.split_once(", \"") else { continue };
        if status.parse::<u16>().is_ok() {
            codes.insert(rest.split('"').next().unwrap());
        }
    }
    assert!(codes.len() > 35, "{codes:?}");
    let promises: String = ["bad_input", "ceiling", "idempotency", "refunds", "refusals", "strangers"]
        .iter()
        .map(|name| fs::read_to_string(Path::new(TOP).join(format!("tests/{name}.rs"))).unwrap())
        .collect();
    let untested: Vec<_> = codes
        .iter()
        .filter(|code| !out_of_reach.contains(*code) && !promises.contains(&format!("\"{code}\"")))
        .collect();
    assert!(untested.is_empty(), "no test provokes {untested:?}");
}

/// What can be called is described: `/openapi.json` has every path that is routed.
#[test]
fn every_route_is_described() {
    let routes = fs::read_to_string(Path::new(TOP).join("src/http/routes.rs")).unwrap();
    let described = scanback::http::openapi().to_json().unwrap();
    for path in routes.split("at(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        if !matches!(path, "/openapi.json" | "/docs") {
            assert!(described.contains(&format!("\"{path}\"")), "{path} is not described");
        }
    }
}
