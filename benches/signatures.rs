//! How our signatures compare with OpenSSL's: the adapters' own calls against `benches/peers/openssl_rsa.c`, with the same key
//! and text, in one run.
//!
//!     apt-get install libssl-dev
//!     cargo bench --bench signatures
//!
//! Ours include the base64 that the wallets want. Both read their keys beforehand.

mod measure;

use std::{fs, path::Path, process::Command};

use scanback_alipay::{AlipayKey, AppKey};

use measure::{Failure, Folder, seconds_of};

/// Ours and the peer's are measured in turns, and the best of each counts.
const ROUNDS: u32 = 3;
const SIGNATURES: u32 = 300;
const VERIFICATIONS: u32 = 6000;

fn main() -> Result<(), Failure> {
    let folder = Folder::make()?;
    compare(folder.path())
}

fn compare(folder: &Path) -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = folder.join("openssl_rsa");
    let compiled = Command::new("cc")
        .args(["-O2", "-o"])
        .arg(&program)
        .arg(root.join("benches/peers/openssl_rsa.c"))
        .arg("-lcrypto")
        .status()?;
    if !compiled.success() {
        return Err("the peer can't be compiled: is libssl-dev installed?".into());
    }
    let wire = root.join("fixtures/wire/alipay");
    let text = |name: &str| fs::read_to_string(wire.join(name));
    let key = AppKey::read(&text("alipay_private_key.b64")?)?;
    let public = AlipayKey::read(&text("alipay_public_key.pem")?, &AppKey::read(&text("app_private_key.b64")?)?)?;
    let message = [b'x'; 400];
    let signature = key.sign(&message).ok_or("no signature")?;
    let (mut ours, mut theirs) = ([f64::MAX; 2], [f64::MAX; 2]);
    for _ in 0..ROUNDS {
        let sign = seconds_of(SIGNATURES, || key.sign(&message).map(drop).ok_or_else(|| "no signature".into()))?;
        let verify = seconds_of(VERIFICATIONS, || {
            if public.verifies(&message, &signature) { Ok(()) } else { Err("not verified".into()) }
        })?;
        keep_best(&mut ours, [sign, verify]);
        let output = Command::new(&program)
            .arg(wire.join("alipay_private_key.b64"))
            .args([SIGNATURES.to_string(), VERIFICATIONS.to_string()])
            .output()?;
        let output = String::from_utf8(output.stdout)?;
        let mut figures = output.split_whitespace().map(str::parse::<f64>);
        let mut figure = || figures.next().ok_or("the peer failed");
        keep_best(&mut theirs, [figure()??, figure()??]);
    }
    for (name, ours, theirs) in [("sign", ours[0], theirs[0]), ("verify", ours[1], theirs[1])] {
        println!(
            "{name:7} ours {:7.1} us, OpenSSL {:7.1} us, ratio {:.2} (to stay within 1.3)",
            ours * 1e6,
            theirs * 1e6,
            ours / theirs
        );
    }
    Ok(())
}

fn keep_best(best: &mut [f64; 2], new: [f64; 2]) {
    for (best, new) in best.iter_mut().zip(new) {
        *best = best.min(new);
    }
}
