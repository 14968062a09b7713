//! Connections of a pool, what became of a batch on one of them, and what a server's errors mean.

use crate::store::{
    StoreError,
    remote::{Breaker, CONNECT_LIMIT, Effect},
    sweeping::jittered,
};
use mysql_async::{Conn, Error, Opts, Pool, Row, ServerError, prelude::Queryable};
use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    task::{Context, Waker},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

/// How long a transaction that lost a deadlock waits before it is made again.
const AFTER_DEADLOCK: Duration = Duration::from_millis(4);

/// How long a connection is passed on before the pool looks at it again. Its way through the pool is the work of another task,
/// which takes a quarter as long as a load.
const TRUSTED: Duration = Duration::from_secs(1);

/// The way to a server.
pub(super) struct Access {
    source: Source,
    breaker: Arc<Breaker>,
    limit: Duration,
}

/// Whose pool connections come from.
enum Source {
    Application(Pool),
    Own(Own),
}

/// Connections that only this store uses.
struct Own {
    opts: Opts,
    /// As many as there may be connections: a request that has a turn waits for nothing but the server.
    turns: Arc<Semaphore>,
    kept: Mutex<Arc<Kept>>,
}

/// A pool, and the connections that were used a moment ago. All of it lives on one runtime: its sockets and tasks end with that.
struct Kept {
    pool: Pool,
    at_hand: Arc<AtHand>,
    /// Gives back to the pool what has not been used for a moment. Only when a request needs it would be too late: the pool takes it
    /// in its own time, and opens another one meanwhile.
    tidying: JoinHandle<()>,
}

impl Own {
    /// Connections of the runtime that runs this, or of another one that lives.
    fn kept(&self) -> Arc<Kept> {
        let mut kept = self.current();
        // A runtime drops its tasks when it ends.
        if kept.tidying.is_finished() {
            *kept = Arc::new(Kept::new(self.opts.clone(), Arc::default()));
        }
        Arc::clone(&kept)
    }

    /// From now on these are not used any more, except for those at hand: they have worked a moment ago.
    fn replace(&self, distrusted: &Arc<Kept>) {
        let mut kept = self.current();
        if Arc::ptr_eq(&kept, distrusted) {
            *kept = Arc::new(Kept::new(self.opts.clone(), Arc::clone(&distrusted.at_hand)));
        }
    }

    fn current(&self) -> MutexGuard<'_, Arc<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn new(opts: Opts, at_hand: Arc<AtHand>) -> Self {
        let tidied = Arc::clone(&at_hand);
        let tidying = tokio::spawn(async move {
            loop {
                sleep(TRUSTED).await;
                tidied.all().retain(|(_, seen)| seen.elapsed() < TRUSTED);
            }
        });
        Self { pool: Pool::new(opts), at_hand, tidying }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.tidying.abort();
    }
}

/// Connections that were used a moment ago, each with when the pool last looked at it.
#[derive(Default)]
struct AtHand(Mutex<Vec<(Conn, Instant)>>);

impl AtHand {
    /// The last one, as the server has most of it in its caches.
    fn take(&self) -> Option<(Conn, Instant)> {
        self.all().pop()
    }

    fn put(&self, conn: Conn, seen: Instant) {
        if seen.elapsed() < TRUSTED {
            self.all().push((conn, seen));
        }
    }

    /// Where one has died, the pool should look at all of them.
    fn distrust(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, Vec<(Conn, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long something may take, and when that is over.
#[derive(Clone, Copy)]
pub(super) struct Term {
    length: Duration,
    ends: Instant,
}

impl Term {
    pub(super) fn from_now(length: Duration) -> Self {
        Self { length, ends: Instant::now() + length }
    }

    /// Half of what is left of it.
    fn half(self) -> Self {
        let left = self.ends.saturating_duration_since(Instant::now());
        Self { length: self.length, ends: self.ends - left / 2 }
    }
}

/// What a server says of one statement.
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    /// What the statement has made of `LAST_INSERT_ID()`, if it did.
    pub(super) insert_id: Option<u64>,
}

impl Access {
    /// Connections that only this store uses.
    pub(super) fn own(opts: Opts, connections: usize, limit: Duration) -> Self {
        let kept = Mutex::new(Arc::new(Kept::new(opts.clone(), Arc::default())));
        let own = Own { opts, turns: Arc::new(Semaphore::new(connections)), kept };
        Self { source: Source::Own(own), breaker: Arc::default(), limit }
    }

    pub(super) fn of_application(pool: Pool, limit: Duration) -> Self {
        Self { source: Source::Application(pool), breaker: Arc::default(), limit }
    }

    /// Makes sure that there is a server, and that it lets us in.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        self.lease(Term::from_now(CONNECT_LIMIT)).await.map(Lease::keep)
    }

    /// Sends a batch and answers what each statement said.
    pub(super) async fn run(&self, effect: Effect, batch: &str) -> Result<Vec<Answer>, StoreError> {
        self.attempt(effect, batch).await?.map_err(refused)
    }

    /// The same; the inner error is a refusal that has left nothing behind.
    pub(super) async fn attempt(&self, effect: Effect, batch: &str) -> Result<Result<Vec<Answer>, ServerError>, StoreError> {
        let term = self.term();
        let mut reads_left = if effect == Effect::Read { 2 } else { 1 };
        loop {
            let mut lease = self.lease(term).await?;
            // A connection that was idle may be one that a balancer has forgotten, and stay silent. Time for another one is left.
            let first_try = if reads_left > 1 && lease.was_idle { term.half() } else { term };
            match lease.ask(effect, first_try, batch).await {
                Ok(answers) => {
                    lease.keep();
                    return Ok(Ok(answers));
                }
                Err(Failure::Refused(refusal)) => {
                    if let Err(refusal) = lease.recover(refusal, term).await {
                        return Ok(Err(refusal));
                    }
                }
                Err(Failure::Silent(_)) if first_try.ends < term.ends => {
                    reads_left -= 1;
                    if let (Source::Own(own), Some(kept)) = (&self.source, &lease.kept) {
                        own.replace(kept);
                    }
                }
                Err(Failure::Broken(_)) if reads_left > 1 => reads_left -= 1,
                Err(Failure::Broken(error) | Failure::Silent(error) | Failure::Final(error)) => return Err(error),
            }
        }
    }

    /// How long an operation may take, from now on.
    pub(super) fn term(&self) -> Term {
        Term::from_now(self.limit)
    }

    /// A connection for several batches in a row.
    pub(super) async fn lease(&self, term: Term) -> Result<Lease, StoreError> {
        let unavailable = |why: &str| StoreError::unavailable(format!("{why} {:?}", term.length));
        // A connection that is open is no attempt, even if the server lets no one else in.
        let pass = if self.has_idle() { None } else { Some(self.breaker.pass()?) };
        let (pool, kept, turn) = match &self.source {
            Source::Application(pool) => (pool.clone(), None, None),
            Source::Own(own) => {
                let turn = timeout_at(term.ends, Arc::clone(&own.turns).acquire_owned()).await;
                let turn = turn.map_err(|_| unavailable("there may be more .connections(n), all of them were busy for"))?;
                let kept = own.kept();
                if let Some((conn, seen)) = kept.at_hand.take() {
                    return Ok(Lease { conn: Some(conn), seen, was_idle: false, kept: Some(kept), _turn: turn.ok() });
                }
                (kept.pool.clone(), Some(kept), turn.ok())
            }
        };
        pass.map_or(Ok(()), |pass| self.breaker.still(pass))?;
        let mut getting = Box::pin(pool.get_conn());
        if let Ok(got) = timeout_at(term.ends, &mut getting).await {
            let mut conn = settled(&self.breaker, got)?;
            // Nothing of what we do outlasts a transaction, so there is nothing to reset for its next user.
            conn.reset_connection(false);
            return Ok(Lease { conn: Some(conn), seen: Instant::now(), was_idle: true, kept, _turn: turn });
        }
        if let Some(turn) = turn {
            // It is being opened, and the next request may as well find it open.
            let breaker = Arc::clone(&self.breaker);
            tokio::spawn(async move {
                match timeout(CONNECT_LIMIT, getting).await {
                    Ok(got) => drop(settled(&breaker, got)),
                    Err(_) => breaker.failed(&format!("no connection within {CONNECT_LIMIT:?}")),
                }
                drop(turn);
            });
        }
        Err(unavailable("no connection within"))
    }

    fn has_idle(&self) -> bool {
        let in_pool = |pool: &Pool| pool.metrics().connections_in_pool.load(Ordering::Relaxed) > 0;
        match &self.source {
            Source::Application(pool) => in_pool(pool),
            Source::Own(own) => {
                let kept = own.kept();
                !kept.at_hand.all().is_empty() || in_pool(&kept.pool)
            }
        }
    }
}

fn settled(breaker: &Breaker, got: Result<Conn, Error>) -> Result<Conn, StoreError> {
    match got {
        Ok(conn) => {
            breaker.worked();
            Ok(conn)
        }
        Err(error) => {
            let why = explained_error(&error);
            breaker.failed(&why);
            Err(StoreError::unavailable(why))
        }
    }
}

/// A connection taken from the pool. Unless it is given back, it is closed, and the server undoes what was not committed.
pub(super) struct Lease {
    conn: Option<Conn>,
    /// When the pool last looked at it.
    seen: Instant,
    /// Whether it is not known to have worked a moment ago.
    was_idle: bool,
    /// Where it goes back to, unless it is the application's.
    kept: Option<Arc<Kept>>,
    _turn: Option<OwnedSemaphorePermit>,
}

/// Why a batch was not answered.
pub(super) enum Failure {
    /// The server said no. The connection is good; a transaction may be open there.
    Refused(ServerError),
    /// The connection was lost.
    Broken(StoreError),
    /// There was no answer in time.
    Silent(StoreError),
    /// Another try would end the same way, or come too late.
    Final(StoreError),
}

impl Failure {
    /// What it is where nobody tries again.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Refused(refusal) => refused(refusal),
            Self::Broken(error) | Self::Silent(error) | Self::Final(error) => error,
        }
    }
}

impl Lease {
    pub(super) async fn ask(&mut self, effect: Effect, term: Term, batch: &str) -> Result<Vec<Answer>, Failure> {
        let Some(conn) = &mut self.conn else {
            return Err(Failure::Final(StoreError::unavailable("the connection was given back")));
        };
        let error = match timeout_at(term.ends, answers(conn, batch)).await {
            Ok(Ok(answers)) => return Ok(answers),
            Ok(Err(Error::Server(refusal))) if is_unfit(&refusal) => {
                self.conn.take().into_iter().for_each(close);
                return Err(Failure::Final(refused(refusal)));
            }
            Ok(Err(Error::Server(refusal))) => return Err(Failure::Refused(refusal)),
            Ok(Err(error)) => error,
            Err(_) => return Err(Failure::Silent(effect.lost(format!("no answer within {:?}", term.length)))),
        };
        if let Some(kept) = &self.kept {
            kept.at_hand.distrust();
        }
        let why = explained_error(&error);
        // The client has refused to send it.
        if why.contains(TOO_LARGE) {
            Err(Failure::Final(StoreError::unavailable(why)))
        } else {
            Err(Failure::Broken(effect.lost(why)))
        }
    }

    /// Gives the connection back without a transaction, or not at all, after a refusal that is given back too unless another try is
    /// worth it.
    pub(super) async fn recover(mut self, refusal: ServerError, term: Term) -> Result<(), ServerError> {
        if let Some(conn) = &mut self.conn
            && let Ok(Ok(())) = timeout_at(term.ends, conn.query_drop("ROLLBACK")).await
        {
            self.keep();
        }
        let pause = jittered(AFTER_DEADLOCK);
        if !is_worth_another_try(&refusal) || Instant::now() + pause >= term.ends {
            return Err(refusal);
        }
        sleep(pause).await;
        Ok(())
    }

    pub(super) fn keep(mut self) {
        // Dropped, it goes back to the pool.
        if let (Some(conn), Some(kept)) = (self.conn.take(), &self.kept) {
            kept.at_hand.put(conn, self.seen);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            close(conn);
        }
    }
}

/// Closes a connection without waiting for anything, whatever goes on there. Dropped as it is, the pool would wait for the rest of
/// the answers and then hand it out with an open transaction.
fn close(conn: Conn) {
    // The first step marks it as closed. What is left of it, a farewell to the server, may be lost.
    let _ = pin!(conn.disconnect()).as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

async fn answers(conn: &mut Conn, batch: &str) -> Result<Vec<Answer>, Error> {
    let mut result = conn.query_iter(batch).await?;
    let mut answers = Vec::new();
    while result.columns().is_some() {
        let insert_id = result.last_insert_id();
        answers.push(Answer { rows: result.collect().await?, insert_id });
    }
    // Says if a statement has failed; those after it were not run.
    result.drop_result().await?;
    Ok(answers)
}

/// What the client says of a statement that is too large.
const TOO_LARGE: &str = "max_allowed_packet";

/// A deadlock, or the conflict of a cluster that commits optimistically: it was undone, and may go well now. Not a lock that was
/// waited for in vain: that was patience enough.
fn is_worth_another_try(refusal: &ServerError) -> bool {
    matches!(refusal.code, 1020 | 1213 | 3101)
}

pub(super) fn is_duplicate(refusal: &ServerError) -> bool {
    refusal.code == 1062
}

pub(super) fn is_missing_table(refusal: &ServerError) -> bool {
    refusal.code == 1146
}

/// The server will go on saying no, as a replica, on its way down or outside its cluster; another connection may find a better one.
fn is_unfit(refusal: &ServerError) -> bool {
    matches!(refusal.code, 1047 | 1053 | 1290 | 1792 | 1836 | 1927 | 3100)
}

pub(super) fn refused(refusal: ServerError) -> StoreError {
    StoreError::unavailable(explained(&refusal))
}

/// A server's error and what to do about it.
fn explained(refusal: &ServerError) -> String {
    let advice = match refusal.code {
        1040 | 1203 | 1226 => "; lower .connections(n), or raise the server's max_connections",
        1044 | 1142 => {
            "; check the database in the URL, and grant this user SELECT, INSERT, UPDATE and DELETE, and CREATE for migrate()"
        }
        1045 | 1698 => "; check user and password in the URL, where special characters are percent-encoded",
        1049 => "; create the database first, or give another one in the URL",
        1054 | 1146 => "; call MySqlStore::migrate() once, or run the SQL that MySqlStore::schema() gives",
        1153 => "; set the server's max_allowed_packet to 16M or more",
        1665 => "; set the server's binlog_format to ROW or MIXED",
        _ => "",
    };
    format!("{} (error {}){advice}", refusal.message, refusal.code)
}

fn explained_error(error: &Error) -> String {
    match error {
        Error::Server(refusal) => explained(refusal),
        // What it holds besides its text may be what somebody stored.
        other => {
            let text = other.to_string();
            let advice = if text.contains(TOO_LARGE) { "; set the server's max_allowed_packet to 16M or more" } else { "" };
            format!("{text}{advice}")
        }
    }
}
