//! What a session layer was configured with, shared by every request through it.

use crate::{
    clock::{Clock, SystemClock},
    cookie::{CookiePolicy, CookieWriter},
    error::{ErrorPage, SessionError},
    events::{self, Refused},
    hashing::SecretHasher,
    lifetime::Lifetime,
    record::{Accepted, Header, Presented, Record, Timestamp},
    schema::Schema,
    store::{Backend, IdleTouch},
    token::{SecretHash, Token},
};
use http::{StatusCode, uri::Authority};
use std::{
    any::TypeId,
    fmt,
    sync::{
        Arc, Once, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long after a rotation a request with the old secret counts as a parallel tab rather than as a client that lost its new
/// token.
pub(crate) const PARALLEL_TABS: Duration = Duration::from_secs(60);

/// When a token is replaced by another one in the middle of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    pub(crate) every: Duration,
    /// How long the one before works once the new one has been presented.
    pub(crate) grace: Duration,
}

/// What becomes of a session when a token that was replaced turns up again, later than a request of its client can have been under
/// way: after the grace of a [renewal](crate::SessionLayer::renew), at least a minute after another token took its place.
///
/// Somebody has a copy of an old cookie: a thief, or a browser that was restored from a backup. The request is refused in any
/// case, with the event `session.secret_reused`. Only the token before the current one is known; older ones are refused as `stale`.
///
/// ```
/// use cloakroom::{Reuse, SessionLayer, store::MemoryStore};
/// let sessions = SessionLayer::new(MemoryStore::new()).reuse(Reuse::EndSession);
/// # let _ = sessions;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reuse {
    /// It goes on for whoever has its current token. *Default*, since tabs that slept, and clients that lost a response, do this too.
    #[default]
    Refuse,
    /// It ends for everybody. *When*: a thief may have been the one who rotated the token, and signing in once more is little to ask.
    /// Whoever knew the cookie from before a sign-in can end the session that way, too, and cannot use it.
    EndSession,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) backend: Backend,
    pub(crate) hasher: SecretHasher,
    pub(crate) lifetime: Lifetime,
    pub(crate) remember: Option<Lifetime>,
    pub(crate) renewal: Option<Renewal>,
    pub(crate) reuse: Reuse,
    /// At once, of one owner.
    pub(crate) most_sessions: Option<usize>,
    pub(crate) policy: CookiePolicy,
    pub(crate) cookie: CookieWriter,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) page: ErrorPage,
    pub(crate) commit_when: Arc<dyn Fn(StatusCode) -> bool + Send + Sync>,
    schemas: Arc<RwLock<Vec<(&'static Schema, TypeId)>>>,
    plain_http: Arc<Once>,
    sessions_begun: Arc<AtomicU64>,
    ignored_store: Arc<Once>,
}

impl Config {
    pub(crate) fn new(backend: Backend) -> Self {
        #[cfg(feature = "metrics")]
        events::measured::describe();
        let policy = CookiePolicy::default();
        Self {
            backend,
            hasher: SecretHasher::default(),
            lifetime: Lifetime::default(),
            remember: None,
            renewal: None,
            reuse: Reuse::default(),
            most_sessions: None,
            cookie: CookieWriter::new(&policy),
            policy,
            clock: Arc::new(SystemClock),
            page: ErrorPage::default(),
            commit_when: Arc::new(|status| !status.is_server_error() && status != StatusCode::REQUEST_TIMEOUT),
            schemas: Arc::default(),
            plain_http: Arc::new(Once::new()),
            sessions_begun: Arc::default(),
            ignored_store: Arc::new(Once::new()),
        }
    }

    /// Whether it is of interest that a browser will drop the cookie: it would, and nobody was told yet.
    pub(crate) fn looks_for_plain_http(&self) -> bool {
        self.policy.is_secure() && !self.plain_http.is_completed()
    }

    /// How many responses have begun a session, so that a request learns whether one did while it was served.
    pub(crate) fn sessions_begun(&self) -> u64 {
        self.sessions_begun.load(Ordering::Acquire)
    }

    pub(crate) fn note_session_begun(&self) {
        self.sessions_begun.fetch_add(1, Ordering::AcqRel);
    }

    /// Once for a layer: what is wrong is its configuration, not a request.
    pub(crate) fn warn_of_plain_http(&self, host: &Authority) {
        self.plain_http.call_once(|| events::plain_http(host));
    }

    /// Once for a layer, as above.
    pub(crate) fn warn_of_ignored_store(&self) {
        self.ignored_store.call_once(|| events::ignored_store(self.cookie.name()));
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().into()
    }

    /// This layer's record under an inner layer's policy: what is loaded here is stored here.
    pub(crate) fn under_policy(&self, inner: &Self) -> Self {
        Self {
            backend: self.backend.clone(),
            hasher: self.hasher.clone(),
            clock: Arc::clone(&self.clock),
            schemas: Arc::clone(&self.schemas),
            sessions_begun: Arc::clone(&self.sessions_begun),
            ..inner.clone()
        }
    }

    /// The lifetime of a session, by whether its cookie outlives the browser session.
    pub(crate) fn lifetime(&self, persistent: bool) -> Lifetime {
        if persistent { self.remember.unwrap_or(self.lifetime) } else { self.lifetime }
    }

    /// Whether somebody presents an old copy of a token.
    pub(crate) fn is_reused(&self, record: &Record, presented: &Presented) -> bool {
        record.header.is_reused(&presented.secret_hash, presented.now, presented.grace.max(PARALLEL_TABS))
    }

    /// ... and the session is to end because of it.
    pub(crate) fn ends_for(&self, record: &Record, presented: &Presented) -> bool {
        self.reuse == Reuse::EndSession && self.is_reused(record, presented)
    }

    /// What a load presents for a secret.
    pub(crate) fn present(&self, secret_hash: SecretHash, now: Timestamp) -> Presented {
        let mut presented = Presented::new(secret_hash, now, self.lifetime);
        presented.remember = self.lifetime(true);
        presented.grace = self.renewal.map_or(Duration::ZERO, |renewal| renewal.grace);
        presented
    }

    /// The one place that decides whether a record opens: the secret in constant time, then both deadlines.
    pub(crate) fn verdict(&self, record: &Record, presented: &Presented) -> Result<Accepted, Refused> {
        let (header, now) = (&record.header, presented.now);
        let accepted = header.accepts(&presented.secret_hash, now, presented.grace).ok_or(Refused::Stale)?;
        if self.is_expired(header, now) { Err(Refused::Expired) } else { Ok(accepted) }
    }

    /// The idle and the absolute deadline, as they are configured now.
    pub(crate) fn deadlines(&self, header: &Header) -> (Timestamp, Timestamp) {
        header.deadlines(&self.lifetime(header.persistent))
    }

    /// When a session ends if it is not used again, as it is configured now.
    pub(crate) fn ends(&self, header: &Header) -> Timestamp {
        let (idle_until, absolute_until) = self.deadlines(header);
        idle_until.min(absolute_until)
    }

    pub(crate) fn is_expired(&self, header: &Header, now: Timestamp) -> bool {
        now >= self.ends(header)
    }

    /// Takes the hash under which the loaded record knows the token; answers where the use of the session is noted. A load that
    /// presented another hash has not noted it.
    pub(crate) fn recognise(&self, token: &Token, presented: &mut Presented, header: &Header) -> IdleTouch {
        let asked = std::mem::replace(&mut presented.secret_hash, self.hasher.recognise(token, header));
        if asked.matches(&presented.secret_hash) { self.backend.idle_touch() } else { IdleTouch::AtCommit }
    }

    /// The structs that have been read and written under this layer so far.
    pub(crate) fn schemas(&self) -> Vec<&'static Schema> {
        self.schemas.read().unwrap_or_else(PoisonError::into_inner).iter().map(|(schema, _)| *schema).collect()
    }

    /// Notes that a struct is read and written under this layer; two structs of one name would overwrite each other's cells, and two
    /// that say who is signed in could differ about it.
    pub(crate) fn admit(&self, schema: &'static Schema, id: TypeId) -> Result<(), SessionError> {
        let clash = |known: &[(&'static Schema, TypeId)]| {
            known.iter().find(|(other, _)| other.name == schema.name).map(|(other, of)| {
                if *of == id {
                    Ok(())
                } else {
                    Err(SessionError::SchemaClash { name: schema.name, first: other.type_name, second: schema.type_name })
                }
            })
        };
        if let Some(verdict) = clash(&self.schemas.read().unwrap_or_else(PoisonError::into_inner)) {
            return verdict;
        }
        let mut known = self.schemas.write().unwrap_or_else(PoisonError::into_inner);
        let owns = |schema: &Schema| schema.owner.is_some();
        clash(&known).unwrap_or_else(|| {
            if let Some((other, _)) = known.iter().find(|(other, _)| owns(schema) && owns(other)) {
                return Err(SessionError::OwnerTaken { first: other.name.to_owned(), second: schema.name.to_owned() });
            }
            known.push((schema, id));
            Ok(())
        })
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("backend", &self.backend)
            .field("secrets", &self.hasher)
            .field("lifetime", &self.lifetime)
            .field("remember", &self.remember)
            .field("renewal", &self.renewal)
            .field("reuse", &self.reuse)
            .field("max_sessions", &self.most_sessions)
            .field("cookie", &self.policy)
            .field("on_error", &self.page)
            .finish_non_exhaustive()
    }
}
