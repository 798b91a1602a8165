//! `/v1/orders`

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Payload, Query},
};
use jiff::Timestamp;
use scanback_wallet::{Currency, Money, OrderNo, PayerId, StoreId, TerminalId, TransactionId, WalletKind};
use serde::{Deserialize, Serialize};

use super::{
    auth,
    body::{self, Checked},
    problem::{Problem, ProblemBody},
};
use crate::{
    domain::{
        actor::{Caller, Role},
        order::{Order, OrderKind, OrderState, Payment},
        refusal::Refusal,
        view::OrderView,
    },
    ledger::{Cursor, NewOrder, OrderFilter},
    service::{Desk, Registered, ServiceError},
};

/// Aliases that one order may have.
const MAX_ALIASES: usize = 20;

/// An amount as it is sent.
#[derive(Clone, Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(title = "Money")]
pub(super) struct MoneyBody {
    /// Minor units, a whole number; 1250 CNY is 12.50 yuan.
    #[schema(example = 1250)]
    value: i64,
    /// Three upper-case letters.
    #[schema(example = "CNY")]
    currency: String,
}

impl MoneyBody {
    /// A positive amount.
    pub(super) fn positive(&self, field: &str, checked: &mut Checked) -> Option<Money> {
        if self.value <= 0 {
            checked.wrong(&format!("{field}.value"), "must be greater than 0, in minor units");
            return None;
        }
        self.any(field, checked)
    }

    /// An amount that may be 0.
    pub(super) fn any(&self, field: &str, checked: &mut Checked) -> Option<Money> {
        let currency = checked.take(&format!("{field}.currency"), Currency::parse(&self.currency))?;
        checked.take(&format!("{field}.value"), Money::new(self.value, currency))
    }
}

/// Where and how the customer wants to hear of the refund.
#[derive(Clone, Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomerBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
}

/// An order that was paid elsewhere.
#[derive(Clone, Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(title = "NewOrder")]
pub(super) struct OrderBody {
    /// The wallet's out_trade_no.
    order_no: String,
    /// `wechat` or `alipay`.
    wallet: String,
    /// What was paid.
    amount: MoneyBody,
    /// When it was paid, RFC 3339 with offset.
    paid_at: String,
    /// The wallet's own number.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
    /// Other numbers that people know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aliases: Option<Vec<String>>,
    /// `sale` or `preorder`.
    kind: String,
    /// When what was booked begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terminal_id: Option<String>,
    /// Who paid, as the wallet names the person; kept as a keyed hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    payer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<CustomerBody>,
    /// What was bought, for the voucher.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    lines: Option<Vec<serde_json::Value>>,
}

impl OrderBody {
    fn into_order(self, desk: &Desk, caller: &Caller) -> Result<NewOrder, Refusal> {
        let mut checked = Checked::default();
        let order_no = checked.take("order_no", OrderNo::parse(&self.order_no));
        let wallet = checked.take("wallet", self.wallet.parse::<WalletKind>());
        let amount = self.amount.positive("amount", &mut checked);
        let paid_at = checked.take("paid_at", moment(&self.paid_at));
        let transaction_id = checked.maybe("transaction_id", self.transaction_id.as_deref().map(TransactionId::parse));
        let aliases = self.aliases.as_deref().unwrap_or_default();
        if aliases.len() > MAX_ALIASES {
            checked.wrong("aliases", "at most 20");
        }
        let aliases: Vec<_> = aliases
            .iter()
            .enumerate()
            .filter_map(|(index, alias)| checked.take(&format!("aliases[{index}]"), OrderNo::parse(alias)))
            .collect();
        let kind = checked.take("kind", OrderKind::parse(&self.kind).ok_or("is sale or preorder"));
        let starts_at = checked.maybe("starts_at", self.starts_at.as_deref().map(moment));
        let store_id = checked.maybe("store_id", self.store_id.as_deref().map(StoreId::parse));
        let terminal_id = checked.maybe("terminal_id", self.terminal_id.as_deref().map(TerminalId::parse));
        checked.done()?;
        let payer_hash = self.payer.as_deref().and_then(PayerId::new).map(|payer| desk.pepper().hash_payer(&payer));
        // the registration is kept in one spelling, the payer hashed: the same content again is no conflict
        let mut sorted = aliases.clone();
        sorted.sort();
        let kept = Self {
            payer: payer_hash.clone(),
            paid_at: paid_at.map(|at| at.to_string()).unwrap_or_default(),
            starts_at: starts_at.map(|at| at.to_string()),
            aliases: Some(sorted.iter().map(ToString::to_string).collect()),
            ..self
        };
        let registration =
            serde_json::to_string(&kept).map_err(|error| Refusal::MalformedRequest(error.to_string()))?;
        let (Some(order_no), Some(wallet), Some(amount), Some(kind)) = (order_no, wallet, amount, kind) else {
            return Err(Refusal::ValidationFailed(Vec::new())); // what is missing was noted above
        };
        Ok(NewOrder {
            merchant_id: caller.merchant_id.clone(),
            wallet,
            order_no,
            transaction_id,
            aliases,
            amount,
            payment: Payment::Paid,
            kind,
            paid_at,
            starts_at,
            store_id,
            terminal_id,
            payer_hash,
            trade_type: None,
            refunded_elsewhere: false,
            checked: false,
            registration: Some(registration),
        })
    }
}

/// Registers an order that was paid elsewhere. Before its first refund the wallet is asked whether it agrees.
#[utoipa::path(
    post, path = "/v1/orders", tag = "orders", request_body = OrderBody,
    responses(
        (status = 201, body = OrderView, description = "registered"),
        (status = 200, body = OrderView, description = "registered before with the same content"),
        (status = 409, body = ProblemBody, description = "order_conflict"),
        (status = "default", body = ProblemBody),
    )
)]
pub(super) async fn create(desk: Data<Desk>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Problem> {
    let caller = auth::caller(&desk, &request, auth::MERCHANT).await?;
    let order: OrderBody = body::json(&request, payload).await?;
    let order = order.into_order(&desk, &caller)?;
    Ok(match desk.register_order(&caller, order).await? {
        Registered::Created(order) => HttpResponse::Created().json(desk.order_view(&order)),
        Registered::Same(order) => HttpResponse::Ok().json(desk.order_view(&order)),
    })
}

/// Which of several wallets' orders is meant.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadQuery {
    /// `wechat` or `alipay`; may be left out where only one wallet has the number.
    wallet: Option<String>,
}

/// An order by its number, transaction number or alias. One that isn't known is asked of the merchant's wallets and kept.
#[utoipa::path(
    get, path = "/v1/orders/{order_no}", tag = "orders",
    params(("order_no" = String, Path, description = "percent-encoded"), ReadQuery),
    responses(
        (status = 200, body = OrderView),
        (status = 404, body = ProblemBody, description = "order_not_found"),
        (status = 409, body = ProblemBody, description = "order_ambiguous"),
        (status = "default", body = ProblemBody),
    )
)]
pub(super) async fn read(
    desk: Data<Desk>,
    request: HttpRequest,
    number: Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::caller(&desk, &request, auth::READERS).await?;
    let query: ReadQuery = query(&request)?;
    let mut checked = Checked::default();
    let wallet = checked.maybe("wallet", query.wallet.as_deref().map(str::parse::<WalletKind>));
    let number = checked.take("order_no", OrderNo::parse(&number));
    checked.done()?;
    let number = number.ok_or(Refusal::OrderNotFound)?;
    let order = if caller.role == Role::Admin {
        only(desk.ledger().orders_by_number(None, wallet, number.as_str()).await?)?
    } else {
        match desk.find_order(&caller.merchant_id, wallet, number.as_str()).await {
            // WeChat knows a number that isn't paid, and says no more of it: there is nothing to show yet
            Err(ServiceError::Refused(Refusal::OrderNotRefundable { .. })) => Err(Refusal::OrderNotFound.into()),
            found => found,
        }?
    };
    Ok(HttpResponse::Ok().json(desk.order_view(&order)))
}

fn only(mut orders: Vec<Order>) -> Result<Order, Refusal> {
    match orders.len() {
        0 => Err(Refusal::OrderNotFound),
        1 => Ok(orders.swap_remove(0)),
        _ => Err(Refusal::OrderAmbiguous { wallets: orders.iter().map(|order| order.wallet).collect() }),
    }
}

/// Which orders to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// In this state.
    state: Option<String>,
    /// Of this wallet.
    wallet: Option<String>,
    /// Kept at or after, RFC 3339.
    from: Option<String>,
    /// Kept before, RFC 3339.
    to: Option<String>,
    /// Where the page begins, from the page before.
    cursor: Option<String>,
    /// 1 to 200; 50 if left out.
    limit: Option<String>,
}

/// A page of orders.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct OrderPage {
    items: Vec<OrderView>,
    next_cursor: Option<String>,
}

/// Orders, newest first.
#[utoipa::path(
    get, path = "/v1/orders", tag = "orders", params(ListQuery),
    responses((status = 200, body = OrderPage), (status = "default", body = ProblemBody))
)]
pub(super) async fn list(desk: Data<Desk>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let caller = auth::caller(&desk, &request, auth::READERS).await?;
    let query: ListQuery = query(&request)?;
    let mut checked = Checked::default();
    let filter = OrderFilter {
        state: checked.maybe("state", query.state.map(|text| text.parse::<OrderState>().map_err(|()| "no such state"))),
        wallet: checked.maybe("wallet", query.wallet.as_deref().map(str::parse::<WalletKind>)),
        from: checked.maybe("from", query.from.as_deref().map(moment)),
        to: checked.maybe("to", query.to.as_deref().map(moment)),
        cursor: cursor(query.cursor.as_deref(), &mut checked),
        limit: limit(query.limit.as_deref(), &mut checked),
    };
    checked.done()?;
    let page = desk.ledger().orders(caller.sees(), &filter).await?;
    let items = page.items.iter().map(|order| desk.order_view(order)).collect();
    Ok(HttpResponse::Ok().json(OrderPage { items, next_cursor: page.next_cursor }))
}

/// The query string in the shape that is asked for; 422 names what is unknown or wrong.
pub(super) fn query<T: serde::de::DeserializeOwned>(request: &HttpRequest) -> Result<T, Refusal> {
    Query::<T>::from_query(request.query_string())
        .map(Query::into_inner)
        .map_err(|error| Refusal::field("query", body::without_values(&error.to_string())))
}

/// A moment, RFC 3339 with offset. What was sent instead is never repeated: it may be anything.
pub(super) fn moment(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map_err(|_| "is a time such as 2026-11-22T10:00:00+08:00")
}

/// Where a page begins.
pub(super) fn cursor(text: Option<&str>, checked: &mut Checked) -> Option<Cursor> {
    checked.maybe("cursor", text.map(str::parse::<Cursor>))
}

/// The size of a page: 1 to 200, 50 if left out.
pub(super) fn limit(text: Option<&str>, checked: &mut Checked) -> u32 {
    let limit = text
        .map_or(Ok(50), |text| text.parse::<u32>().ok().filter(|limit| (1..=200).contains(limit)).ok_or("is 1 to 200"));
    checked.take("limit", limit).unwrap_or(50)
}
