//! Readers of other makes, beside ours: they get the same grey pixels.

use std::{
    error::Error,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use image::GrayImage;

use crate::score::Said;

/// Reads raw grey frames from its input and answers a line of JSON each. `how` is an expression of `image`.
const ZXING: &str = r#"
import json, sys, time, zxingcpp
from zxingcpp import BarcodeFormat
formats = [BarcodeFormat.QRCode, BarcodeFormat.Code128]
one = sys.argv[1] == "one"
while True:
    line = sys.stdin.buffer.readline()
    if not line:
        break
    width, height = map(int, line.split())
    image = memoryview(sys.stdin.buffer.read(width * height)).cast("B", (height, width))
    began = time.perf_counter()
    if one:
        found = zxingcpp.read_barcode(image, formats=formats)
        found = [found] if found else []
    else:
        found = zxingcpp.read_barcodes(image, formats=formats)
    ms = (time.perf_counter() - began) * 1e3
    print(json.dumps({"texts": [each.text for each in found], "ms": ms}), flush=True)
"#;

/// A reader in a process of its own that is asked frame by frame.
struct Asked {
    name: &'static str,
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Asked {
    fn zxing(name: &'static str, how: &str) -> Option<Self> {
        let mut check = Command::new("python3");
        let present = check.args(["-c", "import zxingcpp"]).stderr(Stdio::null()).status().ok()?.success();
        if !present {
            return None;
        }
        let mut process = Command::new("python3")
            .args(["-c", ZXING, how])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let (input, output) = (process.stdin.take()?, process.stdout.take()?);
        Some(Self { name, process, input, output: BufReader::new(output) })
    }

    fn read(&mut self, luma: &GrayImage) -> Result<Said, Box<dyn Error>> {
        writeln!(self.input, "{} {}", luma.width(), luma.height())?;
        self.input.write_all(luma.as_raw())?;
        self.input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let answer: serde_json::Value = serde_json::from_str(&line)?;
        let texts = answer["texts"].as_array().into_iter().flatten().filter_map(|text| text.as_str());
        let texts = texts.map(str::to_owned).collect();
        Ok(Said { texts, looking: answer["ms"].as_f64().unwrap_or(0.0), unpacking: 0.0 })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The peers that are here.
pub(crate) struct Peers {
    asked: Vec<Asked>,
    zbar: bool,
}

impl Peers {
    pub(crate) const fn none() -> Self {
        Self { asked: Vec::new(), zbar: false }
    }

    /// zxing-cpp twice (all codes, and one at most), and zbarimg.
    pub(crate) fn present() -> Self {
        let zxing = [Asked::zxing("zxing-cpp", "all"), Asked::zxing("zxing-cpp, one symbol", "one")];
        let zbar = Command::new("zbarimg").arg("--version").stdout(Stdio::null()).status().is_ok();
        Self { asked: zxing.into_iter().flatten().collect(), zbar }
    }

    /// What each says of a frame.
    pub(crate) fn read(&mut self, luma: &GrayImage) -> Result<Vec<(&'static str, Said)>, Box<dyn Error>> {
        let mut all = Vec::new();
        for peer in &mut self.asked {
            all.push((peer.name, peer.read(luma)?));
        }
        if self.zbar {
            all.push(("zbarimg", by_zbar(luma)?));
        }
        Ok(all)
    }
}

/// zbarimg as Debian has it. Its time includes its start.
fn by_zbar(luma: &GrayImage) -> Result<Said, Box<dyn Error>> {
    let began = Instant::now();
    let only = ["-Sdisable", "-Sqrcode.enable", "-Scode128.enable"];
    let mut process = Command::new("zbarimg")
        .args(["-q", "--raw"])
        .args(only)
        .arg("PGM:-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut input) = process.stdin.take() {
        let header = format!("P5\n{} {}\n255\n", luma.width(), luma.height());
        // It may end before it has read all: then it has no answer.
        let _ = input.write_all(header.as_bytes()).and_then(|()| input.write_all(luma.as_raw()));
    }
    let mut said = String::new();
    if let Some(mut output) = process.stdout.take() {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes)?;
        said = String::from_utf8_lossy(&bytes).into_owned();
    }
    process.wait()?;
    // Texts stand one a line; a text of several lines is told by the whole.
    let mut texts: Vec<String> = said.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect();
    if texts.len() > 1 {
        texts.push(said);
    }
    Ok(Said { texts, looking: began.elapsed().as_secs_f64() * 1e3, unpacking: 0.0 })
}
