//! Connections of our own: how one is opened, what it is told at its beginning, and how it ends.

use super::{
    address::Address,
    clients::Lent,
    failure::Failure,
    rows::{Prepared, Statements},
};
use crate::store::{
    StoreError,
    remote::{Engine, Verdict},
};
use async_trait::async_trait;
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    sync::{OnceCell, oneshot},
    time::timeout,
};
use tokio_postgres::{Client, Config};

/// How long a connection may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection of our own.
pub(super) struct Link {
    pub(super) client: Client,
    prepared: Preparing,
    /// Gone with the link, which is how the task that reads and writes learns of it.
    _held: oneshot::Sender<()>,
}

/// Whether statements are prepared once or sent along with every request.
enum Preparing {
    /// When the connection is opened; only where the tables are not there yet, with the first request that finds them.
    Once(OnceCell<Prepared>),
    /// Behind a pooler the next request may meet another server process, which knows nothing of them.
    Never,
}

impl Link {
    pub(super) async fn prepared(&self, statements: &Statements) -> Result<Option<&Prepared>, Failure> {
        match &self.prepared {
            Preparing::Once(cell) => cell.get_or_try_init(|| statements.prepare(&self.client)).await.map(Some),
            Preparing::Never => Ok(None),
        }
    }
}

/// Opens connections to one address.
pub(super) struct Server {
    address: Address,
    statements: Arc<Statements>,
    /// For the server to give up on a statement a little before we do: then its answer still says that nothing has happened.
    patience: Duration,
}

impl Server {
    pub(super) fn new(address: Address, statements: Arc<Statements>, limit: Duration) -> Self {
        Self { address, statements, patience: limit * 3 / 4 }
    }

    /// The settings that a connection begins with; those of the connection string come later and so prevail.
    ///
    /// Every statement finds its rows by an index, and pages in its order. Without the last two settings, a plan that is made while
    /// little is known of the tables reads all of them, or all the sessions of an owner for each page.
    fn options(&self) -> String {
        let patience = self.patience.as_millis().max(1);
        let theirs = self.address.config.get_options().unwrap_or_default();
        format!(
            "-c statement_timeout={patience} -c lock_timeout={patience} -c default_transaction_isolation=read\\ committed \
             -c enable_seqscan=off -c enable_bitmapscan=off {theirs}"
        )
    }

    /// A connection that is told nothing but what the connection string says.
    pub(super) async fn plain(&self) -> Result<Arc<Link>, Failure> {
        self.open(&self.address.config, Preparing::Never).await
    }

    async fn open(&self, config: &Config, prepared: Preparing) -> Result<Arc<Link>, Failure> {
        let (client, connection) = config.connect(self.address.tls.clone()).await?;
        let (held, gone) = oneshot::channel();
        tokio::spawn(drive(connection, gone));
        Ok(Arc::new(Link { client, prepared, _held: held }))
    }

    async fn ready(&self) -> Result<Arc<Link>, Failure> {
        let mut config = self.address.config.clone();
        let link = match self.open(config.options(self.options()), Preparing::Once(OnceCell::new())).await {
            Err(failure) if failure.is_refused_setting() => return self.plain().await,
            other => other?,
        };
        match link.prepared(&self.statements).await {
            // Whoever is about to call `migrate()` needs a store to call it on.
            Err(failure) if !failure.is_unmigrated() => Err(failure),
            _ => Ok(link),
        }
    }
}

/// Reads and writes until the connection ends, or has had its time to end after nobody holds it any more.
async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>, mut gone: oneshot::Receiver<()>) {
    let mut connection = pin!(connection);
    let ended = poll_fn(|context| {
        // What it ended with is told by the requests it had.
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        Pin::new(&mut gone).poll(context).map(|_| false)
    });
    if !ended.await {
        drop(timeout(FAREWELL, connection).await);
    }
}

#[async_trait]
impl Engine for Server {
    type Connection = Lent;
    type Error = Failure;

    async fn connect(&self) -> Result<Lent, StoreError> {
        let link = self
            .ready()
            .await
            .map_err(|failure| StoreError::unavailable(format!("{} cannot be used: {failure}", self.address.place())))?;
        Ok(Lent::Own(link))
    }

    fn is_closed(lent: &Lent) -> bool {
        lent.client().is_closed()
    }

    async fn probe(lent: &Lent) -> Result<(), Failure> {
        Ok(lent.client().simple_query("").await.map(drop)?)
    }

    fn verdict(failure: &Failure) -> Verdict {
        failure.verdict()
    }
}
