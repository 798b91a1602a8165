//! Every adapter passes the suite of the trait's crate: the two wallets against the sandbox, over sockets, in each key mode;
//! and the example of docs/adding-a-wallet.md against a server of its own.

mod example;
mod liars;
mod stage;

use example::server::PennyStage;
use scanback_wallet::conformance::{self, Stage};
pub(crate) use stage::hear;
use stage::{KeyMode, SandboxStage};

async fn passes(stage: &dyn Stage, at_least: usize) {
    let report = conformance::run(stage).await;
    assert!(report.wrong.is_empty(), "{} wrong:\n{}", report.wrong.len(), report.wrong.join("\n"));
    assert!(report.held.len() >= at_least, "only {} held; skipped: {:?}", report.held.len(), report.skipped);
}

#[tokio::test(flavor = "multi_thread")]
async fn wechat_pay_passes_the_suite_in_public_key_mode() {
    passes(&SandboxStage::wechat(KeyMode::PublicKey).await, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wechat_pay_passes_the_suite_with_certificates_that_it_must_fetch() {
    passes(&SandboxStage::wechat(KeyMode::Certificates).await, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wechat_pay_passes_the_suite_as_a_partner() {
    passes(&SandboxStage::wechat_partner().await, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alipay_passes_the_suite_in_public_key_mode() {
    passes(&SandboxStage::alipay(KeyMode::PublicKey).await, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alipay_passes_the_suite_in_certificate_mode() {
    passes(&SandboxStage::alipay(KeyMode::Certificates).await, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_manual_passes_the_suite() {
    passes(&PennyStage::start().await, 35).await;
}
