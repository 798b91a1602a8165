//! What every wallet adapter shares, and nothing of any one wallet: [`Money`], the numbers, what an answer proves
//! ([`Outcome`], [`Asked`]) and the [`Wallet`] trait. The lowest crate: it knows no wallet, no service, no HTTP.

mod bill;
mod calls;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod ids;
mod money;
mod outcome;
mod payment_code;
mod wallet;

pub use bill::{
    Bill, BillDay, BillKind, FundBill, FundLine, NotADay, Standing, TradeBill, TradeEntry, TradeLine, UnreadLine,
};
pub use calls::{AbnormalCall, PayerOf, PaymentResult, Payout, Private, RefundedGoods, VoidCall};
pub use clock::{Clock, SystemClock};
#[cfg(feature = "simulated")]
pub use ids::simulated_uuids;
pub use ids::{
    EventId, IdError, MerchantId, OperatorId, OrderNo, PayerId, RefundId, StoreId, TerminalId, TransactionId,
    WalletKind, WalletRefundId, WalletRequestNo, new_uuid,
};
pub use money::{Currency, Money, MoneyError};
pub use outcome::{Asked, Doubt, DoubtKind, Hold, HoldReason, Outcome, Proof, RecordStatus, RefundRecord, Rejection};
pub use payment_code::PaymentCode;
pub use wallet::{
    Acknowledgement, Capabilities, NotGenuine, Notification, OrderNumber, OrderRef, RefundCall, VoidRules, Wallet,
    WalletError, WalletOrder, WalletOrderState,
};
