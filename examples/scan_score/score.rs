//! Rates, false reads and times, as tables.

use std::collections::BTreeMap;

use scanback::scan::{Look, Stage};

use crate::frames::{Truth, tidy};

/// What a reader said of a frame, and how long it took, in milliseconds.
pub(crate) struct Said {
    pub(crate) texts: Vec<String>,
    pub(crate) looking: f64,
    pub(crate) unpacking: f64,
}

#[derive(Clone, Copy, Default)]
struct Count {
    frames: u32,
    right: u32,
    wrong: u32,
}

#[derive(Default)]
struct Reader {
    categories: BTreeMap<String, Count>,
    coded: Vec<f64>,
    empty: Vec<f64>,
    unpacking: Vec<f64>,
}

#[derive(Clone, Copy, Default)]
struct Cost {
    ran: u32,
    read: u32,
    ms: f64,
}

/// All that was measured.
#[derive(Default)]
pub(crate) struct Board {
    readers: BTreeMap<&'static str, Reader>,
    stages: BTreeMap<usize, (&'static str, Cost)>,
    coded: u32,
}

impl Board {
    /// Notes what a reader said; whether it was right and said nothing false.
    pub(crate) fn note(&mut self, name: &'static str, truth: &Truth, said: &Said) -> bool {
        let texts: Vec<String> = said.texts.iter().map(|text| tidy(text)).filter(|text| !text.is_empty()).collect();
        let right = truth.text.as_ref().map_or(texts.is_empty(), |text| texts.contains(text));
        let lines = |text: &String| {
            truth.text.as_ref().is_some_and(|truth| truth.contains('\n') && truth.contains(text.as_str()))
        };
        let known = |text: &String| Some(text) == truth.text.as_ref() || truth.also.contains(text);
        // Of a text of several lines zbarimg says each, and the whole.
        let wrong =
            texts.iter().any(|text| !known(text) && !(name == "zbarimg" && (lines(text) || text.contains('\n'))));
        let reader = self.readers.entry(name).or_default();
        let made = if truth.category.starts_with("syn-") { "synthetic" } else { "real" };
        let kind = match (&truth.text, truth.bars) {
            (None, _) => "without a code",
            (Some(_), true) => "Code 128",
            (Some(_), false) => "QR",
        };
        let mut groups = vec![truth.category.clone(), format!("~ {made}, {kind}")];
        groups.push(if truth.text.is_some() { "~~ all with a code" } else { "~~ all without a code" }.to_owned());
        for group in groups {
            let count = reader.categories.entry(group).or_default();
            count.frames += 1;
            count.right += u32::from(right);
            count.wrong += u32::from(wrong);
        }
        if truth.text.is_some() { &mut reader.coded } else { &mut reader.empty }.push(said.looking);
        reader.unpacking.push(said.unpacking);
        self.coded += u32::from(name == "scanback" && truth.text.is_some());
        right && !wrong
    }

    /// Adds the looks of the frames of one code.
    pub(crate) fn stages<'a>(&mut self, looks: impl Iterator<Item = &'a Look>) {
        for look in looks {
            let at = Stage::CHAIN.iter().position(|stage| *stage == look.stage).unwrap_or(usize::MAX);
            let (_, cost) = self.stages.entry(at).or_insert((look.stage.as_str(), Cost::default()));
            cost.ran += 1;
            cost.read += u32::from(look.read > 0);
            cost.ms += look.elapsed.as_secs_f64() * 1e3;
        }
    }

    pub(crate) fn print(&mut self) {
        let names: Vec<&str> = self.readers.keys().copied().collect();
        println!("\n| frames | n | {} |", names.join(" | "));
        println!("|---|---|{}", "---|".repeat(names.len()));
        let groups: Vec<String> = self.readers.values().flat_map(|reader| reader.categories.keys().cloned()).collect();
        let mut groups: Vec<String> = groups.into_iter().collect();
        groups.sort_by_key(|group| (group.starts_with('~'), group.starts_with("~~"), group.clone()));
        groups.dedup();
        for group in groups {
            let counts: Vec<Count> = self
                .readers
                .values()
                .map(|reader| reader.categories.get(&group).copied().unwrap_or_default())
                .collect();
            let cell = |count: &Count| {
                let rate = 100.0 * f64::from(count.right) / f64::from(count.frames.max(1));
                let wrong = if count.wrong > 0 { format!(", {} false", count.wrong) } else { String::new() };
                format!("{} = {rate:.1} %{wrong}", count.right)
            };
            let frames = counts.first().map_or(0, |count| count.frames);
            let cells: Vec<String> = counts.iter().map(cell).collect();
            println!("| {} | {frames} | {} |", group.trim_start_matches(['~', ' ']), cells.join(" | "));
        }
        println!("\n| stage | frames | read | share of all codes | ms mean | ms in all |\n|---|---|---|---|---|---|");
        for (stage, cost) in self.stages.values() {
            let share = 100.0 * f64::from(cost.read) / f64::from(self.coded.max(1));
            let mean = cost.ms / f64::from(cost.ran.max(1));
            println!("| {stage} | {} | {} | {share:.1} % | {mean:.1} | {:.0} |", cost.ran, cost.read, cost.ms);
        }
        println!(
            "\n| scan, ms | with a code: p50 | p95 | mean | without: p50 | p95 | unpacking p50 |\n|---|---|---|---|---|---|---|"
        );
        for (name, reader) in &mut self.readers {
            let [coded_half, coded_most] = [0.5, 0.95].map(|share| quantile(&mut reader.coded, share));
            let [empty_half, empty_most] = [0.5, 0.95].map(|share| quantile(&mut reader.empty, share));
            let mean = reader.coded.iter().sum::<f64>() / reader.coded.len().max(1) as f64;
            let unpacking = quantile(&mut reader.unpacking, 0.5);
            println!(
                "| {name} | {coded_half:.2} | {coded_most:.1} | {mean:.2} | {empty_half:.1} | {empty_most:.1} | {unpacking:.2} |"
            );
        }
    }
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}
