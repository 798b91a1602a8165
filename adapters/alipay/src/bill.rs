//! Bills: the question, the address in its answer, and the ZIP behind it (alipay §16). All pure.
//!
//! The download has neither signature nor hash: what speaks for it is the signed address, good for 30 seconds, and that the
//! file's own counts fit its rows.

mod file;

use std::io::{Cursor, Read as _};

use encoding_rs::GBK;
use reqwest::Url;
use scanback_wallet::{Bill, BillDay, Doubt, DoubtKind, TradeBill, WalletError};
use serde::{Deserialize, Serialize};
use zip::ZipArchive;

use crate::{
    errors::{Api, Class, Head},
    sign::Call,
};

/// Bytes that the files of one archive may have in all when unpacked.
const MAX_FILES: u64 = 512 * 1024 * 1024;
/// Files in one archive; real ones have two.
const MAX_ENTRIES: usize = 16;
/// How the detail file begins; the other one is a summary.
const DETAIL: &str = "#支付宝业务明细查询";

#[derive(Serialize)]
struct Biz {
    bill_type: &'static str,
    bill_date: String,
}

/// Asks for the address of a day's business bill.
pub(crate) fn request(day: BillDay) -> Call {
    let biz = Biz { bill_type: "trade", bill_date: day.to_string() };
    Call::new("alipay.data.dataservice.bill.downloadurl.query", &biz)
}

#[derive(Deserialize)]
struct Answer {
    bill_download_url: Option<String>,
    bill_file_code: Option<String>,
}

/// Where the bill is; `None` for a day of which Alipay has an empty file only.
pub(crate) fn read_place(node: &str) -> Result<Option<Url>, WalletError> {
    let head = Head::read(node)?;
    match head.class(Api::Bill) {
        Class::Understood => {
            let unreadable = |what: &str| Doubt::new(DoubtKind::Unreadable, what);
            let answer: Answer = serde_json::from_str(node).map_err(|_| unreadable("no answer to a bill query"))?;
            if answer.bill_file_code.as_deref() == Some("EMPTY_DATA_WITH_BILL_FILE") {
                return Ok(None);
            }
            let url = answer.bill_download_url.as_deref().and_then(|text| Url::parse(text).ok());
            Ok(Some(url.ok_or_else(|| unreadable("the answer has no address of a bill"))?))
        }
        Class::NoBill { may_come } => Err(WalletError::NoBill { code: head.code(), may_come }),
        Class::Final | Class::NoSuchTrade => Err(WalletError::Refused { code: head.code(), detail: head.words() }),
        class => Err(head.doubt(class).into()),
    }
}

/// Whether this is an address of Alipay, or the sandbox's own: a signed answer names it, and still nothing else is called.
pub(crate) fn is_alipays(url: &Url, gateway: &Url) -> bool {
    let alipays =
        |host: &str| [".alipay.com", ".alipaydev.com", ".alipayobjects.com"].iter().any(|end| host.ends_with(end));
    url.origin() == gateway.origin()
        || (matches!(url.scheme(), "https" | "http") && url.host_str().is_some_and(alipays))
}

/// A day without trades.
pub(crate) const fn empty(day: BillDay) -> Bill {
    Bill::Trades(TradeBill { day, lines: Vec::new(), unread: Vec::new() })
}

/// The bill in the downloaded archive: the detail file, found by how it begins (names of entries are GBK and not needed).
pub(crate) fn read(day: BillDay, archive: &[u8]) -> Result<Bill, Doubt> {
    read_at_most(day, archive, MAX_FILES)
}

/// [`read`], with so many bytes of all its files together at most.
pub(crate) fn read_at_most(day: BillDay, archive: &[u8], mut left: u64) -> Result<Bill, Doubt> {
    let unreadable = |what: &str| Doubt::new(DoubtKind::Unreadable, what);
    let mut archive = ZipArchive::new(Cursor::new(archive)).map_err(|_| unreadable("the bill is no ZIP file"))?;
    if archive.len() > MAX_ENTRIES {
        return Err(unreadable("the bill's ZIP file has too many entries"));
    }
    for at in 0..archive.len() {
        let entry = archive.by_index(at).map_err(|_| unreadable("the bill's ZIP file can't be read"))?;
        let mut bytes = Vec::new();
        // what the entry says of its size is not believed
        entry.take(left + 1).read_to_end(&mut bytes).map_err(|_| unreadable("the bill can't be unpacked"))?;
        left = left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| unreadable("the bill is longer than any bill may be"))?;
        let (text, broken) = GBK.decode_without_bom_handling(&bytes);
        if text.starts_with(DETAIL) {
            return file::trades(day, &text, broken).map(Bill::Trades);
        }
    }
    Err(unreadable("the bill's ZIP file has no detail file"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures;

    fn day() -> BillDay {
        "2025-01-01".parse().unwrap()
    }

    #[test]
    fn the_recorded_archive_is_read() {
        let archive = fixtures::bytes("20880000000000010156_20250101.csv.zip");
        let Bill::Trades(bill) = read(day(), &archive).unwrap() else { panic!() };
        assert_eq!((bill.lines.len(), bill.unread.len()), (2, 0));
    }

    #[test]
    fn what_is_no_such_archive_is_refused() {
        let archive = fixtures::bytes("20880000000000010156_20250101.csv.zip");
        for bytes in [Vec::new(), b"PK".to_vec(), archive[..archive.len() / 2].to_vec(), b"<html>".to_vec()] {
            assert!(read(day(), &bytes).is_err());
        }
    }

    #[test]
    fn each_answer_to_the_question_has_its_meaning() {
        let url = r#"{"code":"10000","bill_download_url":"http://dwbillcenter.alipay.com/x?token=1"}"#;
        assert_eq!(read_place(url).unwrap().unwrap().host_str(), Some("dwbillcenter.alipay.com"));
        let nothing =
            r#"{"code":"10000","bill_download_url":"http://x/","bill_file_code":"EMPTY_DATA_WITH_BILL_FILE"}"#;
        assert_eq!(read_place(nothing), Ok(None));
        for (code, may_come) in [
            ("isp.bill_not_exist", true),
            ("BILL_NOT_EXIST", true),
            ("NO_BILL_DATA", false),
            ("isv.invalid_arguments", true),
            ("invalid_arguments", true),
            ("INVAILID_ARGUMENTS", true),
            ("BILL_DATE_BEFORE_REGISTRATION", false),
        ] {
            let node = format!(r#"{{"code":"40004","sub_code":"{code}"}}"#);
            assert_eq!(read_place(&node), Err(WalletError::NoBill { code: code.to_owned(), may_come }), "{code}");
        }
        let node = r#"{"code":"40004","sub_code":"UNKNOWN_ERROR"}"#;
        assert!(matches!(read_place(node), Err(WalletError::Doubt(_))));
        assert!(matches!(read_place(r#"{"code":"10000"}"#), Err(WalletError::Doubt(_))));
    }

    #[test]
    fn only_alipays_own_addresses_are_called() {
        let gateway = Url::parse("https://openapi.alipay.com/gateway.do").unwrap();
        let sandbox = Url::parse("http://127.0.0.1:8090/gateway.do").unwrap();
        for (url, gateway, ok) in [
            ("http://dwbillcenter.alipay.com/downloadBillFile.resource?token=1", &gateway, true),
            ("http://127.0.0.1:8090/bill?token=1", &sandbox, true),
            ("http://127.0.0.1:8091/bill", &sandbox, false),
            ("http://127.0.0.1:8090/bill", &gateway, false),
            ("http://evil-alipay.com/", &gateway, false),
            ("ftp://x.alipay.com/", &gateway, false),
        ] {
            assert_eq!(is_alipays(&Url::parse(url).unwrap(), gateway), ok, "{url}");
        }
    }

    proptest! {
        /// The recorded archive with any of its bytes changed is read or refused.
        #[test]
        fn an_altered_archive_is_read_or_refused(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
            let mut archive = fixtures::bytes("20880000000000010156_20250101.csv.zip");
            for (at, byte) in changes {
                let at = at.index(archive.len());
                archive[at] = byte;
            }
            let _ = read(day(), &archive);
        }

        #[test]
        fn any_bytes_are_no_archive_or_a_bill(bytes in any::<Vec<u8>>()) {
            prop_assert!(read(day(), &bytes).is_err());
        }
    }
}
