//! The ZIP in which Alipay packs its bills: names and contents are GBK, and the names carry no UTF-8 flag (alipay §16). The
//! usual libraries set that flag for every name that is not ASCII, so the few records that are needed are written here.

use std::io::Write as _;

use encoding_rs::GBK;
use flate2::{Compression, Crc, write::DeflateEncoder};

const LOCAL_FILE: u32 = 0x0403_4b50;
const CENTRAL_FILE: u32 = 0x0201_4b50;
const CENTRAL_END: u32 = 0x0605_4b50;
const VERSION: u16 = 20;
const DEFLATED: u16 = 8;

/// Packs texts under their names. Each is far below the 4 GiB that the format's old form ends at.
pub(super) fn pack(files: &[(String, String)]) -> std::io::Result<Vec<u8>> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    let size = |bytes: usize| u32::try_from(bytes).map_err(std::io::Error::other);
    for (name, text) in files {
        let (name, plain) = (GBK.encode(name).0, GBK.encode(text).0);
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&plain)?;
        let packed = encoder.finish()?;
        let mut crc = Crc::new();
        crc.update(&plain);
        let name_length = u16::try_from(name.len()).map_err(std::io::Error::other)?;
        let mut common = Vec::new();
        for field in [VERSION, 0, DEFLATED, 0, 0x21] {
            common.extend(field.to_le_bytes()); // no flags; the clock's zero, 1980-01-01
        }
        for field in [crc.sum(), size(packed.len())?, size(plain.len())?] {
            common.extend(field.to_le_bytes());
        }
        common.extend(name_length.to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        let offset = size(archive.len())?;
        archive.extend(LOCAL_FILE.to_le_bytes());
        archive.extend(&common);
        archive.extend(name.iter());
        archive.extend(packed);
        directory.extend(CENTRAL_FILE.to_le_bytes());
        directory.extend(VERSION.to_le_bytes());
        directory.extend(&common);
        directory.extend([0; 10]); // no comment, first disk, no attributes
        directory.extend(offset.to_le_bytes());
        directory.extend(name.iter());
    }
    let count = u16::try_from(files.len()).map_err(std::io::Error::other)?;
    let (start, length) = (size(archive.len())?, size(directory.len())?);
    archive.extend(directory);
    archive.extend(CENTRAL_END.to_le_bytes());
    archive.extend([0; 4]);
    archive.extend(count.to_le_bytes());
    archive.extend(count.to_le_bytes());
    archive.extend(length.to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend([0; 2]);
    Ok(archive)
}
