//! The notifier: lets time end refunds, and tells merchants, each piece of news on its own ladder of retries.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    alipay,
    books::{News, Wallet},
    faults::{Kind, Operation},
    keys::KeyError,
    wechat,
    world::World,
};

/// How long a merchant may take to answer (wechat-pay §15); real time.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// One request to a merchant.
pub(crate) struct Attempt {
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// What a fault does to one send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoil {
    /// Changed after it was signed.
    Tampered,
    /// Signed wrongly.
    BadSignature,
}

/// The client that notifications go out with: no proxy, no redirects.
pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ANSWER_WITHIN)
        .user_agent("Mozilla/4.0")
        .build()
}

/// Runs until nobody can send news any more.
pub(crate) async fn run(world: Arc<World>, mut news: mpsc::UnboundedReceiver<News>, client: reqwest::Client) {
    let mut ladders = JoinSet::new();
    loop {
        let due = world.books(|books, _| books.next_due());
        tokio::select! {
            one = news.recv() => match one {
                Some(one) => {
                    ladders.spawn(deliver(Arc::clone(&world), client.clone(), one));
                }
                None => return,
            },
            () = until(due) => world.books(|books, now| books.catch_up(now)),
            () = world.changed.notified() => {}
            Some(_) = ladders.join_next() => {}
        }
    }
}

async fn until(due: Option<Timestamp>) {
    match due {
        Some(due) => {
            let wait = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
            tokio::time::sleep(wait).await;
        }
        None => std::future::pending().await,
    }
}

/// Either wallet's notification.
enum Event {
    Wechat(wechat::Event),
    Alipay(alipay::Event),
}

impl Event {
    fn of(news: &News, world: &World) -> Result<Option<Self>, KeyError> {
        Ok(match news.order.wallet {
            Wallet::Wechat => wechat::Event::of(news, world)?.map(Self::Wechat),
            Wallet::Alipay => Some(Self::Alipay(alipay::Event::of(news, world))),
        })
    }

    fn id(&self) -> &str {
        match self {
            Self::Wechat(event) => event.id(),
            Self::Alipay(event) => event.id(),
        }
    }

    fn ladder(&self) -> Vec<Duration> {
        match self {
            Self::Wechat(_) => wechat::Event::ladder().collect(),
            Self::Alipay(_) => alipay::Event::ladder().collect(),
        }
    }

    fn attempt(&self, world: &Arc<World>, spoil: Option<Spoil>) -> Result<Attempt, KeyError> {
        match self {
            Self::Wechat(event) => event.attempt(world, spoil),
            Self::Alipay(event) => event.attempt(world, spoil),
        }
    }

    fn is_received(&self, status: u16, body: &[u8]) -> bool {
        match self {
            Self::Wechat(_) => wechat::Event::is_received(status),
            Self::Alipay(_) => alipay::Event::is_received(status, body),
        }
    }
}

/// Sends one piece of news, again and again until it is received or the ladder ends.
async fn deliver(world: Arc<World>, client: reqwest::Client, news: News) {
    if let Err(error) = climb(&world, &client, &news).await {
        tracing::error!(%error, "a notification could not be made");
    }
    world.books(|books, _| books.told(&news));
}

async fn climb(world: &Arc<World>, client: &reqwest::Client, news: &News) -> Result<(), KeyError> {
    let Some(event) = Event::of(news, world)? else { return Ok(()) };
    let waits = event.ladder();
    for wait in std::iter::once(Duration::ZERO).chain(waits) {
        tokio::time::sleep(world.scale.of(wait)).await;
        let fault = world.draw(news.order.wallet, Operation::Notification);
        if let Some(fault) = fault {
            world.hold(fault.delay).await;
        }
        let spoil = match fault.map(|fault| fault.kind) {
            Some(Kind::DropNotification) => return Ok(()), // lost for good
            Some(Kind::LateNotification) => continue,      // it comes with the next step of the ladder
            Some(Kind::TamperedNotification) => Some(Spoil::Tampered),
            Some(Kind::BadSignature) => Some(Spoil::BadSignature),
            _ => None,
        };
        if send(client, &event, event.attempt(world, spoil)?).await {
            if fault.is_some_and(|fault| fault.kind == Kind::DuplicateNotification) {
                send(client, &event, event.attempt(world, None)?).await;
            }
            return Ok(());
        }
    }
    tracing::warn!(event = event.id(), "a notification was given up: the ladder is at its end");
    Ok(())
}

/// Whether the merchant answered, in time, that it has it.
async fn send(client: &reqwest::Client, event: &Event, attempt: Attempt) -> bool {
    let mut request = client.post(&attempt.url).body(attempt.body);
    for (name, value) in &attempt.headers {
        request = request.header(*name, value);
    }
    let answer = async {
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok::<_, reqwest::Error>((status, response.bytes().await?))
    };
    match answer.await {
        Ok((status, body)) => {
            let received = event.is_received(status, &body);
            tracing::info!(event = event.id(), status, received, "a notification was sent");
            received
        }
        Err(error) => {
            tracing::info!(event = event.id(), error = %error.without_url(), "a notification found nobody");
            false
        }
    }
}
