//! The shape of the source stays as it was drawn (docs/ARCHITECTURE.md): which module may use which, where SQL and concrete
//! wallets are, how long a file gets. Each test names every file and line that is wrong.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A module of `src` and the others that it may use; what isn't named here it may not.
const MAY_USE: [(&str, &[&str]); 15] = [
    ("domain", &["mutants"]),
    ("mutants", &["domain"]), // deliberate bugs, compiled in for the simulator alone
    ("words", &["domain"]),
    ("ledger", &["domain", "mutants"]),
    ("keys", &["domain"]),
    ("scan", &["domain"]),
    ("webhook", &["domain"]),
    ("fuzzing", &["domain", "scan"]), // promises for any bytes, compiled in for tests and fuzz/ alone
    ("service", &["domain", "ledger", "keys", "mutants", "scan", "webhook"]),
    ("worker", &["domain", "ledger", "service"]),
    ("telemetry", &[]),
    ("http", &["domain", "ledger", "keys", "scan", "service", "telemetry", "words"]),
    ("config", &["domain", "scan"]),
    (
        "startup",
        &["config", "domain", "http", "keys", "ledger", "scan", "service", "telemetry", "webhook", "words", "worker"],
    ),
    ("cli", &["config", "domain", "http", "keys", "ledger", "scan", "service", "startup", "telemetry"]),
];
/// A longer file is two files: nobody finds anything in it.
const MAX_LINES: usize = 480;

// --- reading sources ---------------------------------------------------------------------------------------------------

/// A text in a source: its line, the code right before it without white space, and what it says.
struct Literal {
    line: usize,
    before: String,
    text: String,
}

/// A source file. `code` has the same lines, with comments and the contents of literals left out.
struct Source {
    path: String,
    lines: usize,
    code: String,
    literals: Vec<Literal>,
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut source =
            Self { path: shown(path), lines: text.lines().count(), code: String::new(), literals: Vec::new() };
        source.take_apart(&text.chars().collect::<Vec<_>>());
        assert_eq!(source.code.lines().count(), source.lines, "{} was not read right", source.path);
        source
    }

    fn take_apart(&mut self, text: &[char]) {
        let starts = |at: usize, with: &str| with.chars().enumerate().all(|(i, c)| text.get(at + i) == Some(&c));
        let mut at = 0;
        while let Some(&letter) = text.get(at) {
            let in_word = at > 0 && (text[at - 1].is_alphanumeric() || text[at - 1] == '_');
            let hashes = text[at + 1..].iter().take_while(|c| **c == '#').count();
            if starts(at, "//") {
                at += text[at..].iter().take_while(|c| **c != '\n').count();
            } else if letter == '"' {
                at = self.literal(text, at + 1, |at| starts(at, "\""), true);
            } else if letter == 'r' && (!in_word || text[at - 1] == 'b') && starts(at + 1 + hashes, "\"") {
                let end = format!("\"{}", "#".repeat(hashes));
                at = self.literal(text, at + 2 + hashes, |at| starts(at, &end), false) + hashes;
            } else if letter == '\'' && starts(at + 1, "\\") {
                at += 3 + text[at + 3..].iter().take_while(|c| **c != '\'').count() + 1;
            } else if letter == '\'' && starts(at + 2, "'") {
                at += 3;
            } else {
                self.code.push(letter);
                at += 1;
            }
        }
    }

    /// Keeps the literal that begins at `from`; where the code goes on.
    fn literal(&mut self, text: &[char], from: usize, ends: impl Fn(usize) -> bool, escapes: bool) -> usize {
        let line = self.code.matches('\n').count() + 1;
        let before: String = self.code.chars().rev().filter(|c| !c.is_whitespace()).take(12).collect();
        let mut at = from;
        while at < text.len() && !ends(at) {
            at += if escapes && text[at] == '\\' { 2 } else { 1 };
        }
        let inside = &text[from..at];
        self.code.push('"');
        self.code.extend(inside.iter().filter(|c| **c == '\n'));
        self.code.push('"');
        self.literals.push(Literal { line, before: before.chars().rev().collect(), text: inside.iter().collect() });
        at + 1
    }

    /// The lines on which `word` stands in the code, as a word or the beginning of a longer one.
    fn lines_with(&self, word: &str) -> Vec<usize> {
        let found = self.code.match_indices(word).filter(|(at, _)| {
            let before = self.code[..*at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
        });
        found.map(|(at, _)| self.line_of(at)).collect()
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// The modules of this crate that are used, as (line, module).
    fn modules(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            let (from, rest) = (at + "crate::".len(), &self.code[at + "crate::".len()..]);
            let mut depth = 0;
            let mut begins = true;
            for (i, letter) in rest.char_indices() {
                match letter {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => begins = true,
                    _ if letter.is_whitespace() => {}
                    _ if begins && depth <= 1 => {
                        let word = |c: &char| c.is_alphanumeric() || *c == '_';
                        found.push((self.line_of(from + i), rest[i..].chars().take_while(word).collect()));
                        begins = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
        found
    }

    /// The module of `src` that this file belongs to.
    fn module(&self) -> &str {
        let below = self.path.trim_start_matches("src/");
        below.split('/').next().unwrap().trim_end_matches(".rs")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

/// The files below a folder whose names end so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_str().unwrap().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources(folder: &str) -> Vec<Source> {
    let sources: Vec<_> = files(&root().join(folder), ".rs").iter().map(|path| Source::read(path)).collect();
    assert!(!sources.is_empty(), "there is nothing in {folder}");
    sources
}

/// The sources of the service and of every adapter.
fn all_sources() -> Vec<Source> {
    let adapters = adapters();
    assert!(adapters.len() >= 4);
    let mut all = sources("src");
    all.extend(adapters.iter().flat_map(|name| sources(&format!("adapters/{name}/src"))));
    all
}

fn adapters() -> Vec<String> {
    let folders = fs::read_dir(root().join("adapters")).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.path().join("Cargo.toml").exists());
    folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[track_caller]
fn all_is_well(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// What is wrong where `word` stands in a file that may not have it.
fn misplaced<'a>(source: &'a Source, word: &'a str, why: &'a str) -> impl Iterator<Item = String> + 'a {
    source.lines_with(word).into_iter().map(move |line| format!("{}:{line}: {word} {why}", source.path))
}

// --- what is kept true -------------------------------------------------------------------------------------------------

#[test]
fn each_module_uses_only_what_lies_below_it() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let module = source.module();
        if matches!(module, "main" | "lib") {
            continue;
        }
        let Some((_, may)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}:1: it is written nowhere what the module {module} may use", source.path));
            continue;
        };
        for (line, used) in source.modules() {
            if used != module && !may.contains(&used.as_str()) {
                wrong.push(format!("{}:{line}: {module} may not use {used}", source.path));
            }
        }
    }
    all_is_well(&wrong);
}

#[test]
fn the_rules_are_pure() {
    let outside = ["actix", "reqwest::", "redis::", "sqlx::", "tokio::", "std::fs", "std::net", "std::io", "std::env"];
    let now = ["async fn", "async move", "Timestamp::now", "Zoned::now", "Instant::now"];
    let domain: Vec<_> = sources("src").into_iter().filter(|source| source.module() == "domain").collect();
    let words = || outside.iter().chain(&now);
    let wrong =
        domain.iter().flat_map(|source| words().flat_map(|word| misplaced(source, word, "is not for src/domain")));
    all_is_well(&wrong.collect::<Vec<_>>());
}

#[test]
fn sql_is_in_the_ledger_alone() {
    let all = all_sources();
    let elsewhere = all.iter().filter(|source| !source.path.starts_with("src/ledger/"));
    let drivers = ["sqlx", "rusqlite", "tokio_postgres", "deadpool_postgres"];
    let mut wrong: Vec<_> = elsewhere
        .flat_map(|source| drivers.iter().flat_map(move |word| misplaced(source, word, "is for src/ledger alone")))
        .collect();
    for name in adapters() {
        let dependencies = dependencies(&format!("adapters/{name}/Cargo.toml"));
        let sqlx = dependencies.into_iter().filter(|(_, dependency)| dependency == "sqlx");
        wrong.extend(sqlx.map(|(line, _)| format!("adapters/{name}/Cargo.toml:{line}: sqlx is for src/ledger alone")));
    }
    all_is_well(&wrong);
}

#[test]
fn redis_is_in_the_keys_alone() {
    let all = all_sources();
    let elsewhere = all.iter().filter(|source| !source.path.starts_with("src/keys/"));
    all_is_well(
        &elsewhere.flat_map(|source| misplaced(source, "redis::", "is for src/keys alone")).collect::<Vec<_>>(),
    );
}

#[test]
fn concrete_wallets_are_named_where_the_parts_are_put_together() {
    let sources = sources("src");
    let elsewhere = sources.iter().filter(|source| !matches!(source.module(), "startup" | "config" | "cli"));
    let wrong = elsewhere.flat_map(|source| {
        let wallets = ["scanback_wechat", "scanback_alipay", "scanback_sandbox"];
        wallets
            .into_iter()
            .flat_map(|wallet| misplaced(source, wallet, "is for src/startup.rs, src/config and src/cli"))
    });
    all_is_well(&wrong.collect::<Vec<_>>());
}

/// What a manifest depends on, in whatever section, as (line, name).
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let text = fs::read_to_string(root().join(manifest)).unwrap();
    let mut found = Vec::new();
    let mut in_dependencies = false;
    for (line, text) in (1..).zip(text.lines()) {
        if let Some(section) = text.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            in_dependencies = section.ends_with("dependencies");
            if let Some((_, name)) = section.split_once("dependencies.") {
                found.push((line, name.to_owned()));
            }
        } else if in_dependencies && text.contains('=') {
            found.push((line, text.split(['.', ' ', '=']).next().unwrap().to_owned()));
        }
    }
    found
}

/// The service may use every adapter; an adapter knows `scanback-wallet`, and neither the service nor another adapter. The
/// sandbox knows not even that: what both sides believe of the wire must not come from one place.
#[test]
fn adapters_know_neither_the_service_nor_each_other() {
    let ours = |name: &str| name == "scanback" || name.starts_with("scanback-");
    let mut wrong = Vec::new();
    for name in adapters() {
        let may: &[&str] = if matches!(name.as_str(), "wallet" | "sandbox") { &[] } else { &["scanback-wallet"] };
        let manifest = format!("adapters/{name}/Cargo.toml");
        let dependencies = dependencies(&manifest);
        assert!(!dependencies.is_empty(), "{manifest} was not read right");
        for (line, dependency) in dependencies {
            if ours(&dependency) && !may.contains(&dependency.as_str()) {
                wrong.push(format!("{manifest}:{line}: {dependency} is not for adapters/{name}"));
            }
        }
    }
    let service: Vec<_> = dependencies("Cargo.toml").into_iter().filter(|(_, name)| ours(name)).collect();
    assert!(service.len() >= adapters().len(), "Cargo.toml was not read right: {service:?}");
    all_is_well(&wrong);
}

/// Time comes from a clock that a test can set, or from jiff.
#[test]
fn nobody_asks_the_system_for_the_time() {
    let all: Vec<_> = all_sources().into_iter().chain(sources("tests")).chain(sources("benches")).collect();
    let wrong = all.iter().flat_map(|source| misplaced(source, "SystemTime::now", "is not for us: take the Clock"));
    all_is_well(&wrong.collect::<Vec<_>>());
}

#[test]
fn no_file_is_too_long_to_be_read() {
    let long = all_sources().into_iter().filter(|source| source.lines > MAX_LINES);
    let wrong = long.map(|source| format!("{}:{}: more than {MAX_LINES} lines", source.path, source.lines));
    all_is_well(&wrong.collect::<Vec<_>>());
}

/// The statements of a migration, as (line, text): white space is one space, comments are gone, and the column that counts
/// up is `IDENTITY` in both dialects.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut statement = (0, String::new());
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.split("--").next().unwrap();
        for (i, part) in text.split(';').enumerate() {
            if i > 0 {
                found.push(std::mem::take(&mut statement));
            }
            for word in part.split_whitespace() {
                if statement.1.is_empty() {
                    statement.0 = line;
                } else {
                    statement.1.push(' ');
                }
                statement.1.push_str(word);
            }
        }
    }
    assert!(statement.1.is_empty(), "a statement has no end: {}", statement.1);
    let same = |text: String| {
        text.replace("INTEGER PRIMARY KEY AUTOINCREMENT", "IDENTITY")
            .replace("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "IDENTITY")
    };
    found.into_iter().map(|(line, text)| (line, same(text))).collect()
}

#[test]
fn both_engines_have_the_same_schema() {
    let [sqlite, postgres] = ["sqlite", "postgres"].map(|engine| root().join("src/ledger/migrations").join(engine));
    let names = |folder: &Path| -> BTreeSet<String> {
        files(folder, "").iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&sqlite), names(&postgres), "the migrations have the same names");
    assert!(!names(&sqlite).is_empty());
    let mut wrong = Vec::new();
    for name in names(&sqlite) {
        let text = |folder: &Path| fs::read_to_string(folder.join(&name)).unwrap();
        let (ours, theirs) = (statements(&text(&sqlite)), statements(&text(&postgres)));
        assert!(!ours.is_empty(), "{name} is empty");
        let at = |line: usize| format!("src/ledger/migrations/sqlite/{name}:{line}");
        for ((line, ours), (other, theirs)) in ours.iter().zip(&theirs) {
            if ours != theirs {
                wrong.push(format!("{}: not so in postgres/{name}:{other}\n  {ours}\n  {theirs}", at(*line)));
            }
        }
        if ours.len() != theirs.len() {
            wrong.push(format!("{}: {} statements, postgres has {}", at(1), ours.len(), theirs.len()));
        }
        if !text(&sqlite).starts_with("-- Why:") {
            wrong.push(format!("{}: the first comment says why", at(1)));
        }
    }
    all_is_well(&wrong);
}

/// What stands first in a pair of texts is for zh-CN, what stands second is for en.
#[test]
fn each_text_is_in_the_language_that_it_is_for() {
    let is_chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    let (mut wrong, mut chinese, mut english) = (Vec::new(), 0, 0);
    for source in sources("src/words") {
        let tests = source.code.find("#[cfg(test)]").map_or(usize::MAX, |at| source.line_of(at));
        for literal in source.literals.iter().filter(|literal| literal.line < tests) {
            let before = literal.before.trim_end_matches("&format!(");
            let opens = before.strip_suffix("both(").or(before.strip_suffix("pick(")).is_some()
                || before
                    .strip_suffix('(')
                    .is_some_and(|rest| !rest.ends_with(|c: char| c.is_alphanumeric() || c == '!'));
            let (wanted, count) = match () {
                () if opens => (true, &mut chinese),
                () if before.ends_with(',') => (false, &mut english),
                () => continue,
            };
            *count += 1;
            if is_chinese(&literal.text) != wanted {
                let language = if wanted { "zh-CN" } else { "en" };
                wrong.push(format!("{}:{}: this is for {language}: {:?}", source.path, literal.line, literal.text));
            }
        }
    }
    assert!(chinese > 80 && english > 80, "the texts were not found: {chinese} and {english}");
    all_is_well(&wrong);
}
