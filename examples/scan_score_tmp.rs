use scanback::scan::{Clock, Limits, Stage, read_frame_by};
use std::{collections::BTreeMap, error::Error, path::Path, time::Duration};
fn main() -> Result<(), Box<dyn Error>> {
    let manifest = std::env::args().nth(1).unwrap();
    let only = std::env::args().nth(2).unwrap_or_default();
    let text = std::fs::read_to_string(&manifest)?;
    let base = Path::new(&manifest).parent().unwrap().to_owned();
    let mut per: BTreeMap<String, (u32, u32, u32)> = BTreeMap::new();
    let mut stages: BTreeMap<String, (u32, u32, f64)> = BTreeMap::new();
    let mut times = vec![];
    let mut neg = vec![];
    for line in text.lines() {
        let row: Vec<&str> = line.split('\t').collect();
        let (file, payload, also, cat) = (row[0], row[1], row[2], row[3]);
        if !file.contains(&only) {
            continue;
        }
        let bytes = std::fs::read(base.join(file))?;
        let limits = Limits { budget: Duration::from_millis(300), ..Limits::default() };
        let (reading, _) = match read_frame_by(&bytes, &limits, &Stage::CHAIN, Clock::Core) {
            Ok(r) => r,
            Err(e) => {
                println!("ERR {file} {e}");
                continue;
            }
        };
        let ms = reading.looking.as_secs_f64() * 1e3;
        for l in &reading.looks {
            let s = stages.entry(format!("{:?}", l.stage)).or_default();
            s.0 += 1;
            s.2 += l.elapsed.as_secs_f64() * 1e3;
            if l.read > 0 {
                s.1 += 1
            }
        }
        let norm = |s: &str| {
            s.replace("\r\n", "\n")
                .replace('\u{1d}', "")
                .trim_matches(['\n', '\r', ' ', '\t', '\0', '\u{feff}'])
                .to_owned()
        };
        let got: Vec<String> = reading.texts().iter().map(|t| norm(t.expose())).filter(|t| !t.is_empty()).collect();
        let payload = payload.replace("\\n", "\n");
        let coded = !payload.is_empty();
        let ok = if coded { got.contains(&norm(&payload)) } else { got.is_empty() };
        let also: Vec<String> =
            serde_json::from_str::<Vec<String>>(also).unwrap_or_default().iter().map(|s| norm(s)).collect();
        let bad: Vec<&String> = got.iter().filter(|g| !(coded && **g == norm(&payload)) && !also.contains(g)).collect();
        let mut keys = vec![cat.to_owned()];
        let kind = if !coded {
            "negative"
        } else if row[4] == "code128" {
            "c128"
        } else {
            "qr"
        };
        keys.push(format!("={}-{kind}", if cat.starts_with("syn") { "syn" } else { "real" }));
        if coded {
            keys.push("=ALL".into())
        }
        for k in keys {
            let e = per.entry(k).or_default();
            e.0 += 1;
            e.1 += ok as u32;
            e.2 += (!bad.is_empty()) as u32;
        }
        if coded {
            times.push(ms)
        } else {
            neg.push(ms)
        }
        if !ok || !bad.is_empty() {
            println!(
                "{} {file} {ms:.0} ms {} {payload:?} bad {bad:?}",
                if bad.is_empty() { "MISS" } else { "FALSE" },
                row[5]
            );
        }
        if std::env::var("V").is_ok() {
            println!("R {file} {ms:.1} {:?}", reading.symbols.first().map(|s| s.stage));
        }
    }
    for (k, v) in &per {
        println!("{k:28} n {:4} ok {:4} {:.1}% false {}", v.0, v.1, 100.0 * v.1 as f64 / v.0 as f64, v.2);
    }
    for (k, v) in &stages {
        println!("{k:28} ran {:4} read {:4} ms mean {:.1} total {:.0}", v.0, v.1, v.2 / v.0 as f64, v.2);
    }
    for t in [&mut times, &mut neg] {
        t.sort_by(f64::total_cmp);
        if !t.is_empty() {
            println!(
                "p50 {:.2} p95 {:.1} max {:.1} mean {:.1}",
                t[t.len() / 2],
                t[t.len() * 95 / 100],
                t[t.len() - 1],
                t.iter().sum::<f64>() / t.len() as f64
            );
        }
    }
    Ok(())
}
