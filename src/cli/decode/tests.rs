use std::{fs, time::Duration};

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
    // what is read doesn't hang on how busy the machine is: the stages end by themselves
    let unhurried = Limits { budget: Duration::from_secs(600), ..Limits::default() };
    let command = Command::parse_from(std::iter::once(&"decode").chain(args));
    let mut out = Vec::new();
    let exit = run_within(&unhurried, &command.args, &mut names.as_bytes(), &mut out).unwrap();
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
    let names = [frame("bars-order-720.jpg"), frame("truth.csv"), String::new(), frame("no-code-480.jpg")].join("\r\n");
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
