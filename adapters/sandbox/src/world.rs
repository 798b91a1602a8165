//! What every call shares: the books, the faults, the keys, and the way to the notifier.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};

use crate::{
    Options,
    books::{Books, News, Wallet},
    directory::{Identity, PlatformCertificate},
    exchanges::Exchanges,
    faults::{Faults, Fired, Operation},
    files::Files,
    keeper::Keeper,
    keys::KeyError,
    scale::Scale,
    wechat::Nonces,
};

/// The state of one sandbox, in memory. A restart forgets orders and refunds unless somebody keeps them, never keys.
pub(crate) struct World {
    pub(crate) identity: Identity,
    pub(crate) scale: Scale,
    pub(crate) control_token: Option<String>,
    /// Whether signatures of requests are looked at; not for load tests only.
    pub(crate) verifies: bool,
    pub(crate) nonces: Mutex<Nonces>,
    /// Rings when the time of the next change may be another one.
    pub(crate) changed: Notify,
    /// The last calls of the wallets' clients.
    pub(crate) exchanges: Mutex<Exchanges>,
    books: Mutex<(Books, Option<Keeper>)>,
    faults: Mutex<Faults>,
    /// Bills that wait to be fetched.
    pub(crate) files: Mutex<Files>,
    /// Newest last; two at most, the older one for the overlap.
    platform: RwLock<Vec<Arc<PlatformCertificate>>>,
    rotations: Mutex<usize>,
    news: mpsc::UnboundedSender<News>,
    stopping: watch::Receiver<bool>,
}

impl World {
    pub(crate) fn new(
        identity: Identity,
        scale: Scale,
        options: &Options,
        books: (Books, Option<Keeper>),
        news: mpsc::UnboundedSender<News>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            scale,
            control_token: options.control_token.clone(),
            verifies: !options.no_verify,
            nonces: Mutex::default(),
            changed: Notify::new(),
            exchanges: Mutex::default(),
            books: Mutex::new(books),
            faults: Mutex::new(Faults::new(options.seed)),
            files: Mutex::default(),
            platform: RwLock::new(vec![Arc::clone(&identity.wechat.platform)]),
            rotations: Mutex::new(0),
            news,
            stopping,
            identity,
        }
    }

    /// Does something with the books, now; what they have to tell is passed on to the notifier.
    pub(crate) fn books<T>(&self, act: impl FnOnce(&mut Books, Timestamp) -> T) -> T {
        let mut kept = lock(&self.books);
        let (books, keeper) = &mut *kept;
        let due = books.next_due();
        let result = act(books, Timestamp::now());
        let news = books.take_news();
        let due_changed = books.next_due() != due;
        let changes = books.take_changes();
        if let Some(keeper) = keeper.as_mut().filter(|_| !changes.is_empty()) {
            keeper.keep(&changes); // before anybody is answered
        }
        drop(kept);
        for one in news {
            // nobody listens any more only while the sandbox stops
            let _ = self.news.send(one);
        }
        if due_changed {
            self.changed.notify_one();
        }
        result
    }

    /// The faults.
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    /// The fault that meets this call, if one does.
    pub(crate) fn draw(&self, wallet: Wallet, operation: Operation) -> Option<Fired> {
        let fired = self.faults().draw(wallet, operation)?;
        tracing::info!(wallet = wallet.word(), operation = operation.word(), kind = fired.kind.word(), "a fault fires");
        Some(fired)
    }

    /// Holds a call, in real time; a stop of the sandbox lets it go.
    pub(crate) async fn hold(&self, delay: Duration) {
        if delay.is_zero() {
            return;
        }
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }

    /// The platform certificates that are valid, newest last.
    pub(crate) fn platform_certificates(&self) -> Vec<Arc<PlatformCertificate>> {
        self.platform.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens what was encrypted for the wallet, under the key that a `Wechatpay-Serial` names.
    pub(crate) fn open_sealed(&self, serial: Option<&str>, sealed: &[u8]) -> Option<Vec<u8>> {
        let serial = serial?;
        let wechat = &self.identity.wechat;
        if serial == wechat.params.platform_public_key_id {
            return wechat.public_key_mode.open(sealed);
        }
        let platform = self.platform_certificates();
        let named = platform.iter().find(|one| one.certificate.serial.eq_ignore_ascii_case(serial))?;
        named.key.open(sealed)
    }

    /// Makes a new platform certificate the one that signs; the former stays valid until the next rotation. Slow: it
    /// makes a key.
    pub(crate) fn rotate(&self) -> Result<Arc<PlatformCertificate>, KeyError> {
        let mut rotations = lock(&self.rotations); // one rotation at a time
        let fresh = Arc::new(self.identity.new_platform_certificate(*rotations + 1)?);
        *rotations += 1;
        let mut platform = self.platform.write().unwrap_or_else(PoisonError::into_inner);
        platform.push(Arc::clone(&fresh));
        let kept = platform.len().saturating_sub(2);
        platform.drain(..kept);
        Ok(fresh)
    }
}

/// A lock whose holder panicked is taken all the same: every change here is complete before the next can begin.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
