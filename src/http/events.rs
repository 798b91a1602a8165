//! `GET /v1/events`: what happens to refunds, live, whichever process made it happen (Server-Sent Events). All of it is read
//! from the ledger, so a listener that was away says where it stopped and misses nothing.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, HeaderName},
    web::{Bytes, Data},
};
use futures_util::stream::unfold;
use jiff::SignedDuration;
use scanback_wallet::MerchantId;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    auth,
    problem::{Problem, ProblemBody},
};
use crate::{
    domain::{refusal::Refusal, view::RefundView},
    ledger::{LedgerError, LedgerEvent},
    service::Desk,
};

/// How often the ledger is looked at.
const LOOKS_EVERY: Duration = Duration::from_millis(250);
/// A line without meaning is sent after this long, so that proxies keep the connection; and the token is looked at again.
const BREATHES_EVERY: Duration = Duration::from_secs(10);
/// A number that is missing may be one whose transaction is still to commit; none takes longer than this.
const GAP_PATIENCE: SignedDuration = SignedDuration::from_secs(6);

/// What happens to refunds, live. The id of an event is its place; a client that comes back with `Last-Event-ID` gets all that
/// came after it. `data` is `{type, timestamp, data: <refund>}`, as in webhooks; `type` is `refund.` and the timeline's word.
#[utoipa::path(
    get, path = "/v1/events", tag = "refunds",
    params(("Last-Event-ID" = Option<String>, Header, description = "where the listener stopped")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = "default", body = ProblemBody),
    )
)]
pub(super) async fn listen(desk: Data<Desk>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let caller = auth::caller(&desk, &request, auth::READERS).await?;
    let place = desk.listen()?;
    let last = match request.headers().get("last-event-id") {
        Some(id) => {
            let id = id.to_str().ok().and_then(|text| text.trim().parse::<i64>().ok()).filter(|id| *id >= 0);
            id.ok_or_else(|| Refusal::MalformedRequest("Last-Event-ID is the id of an event".into()))?
        }
        None => desk.ledger().newest_event().await?,
    };
    let listener = Listener {
        sees: caller.sees().cloned(),
        desk,
        request,
        last,
        ready: VecDeque::from([Bytes::from_static(b": listening\n\n")]),
        breathed: Instant::now(),
        _place: place,
    };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(unfold(listener, |mut listener| async move {
            let bytes = listener.next().await?;
            Some((Ok::<_, actix_web::Error>(bytes), listener))
        })))
}

struct Listener {
    desk: Data<Desk>,
    request: HttpRequest,
    /// Whose events it sees; `None` means everybody's.
    sees: Option<MerchantId>,
    last: i64,
    ready: VecDeque<Bytes>,
    breathed: Instant,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// The next piece to send; `None` where the stream ends: the service stops, or the token was taken back.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "events could not be read; the listener waits");
            }
            if !self.ready.is_empty() {
                continue;
            }
            if self.breathed.elapsed() >= BREATHES_EVERY {
                auth::caller(&self.desk, &self.request, auth::READERS).await.ok()?;
                self.breathed = Instant::now();
                return Some(Bytes::from_static(b": still here\n\n"));
            }
            tokio::select! {
                () = self.desk.closing() => return None,
                () = tokio::time::sleep(LOOKS_EVERY) => {}
            }
        }
    }

    async fn look(&mut self) -> Result<(), LedgerError> {
        let events = self.desk.ledger().events_after(self.last).await?;
        let now = self.desk.now();
        for event in events {
            let missing = event.seq != self.last + 1;
            if missing && now.duration_since(event.at) < GAP_PATIENCE {
                break; // whoever has the number between may still commit it
            }
            self.last = event.seq;
            if self.sees.as_ref().is_none_or(|merchant| *merchant == event.merchant_id) {
                self.put(&event).await?;
            }
        }
        Ok(())
    }

    async fn put(&mut self, event: &LedgerEvent) -> Result<(), LedgerError> {
        let Some(refund) = self.desk.ledger().refund(None, event.refund_id).await? else { return Ok(()) };
        let kind = format!("refund.{}", event.event);
        let data = json!({ "type": kind, "timestamp": event.at, "data": RefundView::from(&refund) });
        self.ready.push_back(format!("id: {}\nevent: {kind}\ndata: {data}\n\n", event.seq).into());
        Ok(())
    }
}
