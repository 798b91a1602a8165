//! A merchant's system registers an order: the first time it is kept, the same content again is no conflict.

use super::{Desk, ServiceError};
use crate::{
    domain::{
        actor::{Actor, Caller},
        order::Order,
        refusal::Refusal,
    },
    ledger::{Kept, NewOrder},
};

/// What became of a registration.
#[derive(Clone, Debug)]
pub enum Registered {
    /// It is new.
    Created(Order),
    /// It was there already.
    Same(Order),
}

impl Desk {
    /// Registers an order. Nothing is asked of the wallet yet: that happens before its first refund (contract §3).
    /// # Errors
    /// [`Refusal::OrderConflict`] where it is registered with other content.
    pub async fn register_order(&self, caller: &Caller, order: NewOrder) -> Result<Registered, ServiceError> {
        if self.wallet(&order.merchant_id, order.wallet).is_none() {
            return Err(Refusal::field("wallet", "the merchant has no account at this wallet").into());
        }
        match self.ledger.keep_order(order, Actor::of(caller, None), self.now()).await? {
            Kept::Created(order) => Ok(Registered::Created(order)),
            Kept::Same(order) => Ok(Registered::Same(order)),
            Kept::Conflict(field) => Err(Refusal::OrderConflict { field }.into()),
        }
    }
}
