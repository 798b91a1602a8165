//! The demo's shop: its tokens and people, and how a terminal or the merchant's system would talk to the service.

use anyhow::Context as _;
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};
use scanback_wallet::{MerchantId, OperatorId, TerminalId, WalletKind};
use serde_json::{Value, json};

use crate::{
    cli::{operator, token},
    domain::actor::{OperatorRole, Role},
    service::Pin,
    startup::Service,
};

/// The merchant of the sandbox's configuration.
const MERCHANT: &str = "demo";
const OPERATOR: (&str, &str) = ("li", "246810");
const BOUNDARY: &str = "scanback-demo-boundary";

/// The shop and both sides of it.
pub(super) struct Shop {
    http: reqwest::Client,
    service: String,
    wallets: String,
    terminal_token: String,
    merchant_token: String,
}

/// An answer of the service.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Answer {
    async fn read(response: Response) -> anyhow::Result<Self> {
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Self { status, headers, body: response.json().await? })
    }

    /// A string of the body.
    pub(super) fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or("")
    }
}

impl Shop {
    /// Makes the shop's tokens and its operator.
    pub(super) async fn seed(service: &Service, wallets: &str) -> anyhow::Result<Self> {
        let ledger = service.desk().ledger();
        let merchant = || MerchantId::parse(MERCHANT);
        let till = TerminalId::parse("till-1")?;
        let terminal_token =
            token::create(ledger, Role::Terminal, merchant()?, "till-1".into(), Some(till), None).await?;
        let merchant_token =
            token::create(ledger, Role::Merchant, merchant()?, "back-office".into(), None, None).await?;
        let pin = Pin::parse(OPERATOR.1)?;
        operator::add(ledger, merchant()?, OperatorId::parse(OPERATOR.0)?, OperatorRole::Cashier, &pin).await?;
        Ok(Self {
            http: reqwest::Client::new(),
            service: format!("http://{}", service.address()),
            wallets: wallets.to_owned(),
            terminal_token,
            merchant_token,
        })
    }

    /// Somebody pays: an order in the wallet's books.
    pub(super) async fn pay(&self, wallet: WalletKind, order_no: &str, fen: i64) -> anyhow::Result<()> {
        let order = json!({ "wallet": wallet, "out_trade_no": order_no, "amount_fen": fen });
        let answer = self.http.post(format!("{}/_sandbox/orders", self.wallets)).json(&order).send().await?;
        answer.error_for_status().context("the sandbox did not take an order")?;
        Ok(())
    }

    /// The merchant's system tells the service of an order.
    pub(super) async fn register(&self, wallet: WalletKind, order_no: &str, fen: i64) -> anyhow::Result<()> {
        let order = json!({
            "order_no": order_no, "wallet": wallet, "amount": { "value": fen, "currency": "CNY" },
            "paid_at": jiff::Timestamp::now(), "kind": "sale",
        });
        let url = format!("{}/v1/orders", self.service);
        let answer = self.http.post(url).bearer_auth(&self.merchant_token).json(&order).send().await?;
        answer.error_for_status().context("the service did not take an order")?;
        Ok(())
    }

    /// What the terminal's camera sees: the customer's payment code, or the code of the bill page.
    pub(super) async fn frame(
        &self,
        wallet: WalletKind,
        order_no: &str,
        show: &str,
        symbology: &str,
        format: &str,
    ) -> anyhow::Result<Vec<u8>> {
        let query = [
            ("wallet", wallet.as_str()),
            ("out_trade_no", order_no),
            ("show", show),
            ("symbology", symbology),
            ("format", format),
        ];
        let answer = self.http.get(format!("{}/_sandbox/frame", self.wallets)).query(&query).send().await?;
        Ok(answer.error_for_status()?.bytes().await?.to_vec())
    }

    /// The terminal's one call: refund and frame in one multipart body.
    pub(super) async fn refund_with_frame(&self, key: &str, refund: &Value, frame: &[u8]) -> anyhow::Result<Answer> {
        let mut body = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"refund\"\r\ncontent-type: application/json\r\n\r\n\
             {refund}\r\n--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"frame\"; filename=\"frame\"\r\n\
             content-type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(frame);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let request = self
            .http
            .post(format!("{}/v1/refunds", self.service))
            .bearer_auth(&self.terminal_token)
            .header("idempotency-key", key)
            .header(CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
            .body(body);
        Answer::read(request.send().await?).await
    }

    /// The merchant's system asks for a refund, without a scan.
    pub(super) async fn refund(&self, key: &str, refund: &Value) -> anyhow::Result<Answer> {
        let request = self
            .http
            .post(format!("{}/v1/refunds", self.service))
            .bearer_auth(&self.merchant_token)
            .header("idempotency-key", key)
            .json(refund);
        Answer::read(request.send().await?).await
    }

    /// A refund as it now stands.
    pub(super) async fn look(&self, refund_id: &str) -> anyhow::Result<Answer> {
        let url = format!("{}/v1/refunds/{refund_id}", self.service);
        Answer::read(self.http.get(url).bearer_auth(&self.merchant_token).send().await?).await
    }

    /// Breaks the next call of a wallet.
    pub(super) async fn fault(&self, fault: &Value) -> anyhow::Result<()> {
        let answer = self.http.post(format!("{}/_sandbox/faults", self.wallets)).json(fault).send().await?;
        answer.error_for_status().context("the sandbox did not take a fault")?;
        Ok(())
    }

    /// An order in the wallet's own books.
    pub(super) async fn wallets_order(&self, wallet: WalletKind, order_no: &str) -> anyhow::Result<Value> {
        let url = format!("{}/_sandbox/orders/{order_no}?wallet={wallet}", self.wallets);
        Ok(self.http.get(url).send().await?.error_for_status()?.json().await?)
    }

    /// What the wallets' books hold against us.
    pub(super) async fn violations(&self) -> anyhow::Result<Vec<Value>> {
        let ledger: Value = self.http.get(format!("{}/_sandbox/ledger", self.wallets)).send().await?.json().await?;
        ledger["violations"].as_array().cloned().context("the sandbox's ledger has no list of violations")
    }

    /// Prints where everything is and how to go on.
    pub(super) fn introduce(&self) {
        let Self { service, wallets, terminal_token, merchant_token, .. } = self;
        println!("\nThe shop stays open; Ctrl-C closes it and removes its files.\n");
        println!("  service          {service}      (API description: {service}/docs/)");
        println!("  health           {service}/readyz");
        println!("  sandbox wallets  {wallets}      (its books: {wallets}/_sandbox/ledger)");
        println!("  terminal token   {terminal_token}");
        println!("  merchant token   {merchant_token}");
        println!("  operator         {} with PIN {}\n", OPERATOR.0, OPERATOR.1);
        println!("Try it: somebody pays 12.50 yuan, shows the bill's bar code, and gets 5.00 back:\n");
        println!("  curl -s {wallets}/_sandbox/orders -H 'content-type: application/json' \\");
        println!("    -d '{{\"wallet\":\"alipay\",\"out_trade_no\":\"TRY-0001\",\"amount_fen\":1250}}'");
        println!(
            "  curl -s '{wallets}/_sandbox/frame?wallet=alipay&out_trade_no=TRY-0001&show=bill_code&symbology=code_128&format=jpeg' -o frame.jpg"
        );
        println!("  curl -s {service}/v1/refunds -H 'authorization: Bearer {terminal_token}' \\");
        println!("    -H 'idempotency-key: try-1' -F frame=@frame.jpg \\");
        println!(
            "    -F 'refund={{\"amount\":{{\"value\":500,\"currency\":\"CNY\"}},\"reason\":\"customer_request\"}};type=application/json'"
        );
    }
}
