//! Faults on request: what goes wrong, with which call, how often (contract §7, `POST /_sandbox/faults`).

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use serde::Serialize;

use crate::books::{Ending, Wallet};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($variant),+ }

        impl $name {
            /// Every value and the contract's word for it.
            pub(crate) const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];

            /// The contract's word.
            pub(crate) fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }
    };
}

words! {
    /// What a call is for, whichever wallet.
    Operation {
        QueryOrder => "query_order",
        Refund => "refund",
        QueryRefund => "query_refund",
        AbnormalRefund => "abnormal_refund",
        Void => "void",
        Close => "close",
        Payer => "payer",
        Bill => "bill",
        Certificates => "certificates",
        Notification => "notification",
        Any => "*",
    }
}

words! {
    /// What goes wrong.
    Kind {
        NoEffectTimeout => "no_effect_timeout",
        EffectThenTimeout => "effect_then_timeout",
        EffectThenReset => "effect_then_reset",
        Http500 => "http_500",
        SystemError => "system_error",
        RateLimited => "rate_limited",
        Slow => "slow",
        BadSignature => "bad_signature",
        UnsignedError => "unsigned_error",
        GarbageBody => "garbage_body",
        StayProcessing => "stay_processing",
        Abnormal => "abnormal",
        Closed => "closed",
        DropNotification => "drop_notification",
        DuplicateNotification => "duplicate_notification",
        LateNotification => "late_notification",
        TamperedNotification => "tampered_notification",
        NotEnoughBalance => "not_enough_balance",
    }
}

impl Kind {
    /// Whether this can happen to that call of that wallet.
    pub(crate) fn is_possible(self, wallet: Wallet, operation: Operation) -> bool {
        use {Kind as K, Operation as O};
        if operation == O::Any {
            let rest = O::WORDS.iter().map(|(_, one)| *one).filter(|one| *one != O::Any);
            return rest.into_iter().any(|one| self.is_possible(wallet, one));
        }
        // Alipay has no refund that can't be paid out, and its certificates are fetched by nobody
        if wallet == Wallet::Alipay && matches!(operation, O::AbnormalRefund | O::Certificates) {
            return false;
        }
        match self {
            K::NoEffectTimeout
            | K::EffectThenTimeout
            | K::EffectThenReset
            | K::Http500
            | K::SystemError
            | K::RateLimited
            | K::UnsignedError
            | K::GarbageBody => operation != O::Notification,
            K::Slow | K::BadSignature => true,
            // only WeChat's refunds take their time
            K::StayProcessing | K::Abnormal | K::Closed => {
                wallet == Wallet::Wechat && matches!(operation, O::Refund | O::AbnormalRefund)
            }
            K::NotEnoughBalance => matches!(operation, O::Refund | O::Void),
            K::DropNotification | K::DuplicateNotification | K::LateNotification | K::TamperedNotification => {
                operation == O::Notification
            }
        }
    }

    /// Whether the call does its work all the same.
    pub(crate) fn has_effect(self) -> bool {
        !matches!(
            self,
            Self::NoEffectTimeout
                | Self::Http500
                | Self::SystemError
                | Self::RateLimited
                | Self::UnsignedError
                | Self::NotEnoughBalance
        )
    }

    /// What becomes of the refund that this fault met.
    pub(crate) fn ending(self) -> Ending {
        match self {
            Self::StayProcessing => Ending::Stay,
            Self::Abnormal => Ending::Abnormal,
            Self::Closed => Ending::Closed,
            _ => Ending::Success,
        }
    }

    /// How long the call is held where nobody says.
    fn delay(self) -> Duration {
        match self {
            Self::NoEffectTimeout | Self::EffectThenTimeout => Duration::from_secs(30),
            Self::Slow => Duration::from_secs(2),
            _ => Duration::ZERO,
        }
    }
}

/// A fault as it was asked for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fault {
    pub(crate) wallet: Wallet,
    pub(crate) operation: Operation,
    pub(crate) kind: Kind,
    /// How often it still fires; for good where absent.
    pub(crate) times: Option<u64>,
    pub(crate) probability: f64,
    pub(crate) delay_ms: Option<u64>,
}

/// A fault that fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fired {
    pub(crate) kind: Kind,
    /// How long the call is held, in real time.
    pub(crate) delay: Duration,
}

/// The faults that wait for a call.
pub(crate) struct Faults {
    list: Vec<Fault>,
    rng: ChaCha20Rng,
}

impl Faults {
    /// None yet. `seed` makes the draws repeatable.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self { list: Vec::new(), rng: seed.map_or_else(ChaCha20Rng::from_entropy, ChaCha20Rng::seed_from_u64) }
    }

    /// One more.
    pub(crate) fn add(&mut self, fault: Fault) {
        self.list.push(fault);
    }

    /// Those that wait, the oldest first.
    pub(crate) fn waiting(&self) -> &[Fault] {
        &self.list
    }

    /// None again.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    /// What happens to this call: of several faults at most one, drawn by added probabilities (contract §7).
    pub(crate) fn draw(&mut self, wallet: Wallet, operation: Operation) -> Option<Fired> {
        let fits = |fault: &Fault| {
            fault.wallet == wallet
                && (fault.operation == operation || fault.operation == Operation::Any)
                && fault.kind.is_possible(wallet, operation)
        };
        if !self.list.iter().any(fits) {
            return None; // no draw: calls without faults don't disturb a seeded sequence
        }
        let drawn: f64 = self.rng.r#gen();
        let mut added = 0.0;
        let hit = self.list.iter().position(|fault| {
            fits(fault) && {
                added += fault.probability;
                drawn < added
            }
        })?;
        let fault = &mut self.list[hit];
        let kind = fault.kind;
        let delay = fault.delay_ms.map_or(kind.delay(), Duration::from_millis);
        if let Some(times) = &mut fault.times {
            *times -= 1;
            if *times == 0 {
                self.list.remove(hit);
            }
        }
        Some(Fired { kind, delay })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(operation: Operation, kind: Kind) -> Fault {
        Fault { wallet: Wallet::Wechat, operation, kind, times: None, probability: 1.0, delay_ms: None }
    }

    #[test]
    fn a_fault_fires_as_often_as_asked_and_then_no_more() {
        let mut faults = Faults::new(Some(1));
        faults.add(Fault { times: Some(2), ..fault(Operation::Refund, Kind::Slow) });
        assert_eq!(faults.draw(Wallet::Wechat, Operation::QueryRefund), None);
        assert_eq!(faults.draw(Wallet::Alipay, Operation::Refund), None);
        for _ in 0..2 {
            let fired = faults.draw(Wallet::Wechat, Operation::Refund).unwrap();
            assert_eq!(fired, Fired { kind: Kind::Slow, delay: Duration::from_secs(2) });
        }
        assert_eq!(faults.draw(Wallet::Wechat, Operation::Refund), None);
    }

    #[test]
    fn a_fault_without_times_stays_until_it_is_deleted() {
        let mut faults = Faults::new(Some(1));
        faults.add(fault(Operation::Any, Kind::Http500));
        assert!((0..50).all(|_| faults.draw(Wallet::Wechat, Operation::Close).is_some()));
        assert_eq!(faults.draw(Wallet::Wechat, Operation::Notification), None, "a notification has no answer of ours");
        faults.clear();
        assert_eq!(faults.draw(Wallet::Wechat, Operation::Close), None);
    }

    #[test]
    fn of_several_at_most_one_fires_by_added_probabilities() {
        let mut faults = Faults::new(Some(7));
        faults.add(Fault { probability: 0.25, ..fault(Operation::Refund, Kind::Slow) });
        faults.add(Fault { probability: 0.5, ..fault(Operation::Refund, Kind::Http500) });
        let fired: Vec<_> =
            (0..4_000).map(|_| faults.draw(Wallet::Wechat, Operation::Refund).map(|f| f.kind)).collect();
        let count = |kind| fired.iter().filter(|one| **one == kind).count();
        assert!((850..1_150).contains(&count(Some(Kind::Slow))));
        assert!((1_850..2_150).contains(&count(Some(Kind::Http500))));
        assert!((850..1_150).contains(&count(None)));
    }

    #[test]
    fn impossible_pairs_are_known() {
        use {Kind as K, Operation as O, Wallet as W};
        for (wallet, operation, kind) in [
            (W::Alipay, O::Refund, K::StayProcessing),
            (W::Alipay, O::Any, K::Closed),
            (W::Alipay, O::Certificates, K::Slow),
            (W::Alipay, O::AbnormalRefund, K::Http500),
            (W::Wechat, O::QueryRefund, K::Abnormal),
            (W::Wechat, O::Refund, K::DropNotification),
            (W::Wechat, O::Notification, K::Http500),
            (W::Wechat, O::QueryOrder, K::NotEnoughBalance),
        ] {
            assert!(!kind.is_possible(wallet, operation), "{wallet:?} {operation:?} {kind:?}");
        }
        for (wallet, operation, kind) in [
            (W::Wechat, O::Refund, K::StayProcessing),
            (W::Wechat, O::Certificates, K::BadSignature),
            (W::Alipay, O::Notification, K::TamperedNotification),
            (W::Alipay, O::Void, K::NotEnoughBalance),
            (W::Wechat, O::Any, K::DropNotification),
        ] {
            assert!(kind.is_possible(wallet, operation), "{wallet:?} {operation:?} {kind:?}");
        }
    }
}
