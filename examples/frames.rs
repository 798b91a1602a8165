//! Writes camera-like frames with their truth: `cargo run --release --example frames -- SEED COUNT FOLDER`.
//!
//! COUNT times the make-up of the scan corpus's synthetic half; `manifest.csv` in FOLDER says what each frame shows, in the
//! corpus's columns.

mod camera;

use std::{error::Error, fmt::Write as _, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [seed, count, folder] = arguments.as_slice() else {
        return Err("frames SEED COUNT FOLDER".into());
    };
    let (seed, count): (u64, usize) = (seed.parse()?, count.parse()?);
    let mut manifest =
        String::from("file,payload,also,symbology,category,source,source_path,licence,width,height,params\n");
    for (at, (name, kind, share)) in (0_u64..).zip(camera::Kind::ALL) {
        fs::create_dir_all(Path::new(folder).join(name))?;
        for nth in 0..share * count {
            let frames = camera::burst(kind, seed.wrapping_mul(1_000_003) + at * 10_007 + nth as u64, 1)?;
            for frame in frames {
                let file = format!("{name}/{nth:03}.jpg");
                fs::write(Path::new(folder).join(&file), &frame.file)?;
                let symbology = if kind.bars { "code128" } else { "qr" };
                let size = image::load_from_memory(&frame.file)?;
                writeln!(
                    manifest,
                    "{file},{},,{symbology},{name},examples/frames,seed {seed},Apache-2.0,{},{},{{}}",
                    frame.text,
                    size.width(),
                    size.height()
                )?;
            }
        }
    }
    fs::write(Path::new(folder).join("manifest.csv"), manifest)?;
    Ok(())
}
