//! `scanback decode`: what the service would read in files, without a ledger (contract §2).

use std::{
    fs::File,
    io::{self, BufRead, Read, Write},
    path::{Path, PathBuf},
};

use scanback_wallet::WalletKind;
use serde::Serialize;

use super::annotate::annotate;
use crate::{
    domain::code::{NoSubject, ScannedForm, Subject, decide},
    scan::{Clock, Limits, Reading, Stage, Symbol, Symbology, Trace, Why, read_frame_by},
};

/// Nothing went wrong, also where nothing was found.
pub const EXIT_OK: u8 = 0;
/// At least one file could not be read as an image.
pub const EXIT_UNREADABLE: u8 = 2;

/// What to read, and how to say it.
#[derive(Clone, Debug, clap::Args)]
pub struct DecodeArgs {
    /// One line of JSON a file
    #[arg(long)]
    pub json: bool,
    /// Say what each stage did, how long it took, and what was given up and why
    #[arg(long)]
    pub explain: bool,
    /// Write the frame as a PNG with corners and stages drawn; of several files the last
    #[arg(long, value_name = "OUT.png")]
    pub annotate: Option<PathBuf>,
    /// Pictures (JPEG, PNG, WebP); `-` reads file names from standard input, one a line
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    elapsed_us: u64,
    symbols: Vec<SymbolOut<'a>>,
    subject: SubjectOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Explained>,
}

#[derive(Serialize)]
struct SymbolOut<'a> {
    symbology: Symbology,
    text: &'a str,
    corners: [[i32; 2]; 4],
}

/// `refusal` is what the service would answer where there is no subject.
#[derive(Serialize)]
struct SubjectOut {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet: Option<WalletKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'static str>,
}

#[derive(Serialize)]
struct Explained {
    width: u32,
    height: u32,
    unpacking_us: u64,
    looking_us: u64,
    stages: Vec<StageOut>,
    /// What each text that was read is, in the order of `symbols`.
    forms: Vec<&'static str>,
    given_up: Vec<TraceOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unread: Option<UnreadOut>,
}

#[derive(Serialize)]
struct StageOut {
    stage: Stage,
    elapsed_us: u64,
    read: usize,
    damaged: usize,
    empty: usize,
    panicked: bool,
}

#[derive(Serialize)]
struct TraceOut {
    symbology: Symbology,
    corners: [[i32; 2]; 4],
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<Stage>,
    why: Why,
}

#[derive(Serialize)]
struct UnreadOut {
    reason: &'static str,
    mean: u8,
    contrast: u8,
    blown: f32,
    sharpness: f32,
    finder_patterns: usize,
}

#[derive(Serialize)]
struct Failed<'a> {
    file: &'a str,
    error: &'a str,
}

/// Reads every file and writes what is in it to `out`; names come from `names` where a file is `-`. Answers the exit code.
///
/// Texts are shown in full, payment codes too: the files are the caller's own.
/// # Errors
/// Only where `out` or `names` fails. A file that can't be read is said on `out`, and the others still run.
pub fn run(args: &DecodeArgs, names: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<u8> {
    let mut exit = EXIT_OK;
    for file in &args.files {
        if file.as_os_str() == "-" {
            let mut name = String::new();
            while names.read_line(&mut name)? > 0 {
                let listed = name.trim_end_matches(['\n', '\r']);
                if !listed.is_empty() {
                    exit = exit.max(one(args, Path::new(listed), out)?);
                }
                name.clear();
            }
        } else {
            exit = exit.max(one(args, file, out)?);
        }
    }
    Ok(exit)
}

fn one(args: &DecodeArgs, file: &Path, out: &mut dyn Write) -> io::Result<u8> {
    let name = file.to_string_lossy();
    match read(args, file) {
        Ok(reading) if args.json => {
            serde_json::to_writer(&mut *out, &line(&name, &reading, args.explain))?;
            writeln!(out)?;
        }
        Ok(reading) => for_people(&name, &reading, args.explain, out)?,
        Err(error) => {
            if args.json {
                serde_json::to_writer(&mut *out, &Failed { file: &name, error: &error })?;
                writeln!(out)?;
            } else {
                writeln!(out, "{name}: {error}")?;
            }
            return Ok(EXIT_UNREADABLE);
        }
    }
    Ok(EXIT_OK)
}

fn read(args: &DecodeArgs, file: &Path) -> Result<Reading, String> {
    let limits = Limits::default();
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know that there are too many.
    let most = u64::try_from(limits.max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let opened = File::open(file).and_then(|open| open.take(most).read_to_end(&mut bytes));
    opened.map_err(|error| format!("it can't be read: {error}"))?;
    let (reading, luma) =
        read_frame_by(&bytes, &limits, &Stage::CHAIN, Clock::Wall).map_err(|error| error.to_string())?;
    if let Some(to) = &args.annotate {
        annotate(&luma, &reading, to).map_err(|error| format!("{} can't be written: {error}", to.display()))?;
    }
    Ok(reading)
}

fn line<'a>(file: &'a str, reading: &'a Reading, explain: bool) -> Line<'a> {
    let symbol =
        |one: &'a Symbol| SymbolOut { symbology: one.symbology, text: one.text.expose(), corners: one.corners };
    Line {
        file,
        elapsed_us: micros(reading.elapsed()),
        symbols: reading.symbols.iter().map(symbol).collect(),
        subject: subject(reading),
        explain: explain.then(|| explained(reading)),
    }
}

/// What the frame is about as far as form alone says: without a ledger a number is `unknown`.
fn subject(reading: &Reading) -> SubjectOut {
    let known = |kind| SubjectOut { kind, wallet: None, refusal: None };
    match decide(reading.texts().into_iter().map(|text| (text, None::<()>))) {
        Ok(Subject::PaymentCode(code)) => SubjectOut { wallet: Some(code.wallet()), ..known("payment_code") },
        Ok(Subject::Voucher(_)) => known("voucher"),
        Ok(Subject::Known(()) | Subject::Number(_)) => known("unknown"),
        Err(why @ (NoSubject::NoSymbol | NoSubject::NotRecognised(_) | NoSubject::Ambiguous)) => {
            SubjectOut { refusal: Some(why.code()), ..known("unknown") }
        }
    }
}

fn explained(reading: &Reading) -> Explained {
    Explained {
        width: reading.width,
        height: reading.height,
        unpacking_us: micros(reading.unpacking),
        looking_us: micros(reading.looking),
        stages: (reading.looks.iter())
            .map(|look| StageOut {
                stage: look.stage,
                elapsed_us: micros(look.elapsed),
                read: look.read,
                damaged: look.damaged,
                empty: look.empty,
                panicked: look.panicked,
            })
            .collect(),
        forms: reading.symbols.iter().map(form).collect(),
        given_up: (reading.traces.iter())
            .map(|&Trace { symbology, corners, stage, why, .. }| TraceOut { symbology, corners, stage, why })
            .collect(),
        unread: reading.sight.map(|sight| UnreadOut {
            reason: sight.reason.as_str(),
            mean: sight.mean,
            contrast: sight.contrast,
            blown: sight.blown,
            sharpness: sight.sharpness,
            finder_patterns: sight.finder_patterns,
        }),
    }
}

/// What a text is by its form alone.
fn form(symbol: &Symbol) -> &'static str {
    match ScannedForm::of(&symbol.text) {
        ScannedForm::Voucher => "voucher",
        ScannedForm::PaymentCode(_) => "payment code",
        ScannedForm::Number(_) => "could be an order's number",
        ScannedForm::Foreign(_) => "a code of another kind: refused",
        ScannedForm::Unrecognised => "not a known form: refused",
    }
}

fn at(corners: [[i32; 2]; 4]) -> String {
    corners.map(|[x, y]| format!("{x},{y}")).join(" ")
}

fn for_people(file: &str, reading: &Reading, explain: bool, out: &mut dyn Write) -> io::Result<()> {
    let subject = subject(reading);
    let wallet = subject.wallet.map(|wallet| format!(" of {wallet}")).unwrap_or_default();
    let refusal = subject.refusal.map(|code| format!(" ({code})")).unwrap_or_default();
    writeln!(out, "{file}: {}{wallet}{refusal}, {} us", subject.kind, micros(reading.elapsed()))?;
    for symbol in &reading.symbols {
        writeln!(out, "  {} {:?} at {}", symbol.symbology.as_str(), symbol.text.expose(), at(symbol.corners))?;
    }
    if !explain {
        return Ok(());
    }
    let (width, height, unpacking) = (reading.width, reading.height, micros(reading.unpacking));
    writeln!(out, "  unpacked {width} x {height} in {unpacking} us")?;
    for look in &reading.looks {
        let outcome = match (look.read, look.panicked) {
            (_, true) => "panicked, and was stopped".to_owned(),
            (0, false) => "nothing".to_owned(),
            (read, false) => format!("{read} read"),
        };
        let damaged = if look.damaged > 0 { format!(", {} not to be corrected", look.damaged) } else { String::new() };
        let empty = if look.empty > 0 { format!(", {} without text", look.empty) } else { String::new() };
        writeln!(out, "  {}: {outcome}{damaged}{empty}, {} us", look.stage.as_str(), micros(look.elapsed))?;
    }
    for symbol in &reading.symbols {
        writeln!(out, "  {} by {}: {}", symbol.symbology.as_str(), symbol.stage.as_str(), form(symbol))?;
    }
    for trace in &reading.traces {
        let by = trace.stage.map_or("after all stages", Stage::as_str);
        writeln!(
            out,
            "  given up: {} at {} ({by}): {}",
            trace.symbology.as_str(),
            at(trace.corners),
            trace.why.as_str()
        )?;
    }
    if let Some(sight) = reading.sight {
        writeln!(
            out,
            "  unread: {} (mean luma {}, contrast {}, blown out {:.1} %, sharpness {:.2}, finder patterns {})",
            sight.reason.as_str(),
            sight.mean,
            sight.contrast,
            sight.blown * 100.0,
            sight.sharpness,
            sight.finder_patterns
        )?;
    }
    Ok(())
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: DecodeArgs,
    }

    fn frame(name: &str) -> String {
        format!("{}/fixtures/frames/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    /// Exit code and output of `decode` with these arguments and names on standard input.
    fn decoded(args: &[&str], names: &str) -> (u8, String) {
        let command = Command::parse_from(std::iter::once(&"decode").chain(args));
        let mut out = Vec::new();
        let exit = run(&command.args, &mut names.as_bytes(), &mut out).unwrap();
        (exit, String::from_utf8(out).unwrap())
    }

    fn lines(out: &str) -> Vec<Value> {
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn json_is_one_line_a_file_in_the_shape_of_the_contract() {
        let file = frame("qr-alipay-720.jpg");
        let (exit, out) = decoded(&["--json", &file], "");
        let mut line = lines(&out).remove(0);
        assert!(line["elapsed_us"].is_u64());
        let corners = line["symbols"][0]["corners"].take();
        assert_eq!(corners.as_array().unwrap().len(), 4);
        assert!(corners.as_array().unwrap().iter().all(|corner| corner[0].is_i64() && corner[1].is_i64()));
        line["elapsed_us"].take();
        let symbol = json!({"symbology": "qr_code", "text": "288623218230186196", "corners": null});
        let subject = json!({"kind": "payment_code", "wallet": "alipay"});
        assert_eq!(line, json!({"file": file, "elapsed_us": null, "symbols": [symbol], "subject": subject}));
        assert_eq!(exit, EXIT_OK);
    }

    #[test]
    fn a_list_is_read_to_its_end_and_says_what_failed() {
        let names =
            [frame("bars-order-720.jpg"), frame("truth.csv"), String::new(), frame("no-code-480.jpg")].join("\r\n");
        let (exit, out) = decoded(&["--json", "-", "/nowhere/at-all.png"], &names);
        let lines = lines(&out);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0]["subject"], json!({"kind": "unknown"}), "a number, and there is no ledger");
        assert!(lines[1]["error"].as_str().unwrap().contains("not an image") && lines[1]["symbols"].is_null());
        assert_eq!(lines[2]["symbols"], json!([]));
        assert_eq!(lines[2]["subject"], json!({"kind": "unknown", "refusal": "frame_unreadable"}));
        assert!(lines[3]["error"].as_str().unwrap().contains("can't be read"));
        assert_eq!(exit, EXIT_UNREADABLE);
        assert_eq!(decoded(&["--json", &frame("no-code-480.jpg")], "").0, EXIT_OK, "nothing found is no failure");
    }

    #[test]
    fn a_frame_without_a_known_form_says_so() {
        let (_, out) = decoded(&["--json", &frame("three-qr.jpg")], "");
        assert_eq!(lines(&out)[0]["subject"], json!({"kind": "unknown", "refusal": "code_not_recognised"}));
    }

    #[test]
    fn explain_names_each_stage_and_the_measured_reason() {
        // it shows bars that are no code: from outside they look like one that is damaged
        let (_, out) = decoded(&["--explain", &frame("no-code-480.jpg")], "");
        for said in [
            "unpacked 640 x 480",
            "  rxing: nothing",
            "  rxing, harder: nothing",
            "  given up: code_128",
            "  unread: damaged",
        ] {
            assert!(out.contains(said), "{said} in:\n{out}");
        }
        let (_, out) = decoded(&["--json", "--explain", &frame("dark-mode-wechat-480.jpg")], "");
        let stages = &lines(&out)[0]["explain"]["stages"];
        assert_eq!(stages.as_array().unwrap().last().unwrap()["stage"], "inverted_rxing_harder");
    }

    #[test]
    fn annotate_draws_the_outline_and_the_own_top_left() {
        let to = std::env::temp_dir().join(format!("scanback-annotate-{}.png", std::process::id()));
        let (exit, out) = decoded(&["--json", "--annotate", to.to_str().unwrap(), &frame("qr-order-720.jpg")], "");
        assert_eq!(exit, EXIT_OK, "{out}");
        let drawn = image::open(&to).unwrap().to_rgb8();
        fs::remove_file(&to).unwrap();
        let corners = lines(&out)[0]["symbols"][0]["corners"].clone();
        let at = |corner: usize| [0, 1].map(|axis| u32::try_from(corners[corner][axis].as_u64().unwrap()).unwrap());
        let pixel = |[x, y]: [u32; 2]| drawn.get_pixel(x, y).0;
        assert_eq!((pixel(at(0)), pixel(at(2))), ([0, 200, 0], [230, 0, 0]));
        assert_eq!(drawn.dimensions(), (1280, 720));
    }
}
