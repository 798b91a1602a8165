//! Payers and the payment codes that their wallets show (wechat-pay §18, alipay §18).

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use jiff::Timestamp;
use rand::RngCore;

use super::{Books, OrderNumber, OrderRefusal, Wallet};
use crate::beijing;

/// How long a payment code lives: real time, whatever the scale (contract §7).
const CODE_LIFE: Duration = Duration::from_secs(60);

/// The codes that are alive: each belongs to a payer.
#[derive(Default)]
pub(super) struct Codes {
    live: HashMap<String, (Wallet, String)>,
    /// The same codes, oldest first.
    ends: VecDeque<(Timestamp, String)>,
}

impl Codes {
    fn forget_old(&mut self, now: Timestamp) {
        while let Some((end, code)) = self.ends.front()
            && *end <= now
        {
            self.live.remove(code);
            self.ends.pop_front();
        }
    }
}

impl Books {
    /// A fresh payment code of the order's payer, good for 60 s. It names a person, never an order.
    pub(crate) fn show_code(
        &mut self,
        wallet: Wallet,
        number: &OrderNumber,
        now: Timestamp,
    ) -> Result<String, OrderRefusal> {
        let payer = self.order(wallet, number, now)?.payer;
        Ok(self.new_code(wallet, &payer, now))
    }

    pub(super) fn new_code(&mut self, wallet: Wallet, payer: &str, now: Timestamp) -> String {
        self.codes.forget_old(now);
        loop {
            let prefix = match wallet {
                Wallet::Wechat => 10 + self.rng.next_u32() % 6,
                Wallet::Alipay => 25 + self.rng.next_u32() % 6,
            };
            let code = format!("{prefix}{}", self.digits(16));
            // never an order's number: a code must find no order
            if self.codes.live.contains_key(&code) || self.orders.contains_key(&(wallet, code.clone())) {
                continue;
            }
            self.codes.live.insert(code.clone(), (wallet, payer.to_owned()));
            self.codes.ends.push_back((beijing::after(now, CODE_LIFE), code.clone()));
            return code;
        }
    }

    /// Whether a text is the living code of one of this wallet's payers: such a text is not an order number, and who
    /// sends it as one gives a secret away (contract §4 rule 10).
    pub(super) fn is_live_code(&mut self, wallet: Wallet, text: &str, now: Timestamp) -> bool {
        self.codes.forget_old(now);
        self.codes.live.get(text).is_some_and(|(of, _)| *of == wallet)
    }

    /// The payer behind a living payment code.
    pub(crate) fn payer_of(&mut self, wallet: Wallet, code: &str, now: Timestamp) -> Option<String> {
        self.codes.forget_old(now);
        self.codes.live.get(code).filter(|(of, _)| *of == wallet).map(|(_, payer)| payer.clone())
    }

    /// A payer as the wallet would name one.
    pub(super) fn new_payer(&mut self, wallet: Wallet) -> String {
        const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
        match wallet {
            Wallet::Wechat => {
                let tail = (0..24).map(|_| char::from(LETTERS[(self.rng.next_u32() % 64) as usize]));
                format!("oSBX{}", tail.collect::<String>())
            }
            Wallet::Alipay => format!("2088{}", self.digits(12)),
        }
    }
}
