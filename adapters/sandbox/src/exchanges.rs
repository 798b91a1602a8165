//! The log of exchanges: the last calls of the wallets' clients, for the developer whose signature fails. It keeps no
//! bodies, no queries and no headers; what could be a payment code is masked.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Instant,
};

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
    web::Data,
};
use jiff::Timestamp;
use serde::Serialize;

use crate::world::{World, lock};

/// How many are kept: enough for a test run that went wrong, little memory.
const KEPT: usize = 500;
/// A payment code has 16 to 24 digits and one of these beginnings (wechat-pay §18, alipay §18).
const CODE_LENGTHS: std::ops::RangeInclusive<usize> = 16..=24;

/// One call and how it ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Exchange {
    pub(crate) id: u64,
    /// When it came, RFC 3339.
    pub(crate) at: String,
    pub(crate) http_method: String,
    pub(crate) path: String,
    /// `null` while it is under way.
    pub(crate) status: Option<u16>,
    /// Real time, holds by faults included.
    pub(crate) elapsed_us: u64,
    #[serde(flatten)]
    pub(crate) note: Note,
}

/// What the wallet that served a call has to say about it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Note {
    /// The contract's word for the call.
    pub(crate) operation: Option<&'static str>,
    /// The fault that met it.
    pub(crate) fault: Option<&'static str>,
    /// Why it was refused before any business: which part of the signature or of the parameters is wrong.
    pub(crate) refused: Option<String>,
}

/// The note of a call under way; it is kept although the call may be dropped.
type Notes = Arc<Mutex<Note>>;

/// Writes on the note of a call.
pub(crate) fn note(request: &HttpRequest, write: impl FnOnce(&mut Note)) {
    if let Some(note) = request.extensions().get::<Notes>() {
        write(&mut lock(note));
    }
}

/// An exchange as it is kept: its note may still be written on.
struct Kept {
    exchange: Exchange,
    note: Notes,
}

impl Kept {
    fn told(&self) -> Exchange {
        let mut note = lock(&self.note).clone();
        note.refused = note.refused.map(|text| masked(&text));
        Exchange { note, ..self.exchange.clone() }
    }
}

/// The last exchanges, oldest first.
#[derive(Default)]
pub(crate) struct Exchanges {
    last_id: u64,
    kept: VecDeque<Kept>,
}

impl Exchanges {
    /// Keeps a call that begins; its id.
    fn begin(&mut self, mut exchange: Exchange, note: Notes) -> u64 {
        self.last_id += 1;
        exchange.id = self.last_id;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept { exchange, note });
        self.last_id
    }

    fn end(&mut self, id: u64, status: u16, elapsed_us: u64) {
        if let Some(kept) = self.kept.iter_mut().rev().find(|kept| kept.exchange.id == id) {
            kept.exchange.status = Some(status);
            kept.exchange.elapsed_us = elapsed_us;
        }
    }

    /// All that are kept, newest first.
    pub(crate) fn newest_first(&self) -> Vec<Exchange> {
        self.kept.iter().rev().map(Kept::told).collect()
    }

    /// One of them.
    pub(crate) fn get(&self, id: u64) -> Option<Exchange> {
        self.kept.iter().find(|kept| kept.exchange.id == id).map(Kept::told)
    }
}

/// Keeps every call that is no control call, from its beginning on: one that a fault holds is what one looks for.
pub(crate) async fn record(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let world = request.app_data::<Data<World>>().filter(|_| !request.path().starts_with("/_sandbox")).cloned();
    let Some(world) = world else { return next.call(request).await };
    let (note, begun) = (Notes::default(), Instant::now());
    request.extensions_mut().insert(Arc::clone(&note));
    let exchange = Exchange {
        id: 0,
        at: Timestamp::now().to_string(),
        http_method: request.method().to_string(),
        path: masked(request.path()),
        status: None,
        elapsed_us: 0,
        note: Note::default(),
    };
    let id = lock(&world.exchanges).begin(exchange, note);
    let mut response = next.call(request).await?;
    let elapsed_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    lock(&world.exchanges).end(id, response.status().as_u16(), elapsed_us);
    if !world.verifies {
        response
            .headers_mut()
            .insert(HeaderName::from_static("sandbox-signatures"), HeaderValue::from_static("not-verified"));
    }
    Ok(response)
}

/// The text with everything of a payment code's form cut to its first two digits (contract §4 rule 11).
fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let (before, digits) = rest.split_at(start);
        let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
        let (run, after) = digits.split_at(end);
        out.push_str(before);
        let begins = run.get(..2).and_then(|two| two.parse::<u8>().ok());
        let is_code = CODE_LENGTHS.contains(&run.len())
            && begins.is_some_and(|n| (10..=15).contains(&n) || (25..=30).contains(&n));
        out.push_str(if is_code { &run[..2] } else { run });
        if is_code {
            out.push('…');
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payment_codes_are_masked_and_other_numbers_are_not() {
        assert_eq!(masked("a=134567890123456789&b=1"), "a=13…&b=1");
        assert_eq!(masked("281234567890123456"), "28…");
        assert_eq!(masked("/x/4200000000202501011234567890"), "/x/4200000000202501011234567890");
        assert_eq!(masked("签名 1700000000"), "签名 1700000000");
    }
}
