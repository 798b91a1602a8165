//! Files that wait to be fetched: a bill is made when it is asked for, and its address lives for a short while.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How long an address lives (wechat-pay §16, alipay §16).
const LIFE: Duration = Duration::from_secs(30);

/// The files that can be fetched now, by the token in their address.
#[derive(Debug, Default)]
pub(crate) struct Files(HashMap<String, (Instant, Vec<u8>)>);

impl Files {
    /// Keeps a file; its token.
    pub(crate) fn keep(&mut self, file: Vec<u8>) -> String {
        self.0.retain(|_, (made, _)| made.elapsed() < LIFE);
        let token = hex::encode(rand::random::<[u8; 16]>());
        self.0.insert(token.clone(), (Instant::now(), file));
        token
    }

    /// The file of a token that still lives. It may be fetched again.
    pub(crate) fn get(&self, token: &str) -> Option<&[u8]> {
        self.0.get(token).filter(|(made, _)| made.elapsed() < LIFE).map(|(_, file)| file.as_slice())
    }
}
