//! One terminal that floods the scanner with frames that take their whole budget doesn't keep another one waiting.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

use futures_util::future::join_all;
use reqwest::header::RETRY_AFTER;

use crate::shop::{Caller, Shop, pictures};

/// Posts a frame, and counts its answer where it was looked at.
async fn flood(terminal: &Caller, frame: &[u8], looked_at: &AtomicUsize, refused: &AtomicUsize) {
    let answer = terminal.post("/v1/scans").body("image/png", frame).send().await;
    if answer.status == 503 {
        answer.assert(503, "overloaded");
        assert_eq!(answer.header(RETRY_AFTER.as_str()), "1");
        refused.fetch_add(1, Ordering::SeqCst);
    } else {
        answer.assert(422, "frame_unreadable");
        looked_at.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_terminal_that_floods_the_scanner_keeps_no_other_waiting() {
    let shop = Shop::new().setting("limits.requests_per_second", 1_000).open().await;
    let cores = available_parallelism().unwrap().get();
    // one look a core, and half of the four places a core: the rest of the flood is refused
    let (taken, too_many) = (cores + 2 * cores, cores);
    let (looked_at, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let frame = pictures::rubble(2000, 1500);
    let (flooding, other) = (shop.with_token(&shop.make_token("terminal", "demo", "till-7")), shop.terminal());
    let flooded = tokio::spawn({
        let (looked_at, refused) = (Arc::clone(&looked_at), Arc::clone(&refused));
        async move {
            let all = (0..taken + too_many).map(|_| flood(&flooding, &frame, &looked_at, &refused));
            join_all(all).await;
        }
    });
    while refused.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await; // until the flood has filled what it may
    }
    let answer = other.post("/v1/scans").body("image/png", pictures::codes(&["T20250101000001"])).send().await;
    let before = looked_at.load(Ordering::SeqCst);
    assert_ne!(answer.status, 503, "there is room for the other: {}", answer.text);
    // in the order of arrival all of the flood would have come first
    assert!(before <= 2 * cores, "{before} of the flood's {taken} frames were answered first");
    flooded.await.unwrap();
    assert!(looked_at.load(Ordering::SeqCst) >= taken, "what waited was looked at in the end");
    shop.close().await;
}
