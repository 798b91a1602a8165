//! Alipay's notifications, passed on to the merchant's own system (`alipay.forward_to`): as they came, and taken only when it
//! took them.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::{
    conformance::hear,
    shop::{ALIPAY, Shop, pen::alipay_news},
};

/// What was heard: the content type and the body.
type Heard = Arc<Mutex<Vec<(Option<String>, Vec<u8>)>>>;

/// The merchant's system: takes what it hears, or not.
struct System {
    url: String,
    heard: Heard,
    takes: Arc<AtomicBool>,
}

impl System {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/alipay/notify?shop=7", listener.local_addr().unwrap());
        let (heard, takes) = (Heard::default(), Arc::new(AtomicBool::new(true)));
        let (kept, willing) = (Arc::clone(&heard), Arc::clone(&takes));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some((line, headers, body)) = hear(&mut stream).await else { continue };
                assert!(line.starts_with("POST /alipay/notify?shop=7 "), "{line}");
                let form = headers.into_iter().find(|(name, _)| name == "content-type").map(|(_, value)| value);
                kept.lock().unwrap().push((form, body));
                let word = if willing.load(Ordering::SeqCst) { "success" } else { "failure" };
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\n{word}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, heard, takes }
    }

    fn heard(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

#[tokio::test]
async fn genuine_news_is_passed_on_as_it_came_and_alipay_hears_what_the_merchant_said() {
    let system = System::start().await;
    let opening = Shop::new().order(ALIPAY, "FORWARD-01", 1_000);
    let shop = opening.alipay_setting(&format!("forward_to = \"{}\"", system.url)).open().await;
    let refund = shop.merchant().refund("FORWARD-01", 400).await;
    refund.assert(201, "succeeded");
    let news = alipay_news(shop.sandbox(), &refund.body, |_| ());

    let answer = news.deliver(&shop).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "success"));
    let (form, body) = system.heard.lock().unwrap()[0].clone();
    assert_eq!(form.as_deref(), Some("application/x-www-form-urlencoded"));
    assert_eq!(body, news.body.as_bytes(), "byte for byte, or its signature would not fit there");

    // not taken there: Alipay is told so, and sends it again by its own ladder
    system.takes.store(false, Ordering::SeqCst);
    let answer = news.deliver(&shop).await;
    assert_ne!(answer.text, "success");
    assert_eq!(system.heard(), 2);

    // what is forged goes nowhere
    let mut forged = news.clone();
    forged.body = forged.body.replacen("trade_status=", "trade_status=X", 1);
    assert_ne!(forged.deliver(&shop).await.text, "success");
    assert_eq!(system.heard(), 2);
    shop.close().await;
}
