//! Somebody who calls the API with a token: a terminal, the merchant's system, an auditor, or nobody.

use reqwest::{
    Method,
    header::{ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap},
};
use serde_json::{Value, json};
use uuid::Uuid;

const BOUNDARY: &str = "a-boundary-that-is-in-no-frame";

/// An amount of CNY.
pub(crate) fn fen(value: i64) -> Value {
    json!({ "value": value, "currency": "CNY" })
}

/// A key that nobody used before.
pub(crate) fn fresh_key() -> String {
    Uuid::now_v7().to_string()
}

/// An answer of the service.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    /// Status and word: the state of a refund or order, else the code of a problem.
    #[track_caller]
    pub(crate) fn assert(&self, status: u16, word: &str) -> &Self {
        let said = if self.status < 300 { &self.body["state"] } else { &self.body["code"] };
        let said = said.as_str().unwrap_or("");
        assert!(self.status == status && said == word, "not {status} {word} but {} {}", self.status, self.text);
        self
    }

    /// Status alone.
    #[track_caller]
    pub(crate) fn assert_status(&self, status: u16) -> &Self {
        assert!(self.status == status, "not {status} but {} {}", self.status, self.text);
        self
    }

    pub(crate) fn str(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or("")
    }

    pub(crate) fn refund_id(&self) -> &str {
        self.str("refund_id")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Whether this repeats an answer given before.
    pub(crate) fn is_replay(&self) -> bool {
        self.header("idempotent-replayed") == "true"
    }
}

/// A request, ready to be sent as often as one likes.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    http: reqwest::Client,
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    /// With one more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With an `Idempotency-Key`.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// With a body of a type.
    pub(crate) fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header(CONTENT_TYPE.as_str(), media_type)
    }

    /// With a JSON body.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// With a multipart body: (name, type, content) of each part.
    pub(crate) fn multipart(self, parts: &[(&str, &str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (name, media_type, content) in parts {
            let file = if *name == "frame" { "; filename=\"frame\"" } else { "" };
            let head = format!(
                "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\ncontent-type: {media_type}\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.body(&format!("multipart/form-data; boundary={BOUNDARY}"), body)
    }

    /// In this language.
    pub(crate) fn language(self, tag: &str) -> Self {
        self.header(ACCEPT_LANGUAGE.as_str(), tag)
    }

    /// Sends it; an error where no answer came.
    pub(crate) async fn try_send(self) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.request(self.method, &self.url).body(self.body);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, headers, text, body })
    }

    /// Sends it.
    pub(crate) async fn send(self) -> Answer {
        self.try_send().await.unwrap()
    }
}

/// Whoever holds a token, or none.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) token: Option<String>,
}

impl Caller {
    /// A request that carries the token.
    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        let authorization = self.token.iter().map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
        Call {
            http: self.http.clone(),
            method,
            url: format!("{}{path}", self.base),
            headers: authorization.collect(),
            body: Vec::new(),
        }
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).send().await
    }

    /// A refund by JSON under a key.
    pub(crate) fn refund_call(&self, key: &str, refund: &Value) -> Call {
        self.post("/v1/refunds").key(key).json(refund)
    }

    /// A refund of so much of an order, under a fresh key, without a scan.
    pub(crate) async fn refund(&self, order_no: &str, amount: i64) -> Answer {
        let refund = json!({ "order_no": order_no, "amount": fen(amount), "reason": "quality" });
        self.refund_call(&fresh_key(), &refund).send().await
    }

    /// The terminal's one call: refund and frames in one multipart body.
    pub(crate) fn refund_with_frames(&self, refund: &Value, frames: &[&[u8]]) -> Call {
        let refund = refund.to_string();
        let mut parts = vec![("refund", "application/json", refund.as_bytes())];
        parts.extend(frames.iter().map(|frame| ("frame", "application/octet-stream", *frame)));
        self.post("/v1/refunds").key(&fresh_key()).multipart(&parts)
    }

    /// A scan: the body is the image itself.
    pub(crate) async fn scan(&self, frame: &[u8]) -> Answer {
        self.post("/v1/scans").body("image/png", frame).send().await
    }

    /// Registers an order as the merchant's system would.
    pub(crate) async fn register(&self, wallet: &str, order_no: &str, amount: i64) -> Answer {
        let order = json!({
            "order_no": order_no, "wallet": wallet, "amount": fen(amount), "paid_at": jiff::Timestamp::now().to_string(),
            "kind": "sale",
        });
        self.post("/v1/orders").json(&order).send().await
    }

    /// An order as it stands.
    pub(crate) async fn order(&self, wallet: &str, order_no: &str) -> Value {
        let answer = self.get(&format!("/v1/orders/{order_no}?wallet={wallet}")).await;
        answer.assert_status(200);
        answer.body
    }

    /// Everything of a list, page by page.
    pub(crate) async fn all(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}?limit=200{cursor}")).await;
            page.assert_status(200);
            items.extend(page.body["items"].as_array().unwrap().iter().cloned());
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}
