//! What does this frame show? Read, classify, resolve, and keep what it showed, never the text of a payment code.

use std::sync::Arc;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use scanback_wallet::{MerchantId, WalletKind};
use serde::Serialize;
use uuid::Uuid;

use super::{Desk, ServiceError};
use crate::{
    domain::{
        actor::Caller,
        code::{self, NoSubject, ScannedText, Subject},
        order::Order,
        payer::PayerCheck,
        refusal::{Refusal, Unreadable},
        view::OrderView,
    },
    ledger::{Scan, ScanSubject},
    scan::{FrameError, Reading, ScanError, Symbology, Unread},
};

/// A frame that was read and kept.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// What is kept of it.
    pub scan: Scan,
    /// What others see of it.
    pub view: ScanView,
}

/// The answer to a scan. Source: contract §3, `POST /v1/scans`.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(title = "Scan")]
pub struct ScanView {
    /// To name it in a refund, within `policy.scan_max_age_s`.
    pub scan_id: Uuid,
    /// The codes that were read.
    pub symbols: Vec<FrameSymbol>,
    /// What they are about.
    pub subject: ScanSubjectView,
    /// From bytes to answer, in milliseconds.
    pub elapsed_ms: u64,
}

/// One code in a frame.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FrameSymbol {
    /// `qr_code` or `code_128`.
    #[schema(value_type = String)]
    pub symbology: Symbology,
    /// `[x, y]` clockwise from the symbol's own top left, in pixels of the picture as displayed.
    pub corners: [[i32; 2]; 4],
    /// A payment code shows its first two digits only.
    pub text_masked: String,
}

/// What a frame is about.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ScanSubjectView {
    /// `payment_code`, `order`, `transaction`, `voucher` or `unknown` (could be a number, no order found).
    pub kind: &'static str,
    /// The wallet, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub wallet: Option<WalletKind>,
    /// The order that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderView>,
    /// Of a payment code, where the policy wants payers compared: whether the wallet said whose it is. Where it didn't, the
    /// refund goes by the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer_known: Option<bool>,
}

/// An order in the ledger and by which number a text named it.
#[derive(Clone, Debug)]
struct Named {
    order: Order,
    by_transaction: bool,
}

impl PartialEq for Named {
    /// Two numbers of one order are one subject: a bill page shows both.
    fn eq(&self, other: &Self) -> bool {
        self.order.id == other.order.id
    }
}

impl Desk {
    /// Reads frames of one moment (a burst shows the same thing), and keeps what they show.
    /// # Errors
    /// The refusals of the scan: unreadable, too large, not recognised, ambiguous; [`Refusal::Overloaded`].
    pub async fn scan_frames(&self, caller: &Caller, frames: Vec<Arc<[u8]>>) -> Result<Scanned, ServiceError> {
        let began = self.now();
        let readings = self.scans.read_burst(caller.token_id, frames).await.map_err(|error| match error {
            ScanError::Frame(error) => ServiceError::from(refuse_frame(&error)),
            ScanError::Overloaded => Refusal::Overloaded.into(),
            ScanError::Broken => ServiceError::Internal(error.to_string()),
        })?;
        let (subject, payer_hash, view) = self.resolve(&caller.merchant_id, &readings).await?;
        let scan = Scan {
            scan_id: Uuid::now_v7(),
            merchant_id: caller.merchant_id.clone(),
            token_id: caller.token_id,
            terminal_id: caller.terminal_id.clone(),
            subject,
            payer_hash,
            created_at: began,
            used: false,
        };
        self.ledger.keep_scan(scan.clone()).await?;
        metrics::counter!("scanback_scans_total", "subject" => subject.as_str()).increment(1);
        let symbols = readings.iter().flat_map(|reading| &reading.symbols).map(|symbol| FrameSymbol {
            symbology: symbol.symbology,
            corners: symbol.corners,
            text_masked: symbol.text.masked(),
        });
        let view = ScanView {
            scan_id: scan.scan_id,
            symbols: symbols.collect(),
            subject: view,
            elapsed_ms: elapsed_ms(began, self.now()),
        };
        Ok(Scanned { scan, view })
    }

    /// What the texts of a frame are about, in the order of contract §4 rule 10.
    async fn resolve(
        &self,
        merchant: &MerchantId,
        readings: &[Reading],
    ) -> Result<(ScanSubject, Option<String>, ScanSubjectView), ServiceError> {
        let texts = code::distinct(readings.iter().flat_map(Reading::texts));
        let known = try_join_all(texts.iter().map(|text| self.in_ledger(merchant, text))).await?;
        let subject = code::decide(texts.into_iter().zip(known)).map_err(|error| match error {
            NoSubject::NoSymbol => nothing_read(readings),
            NoSubject::NotRecognised(seen) => Refusal::CodeNotRecognised { seen },
            NoSubject::Ambiguous => Refusal::CodeAmbiguous,
        })?;
        let order = |named: &Named| ScanSubjectView {
            kind: if named.by_transaction { "transaction" } else { "order" },
            wallet: Some(named.order.wallet),
            order: Some(self.order_view(&named.order)),
            payer_known: None,
        };
        let bare = |kind, wallet| ScanSubjectView { kind, wallet, order: None, payer_known: None };
        let mut payer_hash = None;
        let (subject, view) = match subject {
            Subject::Voucher(_) => (ScanSubject::Voucher, bare("voucher", None)),
            Subject::PaymentCode(code) => {
                payer_hash = self.payer_of_code(merchant, &code).await?;
                let payer_known = (self.policy().payer_check != PayerCheck::Off).then_some(payer_hash.is_some());
                let view = ScanSubjectView { payer_known, ..bare("payment_code", Some(code.wallet())) };
                (ScanSubject::PaymentCode(code.wallet()), view)
            }
            Subject::Known(named) => (names(&named), order(&named)),
            Subject::Number(number) => match self.find_order(merchant, None, number.as_str()).await {
                Ok(found) => {
                    let by_transaction = found.order_no != number
                        && found.transaction_id.as_ref().is_some_and(|id| id.as_str() == number.as_str());
                    let named = Named { order: found, by_transaction };
                    (names(&named), order(&named))
                }
                Err(ServiceError::Refused(Refusal::OrderNotFound | Refusal::OrderNotRefundable { .. })) => {
                    (ScanSubject::Unknown, bare("unknown", None))
                }
                Err(error) => return Err(error),
            },
        };
        Ok((subject, payer_hash, view))
    }

    /// The order in our ledger that a text names exactly.
    async fn in_ledger(&self, merchant: &MerchantId, text: &ScannedText) -> Result<Option<Named>, ServiceError> {
        let Some(key) = text.ledger_key() else { return Ok(None) };
        let number = key.expose().as_str();
        let mut orders = self.ledger.orders_by_number(Some(merchant), None, number).await?;
        if orders.len() > 1 {
            return Err(Refusal::OrderAmbiguous { wallets: orders.iter().map(|order| order.wallet).collect() }.into());
        }
        Ok(orders.pop().map(|order| Named {
            by_transaction: order.order_no.as_str() != number
                && order.transaction_id.as_ref().is_some_and(|id| id.as_str() == number),
            order,
        }))
    }
}

fn names(named: &Named) -> ScanSubject {
    if named.by_transaction { ScanSubject::Transaction(named.order.id) } else { ScanSubject::Order(named.order.id) }
}

fn refuse_frame(error: &FrameError) -> Refusal {
    match error {
        FrameError::TooManyBytes { .. } | FrameError::TooManyPixels { .. } => Refusal::FrameTooLarge(error.to_string()),
        FrameError::NotAnImage { .. } | FrameError::Damaged { .. } => {
            Refusal::FrameUnreadable { why: Unreadable::NotAnImage, detail: error.to_string() }
        }
    }
}

/// Why nothing was read, by what was measured in the frame that was looked at last.
fn nothing_read(readings: &[Reading]) -> Refusal {
    let sight = readings.iter().rev().find_map(|reading| reading.sight.as_ref());
    let why = sight.map_or(Unreadable::NoCode, |sight| match sight.reason {
        Unread::Dark => Unreadable::Dark,
        Unread::Glare => Unreadable::Glare,
        Unread::Blurred => Unreadable::Blurred,
        Unread::Far => Unreadable::Far,
        Unread::CutOff => Unreadable::CutOff,
        Unread::Damaged => Unreadable::Damaged,
        Unread::NoCode => Unreadable::NoCode,
    });
    Refusal::FrameUnreadable { why, detail: "no code was read in the frame".into() }
}

fn elapsed_ms(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}
