//! The accounts at the wallets, whose keys can be exchanged while the service runs (SIGHUP): what is under way ends with the
//! keys that it began with, and the next call has the new ones.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use jiff::SignedDuration;
use scanback_alipay::Alipay;
use scanback_wallet::{
    AbnormalCall, Acknowledgement, Asked, Bill, BillDay, BillKind, Capabilities, Clock, MerchantId, NotGenuine,
    Notification, OrderNumber, OrderRef, Outcome, PayerOf, PaymentCode, RefundCall, VoidCall, Wallet, WalletError,
    WalletKind, WalletOrder,
};
use scanback_wechat::WechatPay;
use tokio::task::JoinHandle;

use super::Wallets;
use crate::config::MerchantAccounts;

/// After a list of certificates that didn't come: they are asked for by the first answer that needs them as well.
const CERTIFICATES_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// Which account of which merchant.
type Place = (MerchantId, WalletKind);

/// All accounts.
pub(super) struct Accounts {
    slots: BTreeMap<Place, Arc<Slot>>,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    /// Tasks that look after certificates.
    looked_after: Mutex<Vec<JoinHandle<()>>>,
}

/// What a reload did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Accounts that have the keys of the settings now.
    pub renewed: usize,
    /// What only a restart changes: `merchant, wallet`, and what it is.
    pub left: Vec<String>,
}

/// One account: the wallet with its present keys, and the number by which the wallet knows it.
struct Slot {
    number: String,
    wallet: RwLock<Arc<dyn Wallet>>,
}

/// A wallet, the number of the account, and the task that its certificates need.
type Built = (Place, String, Arc<dyn Wallet>, Option<Arc<WechatPay>>);

impl Accounts {
    /// Makes the wallets of all merchants. To be called inside a runtime.
    pub(super) fn new(merchants: Vec<MerchantAccounts>, client: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        let mut accounts = Self { slots: BTreeMap::new(), client, clock, looked_after: Mutex::default() };
        let mut certificates = Vec::new();
        for (place, number, wallet, wechat) in accounts.build(merchants) {
            certificates.extend(wechat);
            accounts.slots.insert(place, Arc::new(Slot { number, wallet: RwLock::new(wallet) }));
        }
        accounts.look_after(certificates);
        accounts
    }

    fn build(&self, merchants: Vec<MerchantAccounts>) -> Vec<Built> {
        let mut built: Vec<Built> = Vec::new();
        for merchant in merchants {
            if let Some(account) = merchant.wechat {
                let number = account.mchid.clone();
                let wallet = Arc::new(WechatPay::new(account, self.client.clone(), Arc::clone(&self.clock)));
                let place = (merchant.id.clone(), WalletKind::Wechat);
                built.push((place, number, Arc::clone(&wallet) as Arc<dyn Wallet>, Some(wallet)));
            }
            if let Some(account) = merchant.alipay {
                let number = account.app_id.clone();
                let wallet = Arc::new(Alipay::new(account, self.client.clone(), Arc::clone(&self.clock)));
                built.push(((merchant.id, WalletKind::Alipay), number, wallet, None));
            }
        }
        built
    }

    /// The wallets as the desk has them.
    pub(super) fn wallets(&self) -> Wallets {
        self.slots.iter().map(|(place, slot)| (place.clone(), Arc::clone(slot) as Arc<dyn Wallet>)).collect()
    }

    /// Gives the accounts the keys of `merchants`. An account that came, went, or has another number at its wallet stays as
    /// it is until a restart: refunds under way belong to the old one.
    pub(super) fn reload(&self, merchants: Vec<MerchantAccounts>) -> Reloaded {
        let mut reloaded = Reloaded::default();
        let mut certificates = Vec::new();
        let mut seen = Vec::new();
        for ((merchant, kind), number, wallet, wechat) in self.build(merchants) {
            let place = (merchant, kind);
            let what = match self.slots.get(&place) {
                Some(slot) if slot.number == number => {
                    *slot.wallet.write().unwrap_or_else(PoisonError::into_inner) = wallet;
                    certificates.extend(wechat);
                    reloaded.renewed += 1;
                    None
                }
                Some(_) => Some("another account at the wallet"),
                None => Some("a new account"),
            };
            if let Some(what) = what {
                reloaded.left.push(format!("{}, {}: {what}", place.0, place.1));
            }
            seen.push(place);
        }
        for (merchant, kind) in self.slots.keys().filter(|place| !seen.contains(place)) {
            reloaded.left.push(format!("{merchant}, {kind}: an account that is no longer configured"));
        }
        self.look_after(certificates);
        reloaded
    }

    /// Replaces the tasks that look after certificates.
    fn look_after(&self, accounts: Vec<Arc<WechatPay>>) {
        let tasks = accounts.into_iter().map(|account| tokio::spawn(keep_certificates_fresh(account))).collect();
        let mut looked_after = self.looked_after.lock().unwrap_or_else(PoisonError::into_inner);
        for old in std::mem::replace(&mut *looked_after, tasks) {
            old.abort();
        }
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        self.look_after(Vec::new());
    }
}

/// WeChat Pay's platform certificates, looked after before they are needed (wechat-pay §4: at least every 12 h). In pure
/// public key mode the wallet has none, and says so.
async fn keep_certificates_fresh(account: Arc<WechatPay>) {
    loop {
        tokio::time::sleep(account.refresh_due_in()).await;
        if let Err(error) = account.refresh_certificates().await {
            tracing::info!(%error, "no platform certificates were fetched");
            tokio::time::sleep(CERTIFICATES_AGAIN_AFTER).await;
        }
    }
}

impl Slot {
    fn now(&self) -> Arc<dyn Wallet> {
        Arc::clone(&self.wallet.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Wallet for Slot {
    fn kind(&self) -> WalletKind {
        self.now().kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.now().capabilities()
    }

    async fn refund(&self, call: &RefundCall) -> Outcome {
        self.now().refund(call).await
    }

    async fn query_refund(&self, call: &RefundCall) -> Asked {
        self.now().query_refund(call).await
    }

    async fn void(&self, call: &VoidCall) -> Outcome {
        self.now().void(call).await
    }

    async fn query_void(&self, call: &VoidCall) -> Asked {
        self.now().query_void(call).await
    }

    async fn pay_to_account(&self, call: &AbnormalCall) -> Outcome {
        self.now().pay_to_account(call).await
    }

    async fn close(&self, order: &OrderRef) -> Result<(), WalletError> {
        self.now().close(order).await
    }

    async fn payer_of(&self, code: &PaymentCode) -> Result<PayerOf, WalletError> {
        self.now().payer_of(code).await
    }

    async fn bill(&self, kind: BillKind, day: BillDay) -> Result<Bill, WalletError> {
        self.now().bill(kind, day).await
    }

    fn clock_skew(&self) -> Option<SignedDuration> {
        self.now().clock_skew()
    }

    async fn query_order(&self, number: &OrderNumber) -> Result<Option<WalletOrder>, WalletError> {
        self.now().query_order(number).await
    }

    async fn open_notification(&self, headers: &[(String, String)], body: &[u8]) -> Result<Notification, NotGenuine> {
        self.now().open_notification(headers, body).await
    }

    fn acknowledge(&self, received: bool) -> Acknowledgement {
        self.now().acknowledge(received)
    }
}
