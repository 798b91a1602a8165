//! The seeds of the fuzz targets (`fuzz/seeds`) and all that was ever found by them, for ordinary tests.

use std::{fs, path::Path};

/// A target's name, and what must hold for any bytes: it panics where it doesn't.
pub type Target = (&'static str, fn(&[u8]));

/// Looks whether what must hold holds for every seed of these targets.
/// # Panics
/// Where it doesn't, and where a target has no seeds.
pub fn replay(targets: &[Target]) {
    for (target, holds) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let seeds: Vec<_> = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
        assert!(!seeds.is_empty(), "{target} has no seeds");
        seeds.iter().for_each(|seed| holds(seed));
    }
}
