//! `scanback-sim --seed N` runs one seed and says what happened; `--seeds A..B` runs many. See tests/sim/README.md.

mod adapter;
mod audit;
mod books;
mod dice;
mod news;
mod redis;
mod replica;
mod run;
mod world;

use std::{cell::Cell, collections::BTreeMap, ops::Range, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Context as _;
use clap::Parser;
use scanback::{
    service::Forwards,
    webhook::client::{Timeouts, WebhookClient},
};

use self::{replica::Kit, run::Outcome};

/// Simulates the desk under faults, all of them from the seed.
#[derive(Parser)]
struct Args {
    /// One seed, with everything that happened.
    #[arg(long)]
    seed: Option<u64>,
    /// Many: A..B, B left out.
    #[arg(long, value_parser = range, default_value = "0..1000")]
    seeds: Range<u64>,
    /// Puts one deliberate bug in; `all` runs each until it is found and prints the table.
    #[cfg(feature = "mutants")]
    #[arg(long)]
    mutant: Option<String>,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("is A..B")?;
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) if from < to => Ok(from..to),
        _ => Err("is A..B, A below B".into()),
    }
}

/// Where stores lie while they are needed: in memory where the machine has a place for that.
struct Place {
    folder: PathBuf,
    template: Vec<u8>,
    kit: Kit,
    runs: Cell<u64>,
}

impl Place {
    fn new() -> anyhow::Result<Self> {
        let memory = PathBuf::from("/dev/shm");
        let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = base.join(format!("scanback-sim-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let template = folder.join("template.db");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run::template(&template)).context("the first store")?;
        let kit = Kit {
            forwards: Forwards::new(BTreeMap::new())?,
            webhooks: WebhookClient::new(false, Timeouts::default())?,
        };
        Ok(Self { template: std::fs::read(&template)?, folder, kit, runs: Cell::new(0) })
    }

    fn run(&self, seed: u64, traced: bool) -> anyhow::Result<Outcome> {
        // a file of its own: an inode that somebody still has open must not be written anew
        let run = self.runs.get();
        self.runs.set(run + 1);
        let store = self.folder.join(format!("run-{run}.db"));
        std::fs::write(&store, &self.template)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let outcome = runtime.block_on(run::run(seed, &store, &self.kit, traced));
        drop(runtime);
        for end in ["db", "db-wal", "db-shm"] {
            let _ = std::fs::remove_file(store.with_extension(end));
        }
        outcome.with_context(|| format!("seed {seed}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let place = Place::new()?;
    #[cfg(feature = "mutants")]
    if let Some(name) = &args.mutant {
        return mutants(&place, name, args.seeds.clone());
    }
    if let Some(seed) = args.seed {
        let first = place.run(seed, true)?;
        let second = place.run(seed, false)?;
        println!(
            "seed {seed}: {} s simulated, {} lives, {} refunds at the wallets, digest {:016x}",
            first.lasted, first.lives, first.refunds, first.digest
        );
        if first.digest != second.digest {
            println!("seed {seed} does not replay: {:016x} the second time", second.digest);
            return Ok(ExitCode::from(2));
        }
        for violation in &first.violations {
            println!("VIOLATION {violation}");
        }
        return Ok(if first.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let began = Instant::now();
    let (mut failed, mut lives, mut refunds, mut simulated) = (0_u64, 0, 0, 0_u64);
    let count = args.seeds.end - args.seeds.start;
    for seed in args.seeds.clone() {
        let outcome = place.run(seed, false)?;
        lives += outcome.lives;
        refunds += outcome.refunds;
        simulated += outcome.lasted;
        if let Some(violation) = outcome.violations.first() {
            failed += 1;
            println!("seed {seed}: {violation}");
        }
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "seeds {}..{}: {failed} with violations; {refunds} refunds at the wallets, {lives} lives of replicas, {} h simulated, \
         {:.1} seeds a second",
        args.seeds.start,
        args.seeds.end,
        simulated / 3600,
        f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took
    );
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(feature = "mutants")]
fn mutants(place: &Place, name: &str, seeds: Range<u64>) -> anyhow::Result<ExitCode> {
    use scanback::mutants::{Mutant, choose};
    let chosen: Vec<Mutant> =
        Mutant::ALL.iter().copied().filter(|mutant| name == "all" || mutant.as_str() == name).collect();
    anyhow::ensure!(!chosen.is_empty(), "there is no mutant {name}");
    let mut survived = 0;
    println!("| mutant | found by seed | first violation |\n| --- | --- | --- |");
    for mutant in chosen {
        choose(Some(mutant));
        let mut found = None;
        for seed in seeds.clone() {
            if let Some(violation) = place.run(seed, false)?.violations.into_iter().next() {
                found = Some((seed, violation));
                break;
            }
        }
        match found {
            Some((seed, violation)) => println!("| `{}` | {seed} | {violation} |", mutant.as_str()),
            None => {
                survived += 1;
                println!("| `{}` | not in {}..{} | |", mutant.as_str(), seeds.start, seeds.end);
            }
        }
    }
    choose(None);
    Ok(if survived == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
