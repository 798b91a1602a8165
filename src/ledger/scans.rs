//! Scans: what a frame showed, without the text of any payment code.

use jiff::Timestamp;
use scanback_wallet::{MerchantId, TerminalId, WalletKind};
use uuid::Uuid;

use super::{
    Ledger, LedgerError,
    db::{params, unreadable},
};

/// What a scan showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanSubject {
    /// A payment code: proves the wallet, names no order.
    PaymentCode(WalletKind),
    /// An order's number or alias.
    Order(Uuid),
    /// An order's transaction number.
    Transaction(Uuid),
    /// A voucher that Scanback printed.
    Voucher,
    /// It could be a number, but no order has it.
    Unknown,
}

impl ScanSubject {
    /// The word of contract §3.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentCode(_) => "payment_code",
            Self::Order(_) => "order",
            Self::Transaction(_) => "transaction",
            Self::Voucher => "voucher",
            Self::Unknown => "unknown",
        }
    }
}

/// A scan as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Ours.
    pub scan_id: Uuid,
    /// Whose.
    pub merchant_id: MerchantId,
    /// By which token.
    pub token_id: Uuid,
    /// At which device.
    pub terminal_id: Option<TerminalId>,
    /// What it showed.
    pub subject: ScanSubject,
    /// Who showed the payment code, as an HMAC, where the policy wanted to know and the wallet said it.
    pub payer_hash: Option<String>,
    /// When.
    pub created_at: Timestamp,
    /// Whether a refund used it.
    pub used: bool,
}

impl Ledger {
    /// Keeps a scan.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn keep_scan(&self, scan: Scan) -> Result<(), LedgerError> {
        self.db
            .write(move |conn| {
                Box::pin(async move {
                    let (wallet, order) = match scan.subject {
                        ScanSubject::PaymentCode(wallet) => (Some(wallet), None),
                        ScanSubject::Order(order) | ScanSubject::Transaction(order) => (None, Some(order)),
                        ScanSubject::Voucher | ScanSubject::Unknown => (None, None),
                    };
                    conn.execute(
                        "INSERT INTO scans (scan_id, merchant_id, token_id, terminal_id, subject, wallet, order_id, \
                         created_at, payer_hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                        params![
                            scan.scan_id,
                            &scan.merchant_id,
                            scan.token_id,
                            scan.terminal_id.as_ref(),
                            scan.subject.as_str(),
                            wallet,
                            order,
                            scan.created_at,
                            scan.payer_hash
                        ],
                    )
                    .await
                    .map(|_| ())
                })
            })
            .await
    }

    /// A scan of this merchant.
    /// # Errors
    /// [`LedgerError`] where the database doesn't answer.
    pub async fn scan(&self, merchant: &MerchantId, id: Uuid) -> Result<Option<Scan>, LedgerError> {
        let sql = "SELECT scan_id, merchant_id, token_id, terminal_id, subject, wallet, order_id, created_at, used_by, \
                   payer_hash FROM scans WHERE scan_id = $1 AND merchant_id = $2";
        let row = self.db.reader().await?.row(sql, params![id, merchant]).await?;
        let Some(row) = row else { return Ok(None) };
        let order = || row.opt_parse("order_id")?.ok_or_else(|| unreadable("order_id"));
        let subject = match row.text("subject")?.as_str() {
            "payment_code" => ScanSubject::PaymentCode(row.opt_parse("wallet")?.ok_or_else(|| unreadable("wallet"))?),
            "order" => ScanSubject::Order(order()?),
            "transaction" => ScanSubject::Transaction(order()?),
            "voucher" => ScanSubject::Voucher,
            _ => ScanSubject::Unknown,
        };
        Ok(Some(Scan {
            scan_id: row.parse("scan_id")?,
            merchant_id: row.parse("merchant_id")?,
            token_id: row.parse("token_id")?,
            terminal_id: row.opt_parse("terminal_id")?,
            subject,
            payer_hash: row.opt_text("payer_hash")?,
            created_at: row.time("created_at")?,
            used: row.opt_text("used_by")?.is_some(),
        }))
    }
}
