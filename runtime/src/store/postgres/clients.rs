//! Where an operation gets its client: from connections of our own, or from what the application has.

use super::{
    failure::Failure,
    link::{Link, Server},
    rows::{Prepared, Statements},
};
use crate::{
    random,
    store::{
        StoreError,
        remote::{Breaker, Effect, Links, Verdict},
    },
};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::Client;

/// A client, for one operation.
#[derive(Clone)]
pub(super) enum Lent {
    Own(Arc<Link>),
    Shared(Arc<Client>),
    Pooled(Arc<dyn Pooled>),
}

impl Lent {
    pub(super) fn client(&self) -> &Client {
        match self {
            Self::Own(link) => &link.client,
            Self::Shared(client) => client,
            Self::Pooled(pooled) => pooled.client(),
        }
    }

    /// What is prepared there. Nothing on a client of the application's: it may be another one each time, or lead through a pooler.
    pub(super) async fn prepared(&self, statements: &Statements) -> Result<Option<&Prepared>, Failure> {
        match self {
            Self::Own(link) => link.prepared(statements).await,
            Self::Shared(_) | Self::Pooled(_) => Ok(None),
        }
    }
}

/// A client that goes back to its pool when it is dropped.
pub(super) trait Pooled: Send + Sync {
    fn client(&self) -> &Client;
}

/// The application's pool.
#[async_trait]
pub(super) trait Pool: Send + Sync {
    async fn get(&self) -> Result<Arc<dyn Pooled>, StoreError>;
}

/// What the application has.
#[derive(Clone)]
pub(super) enum Given {
    Client(Arc<Client>),
    Pool(Arc<dyn Pool>),
}

pub(super) enum Clients {
    Own(Box<Own>),
    Given { given: Given, breaker: Breaker, limit: Duration },
}

pub(super) struct Own {
    pub(super) links: Links<Server>,
    /// For connections beside those that requests share.
    pub(super) server: Server,
}

/// How often an operation is made that the server keeps undoing because others were quicker, as only a stricter isolation than
/// `READ COMMITTED` lets it; and the longest pause before another attempt.
const TRIES: u32 = 16;
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

impl Clients {
    pub(super) async fn run<T, F, Fut>(&self, effect: Effect, operation: F) -> Result<T, StoreError>
    where
        F: Fn(Lent) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Failure>> + Send,
        T: Send,
    {
        let persistent = |lent| insist(lent, &operation);
        match self {
            Self::Own(own) => own.links.run(effect, persistent).await,
            Self::Given { given, breaker, limit } => lend(given, breaker, *limit, effect, persistent).await,
        }
    }

    /// A client for what may take longer than a request.
    pub(super) async fn patient(&self) -> Result<Lent, StoreError> {
        match self {
            Self::Own(own) => Ok(Lent::Own(own.server.plain().await?)),
            Self::Given { given, .. } => take(given).await,
        }
    }
}

async fn insist<T, F, Fut>(lent: Lent, operation: &F) -> Result<T, Failure>
where
    F: Fn(Lent) -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, Failure>> + Send,
{
    let mut tried = 0;
    loop {
        tried += 1;
        match operation(lent.clone()).await {
            Err(failure) if failure.is_collision() && tried < TRIES => {
                let most = (Duration::from_millis(1) * 2u32.pow(tried.min(5))).min(LONGEST_PAUSE);
                // Without random bytes it is merely less even.
                let part = random::bytes::<1>().map_or(128, |[byte]| u32::from(byte));
                sleep(most * part / 256).await;
            }
            outcome => return outcome,
        }
    }
}

async fn take(given: &Given) -> Result<Lent, StoreError> {
    match given {
        Given::Client(client) if client.is_closed() => Err(StoreError::unavailable(
            "the connection of the client that the store was given is closed, and nobody else's to open",
        )),
        Given::Client(client) => Ok(Lent::Shared(Arc::clone(client))),
        Given::Pool(pool) => pool.get().await.map(Lent::Pooled),
    }
}

async fn lend<T, F, Fut>(
    given: &Given,
    breaker: &Breaker,
    limit: Duration,
    effect: Effect,
    operation: F,
) -> Result<T, StoreError>
where
    F: Fn(Lent) -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, Failure>> + Send,
{
    let deadline = Instant::now() + limit;
    let mut tries = if effect == Effect::Read { 2 } else { 1 };
    loop {
        breaker.pass()?;
        // A pool that is merely busy is no reason to turn others away.
        let lent = match timeout_at(deadline, take(given)).await {
            Ok(taken) => taken.inspect(|_| breaker.worked()).inspect_err(|error| breaker.failed(error))?,
            Err(_) => return Err(StoreError::unavailable(format!("no client from the pool within {limit:?}"))),
        };
        tries -= 1;
        let failure = match timeout_at(deadline, operation(lent)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) => failure,
            Err(_) => return Err(effect.lost(format!("no answer within {limit:?}"))),
        };
        match failure.verdict() {
            Verdict::Broken | Verdict::Lost if tries > 0 => {}
            Verdict::Broken | Verdict::Lost => return Err(effect.lost(failure)),
            Verdict::Refused | Verdict::Unfit => return Err(failure.into()),
        }
    }
}
