//! Camera frames a second of a core, over HTTP, from bytes to the classified answer: our service beside the same thing as one would
//! write it in Python (`benches/peers/fastapi_scan.py`), in one run on the same machine.
//!
//!     python3 -m venv VENV && VENV/bin/pip install fastapi 'uvicorn[standard]' opencv-python-headless zxing-cpp
//!     PATH=VENV/bin:$PATH cargo bench --bench scan_service
//!
//! Ours also checks the caller's token, looks the number up in the ledger and keeps the scan there. Both are asked in turns, and
//! what counts is the CPU time of their processes.

mod measure;

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use serde_json::json;

use measure::{FRAMES, Failure, Folder, Running, merchant_token};

/// What stands in the frames that show an order: `fixtures/frames/truth.csv`.
const ORDERS: [&str; 3] = ["RF20240119EP74RYMNWLSEW9YJUF3", "ORD-20240320W9M2MA6DVL", "RF20261027HB0T4KLV"];
/// How often each is asked for all frames.
const ROUNDS: usize = 5;
/// How often a round has each frame.
const TIMES: usize = 20;
const AT_ONCE: usize = 2;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = Folder::make()?;
    compare(folder.path()).await
}

async fn compare(folder: &Path) -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (_sandbox, _) = Running::sandbox(folder, "1")?;
    let config = folder.join("scanback.toml");
    let env = [("SCANBACK__HTTP__LISTEN", "127.0.0.1:0"), ("SCANBACK__LIMITS__REQUESTS_PER_SECOND", "100000")];
    let token = merchant_token(&config, &env)?;
    let (ours, service) = Running::start(&["serve", "--config", config.to_str().ok_or("its name")?], &env)?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let peer = Command::new("python3")
        .args(["-m", "uvicorn", "fastapi_scan:app", "--app-dir"])
        .arg(root.join("benches/peers"))
        .args(["--port", &port, "--no-access-log", "--log-level", "warning"])
        .stdout(Stdio::null())
        .spawn()?;
    let peer = Running::of(peer);

    let http = reqwest::Client::builder().no_proxy().build()?;
    for number in ORDERS {
        let order = json!({ "order_no": number, "wallet": "wechat", "amount": { "value": 1000, "currency": "CNY" },
                            "paid_at": jiff::Timestamp::now().to_string(), "kind": "sale" });
        let answer = http.post(format!("{service}/v1/orders")).bearer_auth(&token).json(&order).send().await?;
        answer.error_for_status()?;
    }
    let frames: Vec<Vec<u8>> =
        FRAMES.iter().map(|name| std::fs::read(root.join("fixtures/frames").join(name))).collect::<Result<_, _>>()?;
    let ask_ours = |frame: Vec<u8>| {
        let request = http.post(format!("{service}/v1/scans")).bearer_auth(&token);
        request.header("content-type", "image/jpeg").body(frame)
    };
    let ask_peer = |frame: Vec<u8>| http.post(format!("http://127.0.0.1:{port}/scan")).body(frame);
    let mut tries = 0;
    while ask_peer(frames[0].clone()).send().await.is_err() {
        tries += 1;
        if tries > 100 {
            return Err("the peer doesn't listen: are its packages installed? (see the top of this file)".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    round(&frames, ask_ours).await?;
    round(&frames, ask_peer).await?;

    let (mut our_cpu, mut peer_cpu) = (0.0, 0.0);
    for _ in 0..ROUNDS {
        let (our_before, peer_before) = (ours.cpu()?, peer.cpu()?);
        round(&frames, ask_ours).await?;
        round(&frames, ask_peer).await?;
        our_cpu += ours.cpu()? - our_before;
        peer_cpu += peer.cpu()? - peer_before;
    }
    let asked = f64::from(u32::try_from(ROUNDS * TIMES * FRAMES.len())?);
    println!("1280 x 720, {} frames, {AT_ONCE} at once, bytes to classified answer over HTTP", FRAMES.len());
    println!("  scanback                       {:6.0} frames a second of a core", asked / our_cpu);
    println!("  FastAPI, OpenCV, zxing-cpp     {:6.0}", asked / peer_cpu);
    println!("  ratio                          {:6.2} (to reach 1.5)", peer_cpu / our_cpu);
    Ok(())
}

async fn round(frames: &[Vec<u8>], ask: impl Fn(Vec<u8>) -> reqwest::RequestBuilder) -> Result<(), Failure> {
    let frames = frames.iter().cycle().take(frames.len() * TIMES);
    let mut answers = stream::iter(frames).map(|frame| ask(frame.clone()).send()).buffer_unordered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        answer?.error_for_status()?.bytes().await?;
    }
    Ok(())
}
