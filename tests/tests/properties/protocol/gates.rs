//! A store whose operations wait until the scheduler answers them, each with an outcome of its choice.

use async_trait::async_trait;
use cloakroom::{
    Lifetime,
    record::{
        CellKey, CommitOutcome, Content, CreateOutcome, Header, OwnerHash, Patch, Payload, Presented, Put, Record, Rotation,
        SecretHash, Selector, Timestamp, Want, WrappedKey,
    },
    store::{IdleTouch, MemoryStore, SessionStore, StoreError},
};
use std::{
    fmt,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// A future of the run: the response, or what is done with one handle.
pub(super) type TaskId = usize;

/// The number of an operation, in the order in which the request asked.
pub(super) type AskId = usize;

/// What the scheduler lets the store answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    /// The operation is applied and answered.
    Done,
    /// Not applied, and the request is told so.
    Unavailable,
    /// Applied, and the answer is lost.
    UnknownApplied,
    /// Lost on its way to the store.
    UnknownNotApplied,
    /// Another request deletes the record just before.
    AfterDeletion,
    /// Another request rotates the token just before, which raises the epoch.
    AfterRotation,
    /// Another request adds to the counter just before, which a guard may name.
    AfterChange,
}

impl Outcome {
    /// Whether the store or another request disturbs this one.
    pub(super) fn is_disturbance(self) -> bool {
        self != Self::Done
    }

    /// Whether another request comes first.
    pub(super) fn is_foreign(self) -> bool {
        matches!(self, Self::AfterDeletion | Self::AfterRotation | Self::AfterChange)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Unavailable => "unavailable, not applied",
            Self::UnknownApplied => "outcome unknown, applied",
            Self::UnknownNotApplied => "outcome unknown, not applied",
            Self::AfterDeletion => "done, after another request deleted the record",
            Self::AfterRotation => "done, after another request rotated the token",
            Self::AfterChange => "done, after another request added 10000 to `sum`",
        })
    }
}

/// What the request asks of the store.
#[derive(Clone, Debug)]
pub(super) enum Question {
    Load(Selector, Presented),
    Create(Selector, Box<Record>),
    Commit(Selector, Box<Patch>),
    Delete(Selector),
}

impl Question {
    /// The outcomes that can tell two programs apart.
    pub(super) fn outcomes(&self) -> &'static [Outcome] {
        use Outcome::{AfterChange, AfterDeletion, AfterRotation, Done, Unavailable, UnknownApplied, UnknownNotApplied};
        match self {
            Self::Load(..) => &[Done, Unavailable, AfterDeletion, AfterRotation, AfterChange],
            Self::Commit(_, patch) if patch.guards.is_empty() => {
                &[Done, Unavailable, UnknownApplied, UnknownNotApplied, AfterDeletion, AfterRotation]
            }
            Self::Commit(..) => {
                &[Done, Unavailable, UnknownApplied, UnknownNotApplied, AfterDeletion, AfterRotation, AfterChange]
            }
            Self::Create(..) | Self::Delete(_) => &[Done, Unavailable, UnknownApplied, UnknownNotApplied],
        }
    }

    /// Whether it brings a token that no client holds yet.
    pub(super) fn brings_token(&self) -> bool {
        match self {
            Self::Create(..) => true,
            Self::Commit(_, patch) => patch.rotation.is_some(),
            Self::Load(..) | Self::Delete(_) => false,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(..) => f.write_str("load"),
            Self::Create(_, record) => {
                f.write_str("create")?;
                record.cells.iter().try_for_each(|cell| write!(f, " {}={}", cell.key, number(cell.body.content.payload())))
            }
            Self::Commit(_, patch) => {
                f.write_str("commit")?;
                patch.puts.iter().try_for_each(|put| write!(f, " {}={}", put.key, number(put.body.content.payload())))?;
                f.write_str(if patch.puts.is_empty() { " (no cells)" } else { "" })?;
                f.write_str(if patch.guards.is_empty() { "" } else { ", guarded" })?;
                f.write_str(if patch.wipe_except.is_some() { ", wiping" } else { "" })?;
                f.write_str(if patch.label.is_some() { ", with a label" } else { "" })?;
                f.write_str(if patch.rotation.is_some() { ", rotating" } else { "" })
            }
            Self::Delete(_) => f.write_str("delete"),
        }
    }
}

/// What the store answers.
#[derive(Debug)]
pub(super) enum Answer {
    Loaded(Result<Option<Arc<Record>>, StoreError>),
    Created(Result<CreateOutcome, StoreError>),
    Committed(Result<CommitOutcome, StoreError>),
    Deleted(Result<(), StoreError>),
}

impl Answer {
    /// Whether the operation did what it was for.
    pub(super) fn is_success(&self) -> bool {
        match self {
            Self::Loaded(answer) => answer.is_ok(),
            Self::Created(answer) => matches!(answer, Ok(CreateOutcome::Created)),
            Self::Committed(answer) => matches!(answer, Ok(CommitOutcome::Committed { .. })),
            Self::Deleted(answer) => answer.is_ok(),
        }
    }

    fn error(question: &Question, error: StoreError) -> Self {
        match question {
            Question::Load(..) => Self::Loaded(Err(error)),
            Question::Create(..) => Self::Created(Err(error)),
            Question::Commit(..) => Self::Committed(Err(error)),
            Question::Delete(_) => Self::Deleted(Err(error)),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loaded(Ok(Some(record))) => write!(f, "revision {}", record.header.revision),
            Self::Loaded(Ok(None)) => f.write_str("absent"),
            Self::Created(Ok(created)) => write!(f, "{created:?}"),
            Self::Committed(Ok(CommitOutcome::Committed { revision, .. })) => write!(f, "committed as revision {revision}"),
            Self::Committed(Ok(CommitOutcome::Conflict { .. })) => f.write_str("conflict"),
            Self::Committed(Ok(CommitOutcome::Gone)) => f.write_str("gone"),
            Self::Deleted(Ok(())) => f.write_str("deleted"),
            Self::Loaded(Err(error)) | Self::Created(Err(error)) | Self::Committed(Err(error)) | Self::Deleted(Err(error)) => {
                f.write_str(if matches!(error, StoreError::Unavailable(_)) { "unavailable" } else { "outcome unknown" })
            }
        }
    }
}

/// Where an operation is.
#[derive(Debug)]
enum Stage {
    /// The store has it, and the request waits.
    Waiting(Option<Waker>),
    Answered(Answer),
    /// The future that asked was dropped; the store gets the question all the same, later.
    OnItsWay,
    /// The request has its answer, or nothing becomes of the question any more.
    Over,
}

/// One operation of the request.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) owner: TaskId,
    pub(super) question: Question,
    /// When it was asked, by the ledger's clock.
    pub(super) at: u32,
    stage: Stage,
}

/// The operations of a run, and where they wait.
#[derive(Debug, Default)]
pub(super) struct Desk {
    asks: Vec<Ask>,
    /// The future that is being polled: what is asked now is asked by it.
    pub(super) polling: TaskId,
    /// Counts everything that happens in a run, so that each event has a place in one order.
    clock: u32,
    /// Whether operations are answered at once, as before the handles are made.
    pub(super) open: bool,
}

impl Desk {
    pub(super) fn tick(&mut self) -> u32 {
        self.clock += 1;
        self.clock
    }

    pub(super) fn asks(&self) -> &[Ask] {
        &self.asks
    }

    /// The operations that the store has not answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (AskId, &Ask)> {
        let unanswered = |(_, ask): &(AskId, &Ask)| matches!(ask.stage, Stage::Waiting(_) | Stage::OnItsWay);
        self.asks.iter().enumerate().filter(unanswered)
    }

    /// Whether the store's next answer lets a future go on.
    pub(super) fn is_waiting(&self, owner: TaskId) -> bool {
        self.asks.iter().any(|ask| ask.owner == owner && matches!(ask.stage, Stage::Waiting(_)))
    }

    /// The operation that a future is in the middle of.
    pub(super) fn under_way(&self, owner: TaskId) -> Option<AskId> {
        self.asks.iter().position(|ask| ask.owner == owner && matches!(ask.stage, Stage::Waiting(_) | Stage::Answered(_)))
    }

    /// The future that asked is dropped, and yet the question reaches the store.
    pub(super) fn send_all_the_same(&mut self, id: AskId) {
        self.asks[id].stage = Stage::OnItsWay;
    }

    pub(super) fn is_on_its_way(&self, id: AskId) -> bool {
        matches!(self.asks[id].stage, Stage::OnItsWay)
    }

    /// Answers an operation, and says whom to wake.
    pub(super) fn answer(&mut self, id: AskId, answer: Answer) -> Option<Waker> {
        match std::mem::replace(&mut self.asks[id].stage, Stage::Answered(answer)) {
            Stage::Waiting(waker) => waker,
            _ => {
                self.asks[id].stage = Stage::Over;
                None
            }
        }
    }
}

/// The store of a run.
#[derive(Clone, Debug)]
pub(super) struct GatedStore {
    pub(super) inner: MemoryStore,
    pub(super) desk: Arc<Mutex<Desk>>,
    pub(super) touch: IdleTouch,
}

/// One record as the oracle sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) selector: Selector,
    pub(super) secret: [u8; 32],
    pub(super) label: Option<Arc<str>>,
    pub(super) owned: bool,
    /// By physical key.
    pub(super) cells: Vec<(CellKey, u64)>,
}

impl Stored {
    /// The number in a cell; the default where there is none.
    pub(super) fn number(&self, key: &str) -> u64 {
        self.cells.iter().find(|(known, _)| known.as_str() == key).map_or(0, |(_, number)| *number)
    }
}

impl GatedStore {
    pub(super) fn new(inner: MemoryStore, touch: IdleTouch) -> Self {
        Self { inner, desk: Arc::default(), touch }
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, question: Question) -> Answer {
        let id = {
            let mut desk = self.desk();
            if desk.open {
                drop(desk);
                return self.apply(&question);
            }
            let at = desk.tick();
            let owner = desk.polling;
            desk.asks.push(Ask { owner, question, at, stage: Stage::Waiting(None) });
            desk.asks.len() - 1
        };
        Gate { store: self, id }.await
    }

    /// Lets the inner store do it, now.
    fn apply(&self, question: &Question) -> Answer {
        match question {
            Question::Load(key, presented) => {
                let mut presented = *presented;
                if self.touch == IdleTouch::AtCommit {
                    // No token has a secret of this hash, so the load touches nothing.
                    presented.secret_hash = SecretHash::from_bytes([0; 32]);
                }
                Answer::Loaded(at_once(self.inner.load(key, &presented, &Want::default())))
            }
            Question::Create(key, record) => Answer::Created(at_once(self.inner.create(key, (**record).clone()))),
            Question::Commit(key, patch) => Answer::Committed(at_once(self.inner.commit(key, patch))),
            Question::Delete(key) => Answer::Deleted(at_once(self.inner.delete(key))),
        }
    }

    /// Carries out an operation that waits, and answers it. Says whom to wake, and whether it was applied.
    pub(super) fn release(&self, id: AskId, outcome: Outcome) -> (Option<Waker>, Applied) {
        let question = self.desk().asks[id].question.clone();
        let unknown = || Answer::error(&question, StoreError::outcome_unknown("the scheduler lost the answer"));
        let (answer, applied) = match outcome {
            Outcome::Unavailable => (Answer::error(&question, StoreError::unavailable("the scheduler refuses")), Applied::No),
            Outcome::UnknownNotApplied => (unknown(), Applied::No),
            Outcome::UnknownApplied => {
                let answer = self.apply(&question);
                (unknown(), if answer.is_success() { Applied::Yes } else { Applied::No })
            }
            Outcome::Done | Outcome::AfterDeletion | Outcome::AfterRotation | Outcome::AfterChange => {
                self.interfere(&question, outcome);
                let answer = self.apply(&question);
                let applied = if answer.is_success() { Applied::Yes } else { Applied::No };
                (answer, applied)
            }
        };
        (self.desk().answer(id, answer), applied)
    }

    /// What another request did just before.
    fn interfere(&self, question: &Question, outcome: Outcome) {
        let (Question::Load(key, _) | Question::Commit(key, _)) = question else { return };
        let Some(record) = self.peek(key) else { return };
        let now = match question {
            Question::Load(_, presented) => presented.now,
            Question::Commit(_, patch) => patch.now,
            Question::Create(..) | Question::Delete(_) => return,
        };
        let mut patch = Patch::new(record.header.epoch, now);
        match outcome {
            Outcome::AfterDeletion => return at_once(self.inner.delete(key)).unwrap(),
            Outcome::AfterRotation => {
                let (to, wrapped_key) = (SecretHash::from_bytes([77; 32]), WrappedKey::from_bytes([78; 32]));
                patch.rotation = Some(Rotation::Privilege { to, wrapped_key });
            }
            Outcome::AfterChange => {
                let Some(cell) = record.cells.get("data/sum") else { return };
                let mut body = cell.body.clone();
                let Content::Value { payload, .. } = &mut body.content else { return };
                *payload = encoded(number(Some(payload)) + FOREIGN);
                patch.puts.push(Put::new(CellKey::from_static("data/sum"), body));
            }
            Outcome::Done | Outcome::Unavailable | Outcome::UnknownApplied | Outcome::UnknownNotApplied => return,
        }
        assert!(at_once(self.inner.commit(key, &patch)).is_ok_and(|it| matches!(it, CommitOutcome::Committed { .. })));
    }

    /// A record, read behind the request's back.
    pub(super) fn peek(&self, key: &Selector) -> Option<Arc<Record>> {
        let unknown = Presented::new(SecretHash::from_bytes([0; 32]), Timestamp::from_millis(0), Lifetime::default());
        at_once(self.inner.load(key, &unknown, &Want::default())).unwrap()
    }

    /// The records under those keys, as the oracle sees them.
    pub(super) fn look(&self, keys: &[Selector]) -> Vec<Stored> {
        let stored = |key: &Selector| {
            let record = self.peek(key)?;
            let cells = record.cells.iter().map(|cell| (cell.key.clone(), number(cell.body.content.payload())));
            Some(Stored {
                selector: *key,
                secret: *record.header.secret_hash.as_bytes(),
                label: record.header.label.clone(),
                owned: record.header.owner.is_some(),
                cells: cells.collect(),
            })
        };
        keys.iter().filter_map(stored).collect()
    }
}

/// What another request adds to the counter.
pub(super) const FOREIGN: u64 = 10_000;

/// Whether the store changed as the operation wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    Yes,
    No,
}

/// An operation that waits for the scheduler.
struct Gate<'a> {
    store: &'a GatedStore,
    id: AskId,
}

impl Future for Gate<'_> {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let mut desk = self.store.desk();
        let stage = &mut desk.asks[self.id].stage;
        match std::mem::replace(stage, Stage::Over) {
            Stage::Answered(answer) => Poll::Ready(answer),
            Stage::Waiting(_) => {
                *stage = Stage::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
            Stage::OnItsWay | Stage::Over => panic!("an operation is polled after its end"),
        }
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        let mut desk = self.store.desk();
        let stage = &mut desk.asks[self.id].stage;
        if !matches!(stage, Stage::OnItsWay) {
            *stage = Stage::Over;
        }
    }
}

#[async_trait]
impl SessionStore for GatedStore {
    async fn load(&self, key: &Selector, presented: &Presented, _: &Want<'_>) -> Result<Option<Arc<Record>>, StoreError> {
        match self.ask(Question::Load(*key, *presented)).await {
            Answer::Loaded(answer) => answer,
            other => panic!("a load is answered with {other}"),
        }
    }

    async fn create(&self, key: &Selector, record: Record) -> Result<CreateOutcome, StoreError> {
        match self.ask(Question::Create(*key, Box::new(record))).await {
            Answer::Created(answer) => answer,
            other => panic!("a create is answered with {other}"),
        }
    }

    async fn commit(&self, key: &Selector, patch: &Patch) -> Result<CommitOutcome, StoreError> {
        match self.ask(Question::Commit(*key, Box::new(patch.clone()))).await {
            Answer::Committed(answer) => answer,
            other => panic!("a commit is answered with {other}"),
        }
    }

    async fn delete(&self, key: &Selector) -> Result<(), StoreError> {
        match self.ask(Question::Delete(*key)).await {
            Answer::Deleted(answer) => answer,
            other => panic!("a delete is answered with {other}"),
        }
    }

    async fn by_owner(&self, owner: &OwnerHash) -> Result<Vec<(Selector, Header)>, StoreError> {
        self.inner.by_owner(owner).await
    }

    async fn delete_by_owner(&self, owner: &OwnerHash, except: Option<&Selector>) -> Result<u64, StoreError> {
        self.inner.delete_by_owner(owner, except).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.inner.sweep(now, limit).await
    }

    fn idle_touch(&self) -> IdleTouch {
        self.touch
    }
}

/// The output of a future that never waits, as those of a store in memory.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a store in memory does not wait"),
    }
}

/// The number that a cell holds; of an owner, who it is. The library's own decoder is not asked.
pub(super) fn number(payload: Option<&Payload>) -> u64 {
    let Some(payload) = payload else { return 0 };
    let varint = |bytes: &[u8]| match bytes {
        // The one byte of a number; of an owner, `None` is 0 and `Some` is 1 before the number.
        [small] | [1, small] => u64::from(*small),
        [251, low, high] => u64::from(u16::from_le_bytes([*low, *high])),
        other => panic!("a number of another size: {other:?}"),
    };
    varint(payload)
}

fn encoded(number: u64) -> Payload {
    match u8::try_from(number) {
        Ok(small) if small < 251 => Payload::from(&[small][..]),
        _ => {
            let [low, high] = u16::try_from(number).unwrap().to_le_bytes();
            Payload::from(&[251, low, high][..])
        }
    }
}
