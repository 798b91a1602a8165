//! What would happen? The checks of a refund, and nothing else: no PIN, no reservation.

use scanback_wallet::Money;
use serde::Serialize;

use super::{Desk, RefundRequest, ScanGiven, ServiceError, request_refund::Found};
use crate::domain::{
    actor::Caller,
    policy::Wish,
    refusal::Refusal,
    view::{MoneyView, OrderView},
};

/// What would happen. Source: contract §3, `POST /v1/refunds/preview`.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(title = "Preview")]
pub struct Preview {
    /// `allowed`, `needs_approval` or `refused`.
    pub decision: &'static str,
    /// The order.
    pub order: OrderView,
    /// What would go back.
    pub amount: MoneyView,
    /// What the merchant would keep.
    pub fee: MoneyView,
    /// What would be left.
    pub refundable_after: MoneyView,
}

impl Desk {
    /// What would happen, without anything happening (contract §3): the same checks, no PIN, no reservation. A refusal
    /// that concerns an order comes back as the second part.
    /// # Errors
    /// A [`Refusal`] where there is no order to preview.
    pub async fn preview_refund(
        &self,
        caller: &Caller,
        request: &RefundRequest,
    ) -> Result<(Preview, Option<Refusal>), ServiceError> {
        let scan = match &request.scan {
            ScanGiven::None => None, // a terminal may look before it scans
            given => self.take_scan(caller, given).await?,
        };
        let Found { order, .. } = self.match_order(caller, request, scan).await?;
        let wish = Wish { amount: request.amount, expected_refundable: request.expected_refundable };
        let zero = Money::zero(order.amount.currency());
        match self.decide(order.clone(), &wish).await {
            Ok((order, decision)) => {
                let preview = Preview {
                    decision: "allowed",
                    order: self.order_view(&order),
                    amount: decision.amount.into(),
                    fee: decision.fee.into(),
                    refundable_after: decision.refundable_after.into(),
                };
                Ok((preview, None))
            }
            Err(ServiceError::Refused(refusal)) if refusal.is_decision() => {
                let order = self.ledger.order(order.id).await?;
                let preview = Preview {
                    decision: "refused",
                    amount: wish.amount.unwrap_or(order.refundable()).into(),
                    fee: zero.into(),
                    refundable_after: order.refundable().into(),
                    order: self.order_view(&order),
                };
                Ok((preview, Some(refusal)))
            }
            Err(error) => Err(error),
        }
    }
}
