//! Codes that are none of ours, named: a cashier who learns which mistake it was makes the right try next.
//!
//! The forms are those that people meet at a till; whatever has none of them is simply not recognised. Sources: the wallets'
//! public address forms, EMV QRCPS merchant-presented mode (tag 00 `01`, CRC in tag 63), UnionPay's card prefix 62.

use scanback_wallet::WalletKind;

/// What a code is that can't lead to a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForeignCode {
    /// A payment code of UnionPay (云闪付): 19 digits that begin with 62.
    UnionPayPaymentCode,
    /// The shop's (or somebody's) own code to be paid by (收款码): the frequent mistake.
    Collecting(WalletKind),
    /// An address that opens a payment in this wallet.
    PaymentLink(WalletKind),
    /// UnionPay's code to be paid by.
    UnionPayCollecting,
    /// An EMV merchant code, its check sum right: several wallets pay by it.
    Emv,
    /// Any other address.
    Address,
}

impl ForeignCode {
    /// What `text` is, if it has one of these forms. Letters of an address's scheme and host may be of either case.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() == 19 && text.starts_with("62") && text.bytes().all(|b| b.is_ascii_digit()) {
            return Some(Self::UnionPayPaymentCode);
        }
        if is_emv(text) {
            return Some(Self::Emv);
        }
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = host.to_ascii_lowercase();
        Some(match (scheme.as_str(), host.as_str()) {
            ("wxp", _) => Self::Collecting(WalletKind::Wechat),
            ("http" | "https", "wx.tenpay.com") if path.starts_with("f2f") => Self::Collecting(WalletKind::Wechat),
            ("weixin", "wxpay") | ("http" | "https", "wx.tenpay.com" | "payapp.weixin.qq.com") => {
                Self::PaymentLink(WalletKind::Wechat)
            }
            // `bax…` opens one prepared payment; `fkx…`, `p/…` and the rest are codes to be paid by
            ("http" | "https", "qr.alipay.com") if path.to_ascii_lowercase().starts_with("bax") => {
                Self::PaymentLink(WalletKind::Alipay)
            }
            ("http" | "https", "qr.alipay.com") => Self::Collecting(WalletKind::Alipay),
            ("alipays" | "alipay", _) => Self::PaymentLink(WalletKind::Alipay),
            ("http" | "https", "qr.95516.com") => Self::UnionPayCollecting,
            _ => Self::Address,
        })
    }

    /// Whether the text itself is a secret: it pays.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::UnionPayPaymentCode)
    }

    /// Which of two to tell of: what was most likely meant to be shown, which stands first above.
    #[must_use]
    pub fn or_rather(self, other: Self) -> Self {
        self.min(other)
    }
}

/// Version `01` first, the CRC last and right.
fn is_emv(text: &str) -> bool {
    let Some(at) = text.len().checked_sub(8).filter(|at| text.is_char_boundary(*at)) else { return false };
    let (body, end) = text.split_at(at);
    let Some(written) = end.strip_prefix("6304") else { return false };
    let told = u16::from_str_radix(written, 16).ok();
    text.starts_with("000201") && told == Some(crc16(body.bytes().chain(*b"6304")))
}

/// CRC-16/CCITT-FALSE, which ISO/IEC 13239 as used by EMV names.
fn crc16(bytes: impl Iterator<Item = u8>) -> u16 {
    bytes.fold(0xffff, |crc, byte| {
        (0..8)
            .fold(crc ^ (u16::from(byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_its_name() {
        use {ForeignCode as F, WalletKind as W};
        for (text, code) in [
            ("wxp://f2f0AbCdEf", Some(F::Collecting(W::Wechat))),
            ("WXP://F2F0AbCdEf", Some(F::Collecting(W::Wechat))),
            ("https://wx.tenpay.com/f2f?t=AQAA", Some(F::Collecting(W::Wechat))),
            ("weixin://wxpay/bizpayurl?pr=abc", Some(F::PaymentLink(W::Wechat))),
            ("https://payapp.weixin.qq.com/x", Some(F::PaymentLink(W::Wechat))),
            ("https://qr.alipay.com/fkx12345", Some(F::Collecting(W::Alipay))),
            ("HTTPS://QR.ALIPAY.COM/FKX12345", Some(F::Collecting(W::Alipay))),
            ("https://qr.alipay.com/bax04431", Some(F::PaymentLink(W::Alipay))),
            ("alipays://platformapi/startapp", Some(F::PaymentLink(W::Alipay))),
            ("https://qr.95516.com/00010000/62", Some(F::UnionPayCollecting)),
            ("6226580012345678901", Some(F::UnionPayPaymentCode)),
            ("https://qr.alipay.com.evil.example/fkx1", Some(F::Address)),
            ("https://shop.example", Some(F::Address)),
            ("62265800123456789", None),
            ("622658001234567890a", None),
            ("T20250101000001", None),
            ("000201", None),
            ("", None),
        ] {
            assert_eq!(ForeignCode::of(text), code, "{text}");
        }
    }

    #[test]
    fn of_two_the_same_one_is_told_in_either_order() {
        use {ForeignCode as F, WalletKind as W};
        for (one, other) in [
            (F::Collecting(W::Wechat), F::PaymentLink(W::Alipay)),
            (F::Collecting(W::Alipay), F::Address),
            (F::UnionPayPaymentCode, F::Collecting(W::Wechat)),
        ] {
            assert_eq!((one.or_rather(other), other.or_rather(one)), (one, one));
        }
    }

    #[test]
    fn an_emv_code_is_one_only_with_its_check_sum() {
        assert_eq!(crc16(b"123456789".iter().copied()), 0x29b1, "the algorithm's published check value");
        let body = "00020101021129300012D156000000000510A93FO3230Q31280012D15600000001030812345678520441115802CN5914BEST TRANSPORT6007BEIJING";
        let whole = format!("{body}6304{:04X}", crc16(body.bytes().chain(*b"6304")));
        assert_eq!(ForeignCode::of(&whole), Some(ForeignCode::Emv));
        assert_eq!(ForeignCode::of(&whole.replace("BEST", "REST")), None);
    }
}
