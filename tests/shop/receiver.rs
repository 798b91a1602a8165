//! The merchant's end of the webhooks: a tiny HTTP server that remembers what it heard and answers as it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Instant,
};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{PATIENCE, POLL};

/// One request that was heard.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// The status that it was answered with.
    pub(crate) status: u16,
}

impl Heard {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Its `type`.
    pub(crate) fn event(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }
}

#[derive(Default)]
struct State {
    heard: Vec<Heard>,
    statuses: VecDeque<u16>,
}

/// The server; gone with the test.
pub(crate) struct Receiver {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Listens; answers 204 unless told otherwise.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let _ = serve(stream, &shared).await; // a caller that hangs up is no news
                });
            }
        });
        Self { url, state, task }
    }

    /// The next requests are answered with these.
    pub(crate) fn answer_next(&self, statuses: &[u16]) {
        self.state.lock().unwrap().statuses.extend(statuses);
    }

    /// What was heard so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.state.lock().unwrap().heard.clone()
    }

    /// Waits until so much was heard.
    pub(crate) async fn until_heard(&self, count: usize) -> Vec<Heard> {
        let began = Instant::now();
        loop {
            let heard = self.heard();
            if heard.len() >= count {
                return heard;
            }
            let events: Vec<_> = heard.iter().map(Heard::event).collect();
            assert!(began.elapsed() < PATIENCE, "{count} webhooks were awaited, heard were {events:?}");
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Requests of one connection, one after the other. Each head is a request line and headers; each body has a length.
async fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut headers, mut line) = (HeaderMap::new(), String::new());
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, HeaderValue::from_str(value.trim()).unwrap());
        }
        let length: usize = headers.get("content-length").unwrap().to_str().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let status = {
            let mut state = state.lock().unwrap();
            let status = state.statuses.pop_front().unwrap_or(204);
            state.heard.push(Heard { headers, body: String::from_utf8(body).unwrap(), status });
            status
        };
        let answer = if status == 204 {
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
        } else {
            format!("HTTP/1.1 {status} As Told\r\ncontent-length: 0\r\n\r\n")
        };
        stream.get_mut().write_all(answer.as_bytes()).await?;
    }
}
