//! A thousand seeds, no violation, and a seed replays.
#![expect(clippy::unwrap_used, reason = "a failed step fails its test")]

use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_scanback-sim")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_thousand_seeds_hold() {
    let output = sim(&["--seeds", "0..1000"]);
    println!("{}", said(&output));
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_seed_replays() {
    for seed in ["3", "77", "500"] {
        // exit 2: the second time was not as the first
        let output = sim(&["--seed", seed]);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(said(&output), said(&sim(&["--seed", seed])), "another process sees the same");
    }
}
