//! Where a simulation plays Redis: everything of ours is real, the line with its keeper and time-outs too; behind it the simulator
//! runs what the scripts do. Not part of a release (feature `simulated`).

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use redis::{Arg, Cmd, ErrorKind, RedisFuture, Script, Value};

use super::{CLAIM, FREE, RENEW, STORE, link::PROBE, quota::TAKE};

/// A script that a replica runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// `claim.lua`
    Claim,
    /// `store.lua`
    Store,
    /// `free.lua`
    Free,
    /// `renew.lua`
    Renew,
    /// `probe.lua`
    Probe,
    /// `quota.lua`
    TakeQuota,
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Says {
    /// A number.
    Number(i64),
    /// Numbers.
    Numbers(Vec<i64>),
    /// Texts.
    Texts(Vec<String>),
}

/// The answer to a script: `None` where the line broke before one came.
pub type Said<'a> = Pin<Box<dyn Future<Output = Option<Says>> + Send + 'a>>;

/// Redis as one replica reaches it.
pub trait SimulatedRedis: Send + Sync {
    /// Runs a script with these keys and arguments.
    fn run(&self, script: Runs, keys: Vec<String>, arguments: Vec<String>) -> Said<'_>;
}

/// The line to it.
#[derive(Clone)]
pub(super) struct Line(pub(super) Arc<dyn SimulatedRedis>);

impl Line {
    /// Takes `EVALSHA hash count key… argument…`, all that the scripts need.
    pub(super) fn command<'a>(&'a self, command: &Cmd) -> RedisFuture<'a, Value> {
        let read = read(command);
        Box::pin(async move {
            let (script, keys, arguments) = read.ok_or((ErrorKind::Client, "no script of ours"))?;
            match self.0.run(script, keys, arguments).await {
                Some(Says::Number(number)) => Ok(Value::Int(number)),
                Some(Says::Numbers(numbers)) => Ok(Value::Array(numbers.into_iter().map(Value::Int).collect())),
                Some(Says::Texts(texts)) => {
                    Ok(Value::Array(texts.into_iter().map(|text| Value::BulkString(text.into_bytes())).collect()))
                }
                None => Err((ErrorKind::Io, "the simulated line broke").into()),
            }
        })
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

fn read(command: &Cmd) -> Option<(Runs, Vec<String>, Vec<String>)> {
    let mut words = command.args_iter().map(|word| match word {
        Arg::Simple(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    });
    if words.next()?? != "EVALSHA" {
        return None;
    }
    let hash = words.next()??;
    let count: usize = words.next()??.parse().ok()?;
    let words: Vec<String> = words.collect::<Option<_>>()?;
    let (keys, arguments) = words.split_at_checked(count)?;
    Some((script_of(&hash)?, keys.to_vec(), arguments.to_vec()))
}

fn script_of(hash: &str) -> Option<Runs> {
    let scripts: [(&Script, Runs); 6] = [
        (&CLAIM, Runs::Claim),
        (&STORE, Runs::Store),
        (&FREE, Runs::Free),
        (&RENEW, Runs::Renew),
        (&PROBE, Runs::Probe),
        (&TAKE, Runs::TakeQuota),
    ];
    scripts.into_iter().find(|(script, _)| script.get_hash() == hash).map(|(_, runs)| runs)
}
