//! A merchant's notification address: keeps what arrives and answers as it is told.

use std::{collections::HashMap, sync::Arc, time::Duration};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn form(&self) -> HashMap<String, String> {
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let text = String::from_utf8(self.body.clone()).unwrap();
        text.split('&').map(|pair| pair.split_once('=').unwrap()).map(|(n, v)| (decode(n), decode(v))).collect()
    }
}

pub(crate) struct Listener {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
    refusals: Arc<Mutex<usize>>,
}

impl Listener {
    /// Answers `answer` (a body, with 200) from the beginning.
    pub(crate) async fn open(answer: &'static str) -> Self {
        Self::refusing(0, answer).await
    }

    /// Answers 500 this often first.
    pub(crate) async fn refusing(times: usize, answer: &'static str) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/notify", socket.local_addr().unwrap());
        let (received, refusals) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(times)));
        let (inbox, left) = (Arc::clone(&received), Arc::clone(&refusals));
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&inbox), Arc::clone(&left), answer));
            }
        });
        Self { url, received, refusals }
    }

    /// Answers 500 this often from now on.
    pub(crate) async fn refuse(&self, times: usize) {
        *self.refusals.lock().await = times;
    }

    pub(crate) async fn all(&self) -> Vec<Received> {
        self.received.lock().await.clone()
    }

    pub(crate) async fn refusals_left(&self) -> usize {
        *self.refusals.lock().await
    }

    /// Waits until this many have arrived.
    pub(crate) async fn until(&self, count: usize) -> Vec<Received> {
        for _ in 0..600 {
            let all = self.all().await;
            if all.len() >= count {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{} of {count} notifications arrived", self.all().await.len());
    }
}

async fn serve(
    mut stream: TcpStream,
    inbox: Arc<Mutex<Vec<Received>>>,
    refusals: Arc<Mutex<usize>>,
    answer: &'static str,
) {
    let mut bytes = Vec::new();
    let received = loop {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
        if let Some(received) = parse(&bytes) {
            break received;
        }
    };
    inbox.lock().await.push(received);
    let mut left = refusals.lock().await;
    let status = if *left > 0 { "500 Internal Server Error" } else { "200 OK" };
    *left = left.saturating_sub(1);
    let length = answer.len();
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}");
    let _ = stream.write_all(text.as_bytes()).await;
}

/// The request, once all of it is there.
fn parse(bytes: &[u8]) -> Option<Received> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut headers = HeaderMap::new();
    for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        let name: HeaderName = name.parse().unwrap();
        headers.insert(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    let length: usize = headers.get("content-length")?.to_str().unwrap().parse().unwrap();
    (bytes.len() >= end + length).then(|| Received { headers, body: bytes[end..end + length].to_vec() })
}
