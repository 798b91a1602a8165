//! Bills (账单): the question, the address in its answer, and the file behind it. All pure. Source: wechat-pay §16.

mod file;

use std::{borrow::Cow, io::Read as _};

use aws_lc_rs::digest;
use flate2::read::GzDecoder;
use scanback_wallet::{Bill, BillDay, BillKind, Doubt, DoubtKind, WalletError};
use serde::Deserialize;

use crate::{
    account::Account,
    client::{Answer, Request},
    errors::{self, Call, NotOk},
    query::look_up_failed,
};

/// Largest file that is unpacked, in bytes: some million lines.
const MAX_FILE: u64 = 512 * 1024 * 1024;

/// The question for the address of a bill. Compressed, as a day of a large merchant is long.
pub(crate) fn request(account: &Account, kind: BillKind, day: BillDay) -> Request {
    let target = match (kind, account.sub_mchid()) {
        (BillKind::Trades, None) => format!("/v3/bill/tradebill?bill_date={day}&bill_type=ALL&tar_type=GZIP"),
        (BillKind::Trades, Some(sub)) => {
            format!("/v3/bill/tradebill?bill_date={day}&sub_mchid={sub}&bill_type=ALL&tar_type=GZIP")
        }
        // the account of a partner's merchant is not the partner's to read, but by a call of its own that seals the file
        (BillKind::Funds, _) => format!("/v3/bill/fundflowbill?bill_date={day}&account_type=BASIC&tar_type=GZIP"),
    };
    Request::get("bill", target)
}

/// Where a bill is, and what it must be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) url: String,
    sha1: [u8; 20],
}

#[derive(Deserialize)]
struct PlaceObject {
    hash_type: String,
    hash_value: String,
    download_url: String,
}

/// The address in a verified answer. It is good for 30 seconds.
pub(crate) fn read_place(answer: &Answer) -> Result<Place, WalletError> {
    if answer.status != 200 {
        return Err(match errors::read(Call::Bill, answer) {
            NotOk::Absent(refusal) => WalletError::NoBill { code: refusal.code, may_come: false },
            NotOk::NotYet(refusal) => WalletError::NoBill { code: refusal.code, may_come: true },
            other => look_up_failed(other),
        });
    }
    answer.proven()?;
    let unreadable = |what: &str| Doubt::new(DoubtKind::Unreadable, what);
    let place: PlaceObject =
        serde_json::from_slice(&answer.body).map_err(|_| unreadable("HTTP 200 without the address of a bill"))?;
    let mut sha1 = [0; 20];
    if place.hash_type != "SHA1" || hex::decode_to_slice(&place.hash_value, &mut sha1).is_err() {
        return Err(unreadable("the bill's hash is no SHA1").into());
    }
    Ok(Place { url: place.download_url, sha1 })
}

/// The bill in the downloaded bytes: unpacked, and exactly what the hash says. The download itself carries no signature;
/// the hash came in a signed answer.
pub(crate) fn read(kind: BillKind, day: BillDay, place: &Place, bytes: &[u8]) -> Result<Bill, WalletError> {
    let unreadable = |what: &str| Doubt::new(DoubtKind::Unreadable, what);
    let file = unpack(bytes, MAX_FILE)?;
    if digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &file).as_ref() != place.sha1 {
        return Err(Doubt::new(DoubtKind::BadSignature, "the bill is not the one of its hash").into());
    }
    let text = std::str::from_utf8(&file).map_err(|_| unreadable("the bill is not UTF-8"))?;
    Ok(match kind {
        BillKind::Trades => Bill::Trades(file::trades(day, text)?),
        BillKind::Funds => Bill::Funds(file::funds(day, text)?),
    })
}

/// The file, out of gzip where it is packed so; at most `max` bytes of it.
pub(crate) fn unpack(bytes: &[u8], max: u64) -> Result<Cow<'_, [u8]>, Doubt> {
    let unreadable = |what: &str| Doubt::new(DoubtKind::Unreadable, what);
    let file = if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        let mut reader = GzDecoder::new(bytes).take(max.saturating_add(1));
        reader.read_to_end(&mut unpacked).map_err(|_| unreadable("the bill can't be unpacked"))?;
        Cow::Owned(unpacked)
    } else {
        Cow::Borrowed(bytes)
    };
    if file.len() as u64 > max {
        return Err(unreadable("the bill is longer than any bill may be"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::*;
    use crate::{fixtures, verify::Distrust};

    fn day() -> BillDay {
        "2025-01-01".parse().unwrap()
    }

    fn place_of(file: &[u8]) -> Place {
        let hash = hex::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, file));
        let body = json!({"hash_type": "SHA1", "hash_value": hash, "download_url": "https://x/y?token=z"});
        read_place(&Answer { status: 200, trust: Ok(()), body: body.to_string().into_bytes() }).unwrap()
    }

    #[test]
    fn the_question_is_the_recorded_one() {
        let vectors = fixtures::vectors();
        let recorded = &vectors["request_signing"][3]["path_and_query"];
        assert_eq!(request(&fixtures::account(), BillKind::Trades, day()).target, *recorded);
        let partner = request(&fixtures::partner(), BillKind::Trades, day());
        assert!(partner.target.contains("&sub_mchid=1900000200&"), "{}", partner.target);
    }

    #[test]
    fn the_recorded_file_is_what_its_hash_says_packed_or_not() {
        let stated = fixtures::vectors()["trade_bill"].clone();
        let (plain, packed) =
            (fixtures::bytes(fixtures::text(&stated["file"])), fixtures::bytes(fixtures::text(&stated["gzip_file"])));
        let place = place_of(&plain);
        assert_eq!(hex::encode(place.sha1), fixtures::text(&stated["hash_value_of_uncompressed"]));
        let read_plain = read(BillKind::Trades, day(), &place, &plain).unwrap();
        assert_eq!(read(BillKind::Trades, day(), &place, &packed), Ok(read_plain));
    }

    #[test]
    fn a_file_that_was_altered_cut_or_is_another_one_is_not_read() {
        let plain = fixtures::bytes("tradebill_all_2025-01-01.csv");
        let place = place_of(&plain);
        let altered = String::from_utf8(plain.clone()).unwrap().replace("20.00", "20.01").into_bytes();
        let mut cut = fixtures::bytes("tradebill_all_2025-01-01.csv.gz");
        cut.truncate(cut.len() / 2);
        for (bytes, kind) in [(altered, DoubtKind::BadSignature), (cut, DoubtKind::Unreadable)] {
            let Err(WalletError::Doubt(doubt)) = read(BillKind::Trades, day(), &place, &bytes) else { panic!() };
            assert_eq!(doubt.kind, kind);
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked_to_its_end() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&vec![0; 1 << 20]).unwrap();
        let bomb = packer.finish().unwrap();
        assert!(bomb.len() < 1 << 14);
        let doubt = unpack(&bomb, (1 << 20) - 1).unwrap_err();
        assert!(doubt.detail.contains("longer"), "{doubt}");
        assert!(unpack(&bomb, 1 << 20).is_ok());
    }

    #[test]
    fn no_bill_is_told_apart_from_not_yet_and_from_trouble() {
        let answer = |status, code: &str| Answer {
            status,
            trust: Ok(()),
            body: json!({"code": code, "message": "x"}).to_string().into_bytes(),
        };
        for (code, may_come) in [("NO_STATEMENT_EXIST", false), ("STATEMENT_CREATING", true)] {
            let expected = WalletError::NoBill { code: code.to_owned(), may_come };
            assert_eq!(read_place(&answer(400, code)), Err(expected));
        }
        assert!(matches!(read_place(&answer(403, "NO_AUTH")), Err(WalletError::Refused { .. })));
        assert!(matches!(read_place(&answer(500, "SYSTEM_ERROR")), Err(WalletError::Doubt(_))));
        let unsigned = Answer { trust: Err(Distrust::Unsigned), ..answer(200, "x") };
        assert!(matches!(read_place(&unsigned), Err(WalletError::Doubt(_))));
        let md5 = json!({"hash_type": "MD5", "hash_value": "00", "download_url": "x"}).to_string().into_bytes();
        assert!(read_place(&Answer { status: 200, trust: Ok(()), body: md5 }).is_err());
    }
}
