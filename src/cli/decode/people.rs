//! `decode` for people, with `--explain`.

use std::io::{self, Write};

use super::{
    meaning::{form, subject},
    micros,
};
use crate::scan::{Reading, Stage};

fn at(corners: [[i32; 2]; 4]) -> String {
    corners.map(|[x, y]| format!("{x},{y}")).join(" ")
}

pub(super) fn for_people(file: &str, reading: &Reading, explain: bool, out: &mut dyn Write) -> io::Result<()> {
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
