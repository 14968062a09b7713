//! The handle: a user's struct, its fields guarded, and the verbs of a session.

use super::{
    access::Access,
    changes::{Discard, Fate, HandleId, How, Seen, Source},
    check_in::{Opened, Pending, Write},
    commands::Commands,
    commit,
    flight::{Flight, LockMode},
    plan,
    slot::Slot,
};
use crate::{
    error::SessionError,
    events,
    record::{Handle, Put, Timestamp, Want},
    schema::SessionData,
    seal,
    store::Backend,
};
use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::SystemTime,
};

/// A visitor's session, as a handler argument.
///
/// It dereferences to a struct with the fields of `T`, each a [`Field`](crate::Field). Change them; when the handler returns, the
/// layer stores what changed, in one atomic step, before the response goes out. Reading writes nothing, and a session nobody
/// wrote to does not exist.
///
/// The handle is yours: no lock is held, also across an `await`. Two handles of one request are like two requests: each sees
/// what was checked in (dropped or saved) before it was made, and the fields' merge rules apply between them.
///
/// Two fields in one expression need the fields themselves, since both borrows go through the handle:
///
/// ```
/// use cloakroom::{SessionData, TypedSession};
///
/// #[derive(SessionData)]
/// struct Shop { cart: Vec<String>, wishes: Vec<String> }
///
/// async fn take_all(mut session: TypedSession<Shop>) {
///     let s = &mut *session;
///     s.cart.append(&mut s.wishes);
/// }
/// ```
///
/// As an argument, `Option<TypedSession<T>>` is `None` unless a live session exists or this request has begun one, and
/// `Result<TypedSession<T>, SessionRejection>` lets the handler decide what an outage means.
///
/// Methods and fields have namespaces of their own: a field named `save` is `session.save`, the method `session.save()`.
pub struct TypedSession<T: SessionData> {
    fields: T::Fields,
    link: Link,
}

/// What ties a handle to its request.
struct Link {
    slot: Slot,
    id: HandleId,
    opened: Opened,
    unsaved: Unsaved,
}

/// Whether the handle may hold changes that the request does not know of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unsaved {
    No,
    Perhaps,
    /// They were refused, and the handler knows.
    Refused,
    /// A save failed to store them, and the handler knows.
    Failed,
}

/// One cell that a handle's changes would write. A field that keeps older generations has several, the newest first.
///
/// ```
/// use cloakroom::{SessionData, TypedSession};
/// # #[derive(SessionData)] struct Visitor { visits: u64 }
/// async fn home(mut session: TypedSession<Visitor>) {
///     *session.visits += 1;
///     assert_eq!(session.changes()[0].key, "visitor/visits");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The physical key.
    pub key: &'static str,
    /// Bytes to be written, the seal of a `secret` field among them; `None` for a tombstone: the field is cleared, or an older
    /// version of the program shall see its default.
    pub size: Option<usize>,
}

impl<T: SessionData> TypedSession<T> {
    pub(super) fn slot(&self) -> &Slot {
        &self.link.slot
    }

    pub(super) fn id(&self) -> HandleId {
        self.link.id
    }

    pub(super) fn open(slot: &Slot, access: &mut Access) -> Self {
        slot.count_handle();
        let id = access.changes.new_handle();
        let (fields, opened) = (access.open::<T>(access.loaded_at), access.opened());
        Self { fields, link: Link { slot: slot.clone(), id, opened, unsaved: Unsaved::No } }
    }

    fn fields(slot: &Slot) -> (T::Fields, Opened) {
        let mut request = slot.lock();
        let now = request.config.now();
        match request.access.as_deref_mut() {
            Some(access) => (access.open::<T>(now), access.opened()),
            None => (T::initial().into(), Opened { incarnation: 0, seen: Seen::Stored(0) }),
        }
    }

    /// Begins from what the request has now.
    fn start_over(&mut self) {
        (self.fields, self.link.opened) = Self::fields(&self.link.slot);
    }

    /// Stores everything this request has changed so far, now.
    ///
    /// For work that must not happen unless the change is stored (a payment, a mail), and for sockets and streams, which go
    /// on after the response's head. The cookie of a session begun here still goes out with the response, whatever its status.
    ///
    /// # Errors
    /// [`SessionError`]; nothing was stored, except after [`OutcomeUnknown`](SessionError::OutcomeUnknown), when it may have been. After the head, what needs
    /// a cookie is [`HeadSent`](SessionError::HeadSent).
    ///
    /// `Ok` means that what this handle changed is stored, whatever else the request does at the same time.
    ///
    /// An error is the handler's: the layer does not replace the response because of it. The changes stay in the handle. Another `save()`
    /// stores them, and so does a further change of the same field; otherwise they are dropped with the handle, with an event. After
    /// [`Gone`](SessionError::Gone) the handle starts from the defaults, and signing in begins another session.
    ///
    /// Drive the future to its end. One that is dropped before the store was asked has stored nothing, and the changes are the
    /// handle's again. One that is dropped while the store is writing leaves the outcome unknown, and the request is answered with 503.
    ///
    /// ```
    /// use axum::{Router, routing::post};
    /// use cloakroom::{SessionData, SessionError, TypedSession};
    /// # #[derive(SessionData)] struct Shop { paid: bool }
    /// async fn pay(mut session: TypedSession<Shop>) -> Result<&'static str, SessionError> {
    ///     *session.paid = true;
    ///     session.save().await?; // from here on it is stored
    ///     Ok("paid")
    /// }
    /// let app: Router = Router::new().route("/pay", post(pay));
    /// ```
    pub async fn save(&mut self) -> Result<(), SessionError> {
        let id = self.link.id;
        self.link.slot.change(|access| access.begin_save(id));
        if let Err(error) = self.stage((id, How::Saving)) {
            self.link.slot.change(|access| drop(access.give_up_save(id)));
            return Err(self.refused(error));
        }
        let mut saving = Saving { handle: self, ended: false };
        let result = commit::save(&saving.handle.link.slot, id).await;
        saving.ended = true;
        drop(saving);
        let result = match self.link.slot.lock().access.as_deref_mut() {
            Some(access) => access.end_save(id, result),
            None => result,
        };
        if self.link.slot.with_access(|access| access.incarnation) != Some(self.link.opened.incarnation) {
            // What this handle had loaded is of a session that has ended, or of another owner.
            self.link.settle();
            self.start_over();
        }
        match result {
            Ok(()) => {
                self.settle();
                Ok(())
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Starts again from this request's state: checks in what this handle changed, and sees what other handles of the request
    /// have checked in since. No I/O.
    ///
    /// # Errors
    /// If a change cannot be checked in, as in [`save`](TypedSession::save); the handle keeps its values then.
    ///
    /// ```
    /// use cloakroom::{SessionData, SessionError, TypedSession};
    /// # #[derive(SessionData)] struct Shop { notice: Option<String> }
    /// async fn after_next(session: &mut TypedSession<Shop>) -> Result<(), SessionError> {
    ///     session.refresh()?; // sees what the inner handler did
    ///     Ok(())
    /// }
    /// ```
    pub fn refresh(&mut self) -> Result<(), SessionError> {
        self.hand_in()?;
        self.start_over();
        Ok(())
    }

    /// Starts again from the store's state, for sockets and streams that live long. Changes of this request that are not saved yet
    /// are kept, and merged by the fields' rules with what others have stored.
    ///
    /// # Errors
    /// [`SessionError::Gone`] if the session has ended, and the store's errors. [`SessionError::Conflict`] names a `strict` field that both
    /// changed: it has their value now, and this request's is given up.
    ///
    /// ```
    /// use cloakroom::{SessionData, SessionError, TypedSession};
    /// # #[derive(SessionData)] struct Shop { cart: Vec<u32> }
    /// async fn in_a_socket(session: &mut TypedSession<Shop>) -> Result<usize, SessionError> {
    ///     session.reload().await?;
    ///     Ok(session.cart.len())
    /// }
    /// ```
    pub async fn reload(&mut self) -> Result<(), SessionError> {
        self.hand_in()?;
        let slot = self.link.slot.clone();
        let result = loop {
            let flight = Flight::begin(&slot, LockMode::Reading).await;
            let (config, live) = {
                let request = slot.lock();
                let access = request.access.as_deref();
                if let Some(lost) = access.and_then(|access| access.lost()) {
                    return Err(lost);
                }
                let live = access.and_then(|access| access.live());
                (Arc::clone(&request.config), live.map(|live| (live.token.selector, live.presented())))
            };
            let (Backend::Server(store), Some((selector, secret))) = (&config.backend, live) else { break Ok(()) };
            let now = config.now();
            let presented = config.present(secret, now);
            let record = store.load(&selector, &presented, &Want::default()).await?;
            // The response's commit goes first. What was loaded before it may be older than what it has stored.
            if flight.is_held() {
                break slot.with_access(|access| access.reloaded(record, &config, now)).transpose().map(drop);
            }
        };
        self.start_over();
        result
    }

    /// Replaces the token, in the same atomic step as the other changes. The old one is dead at once, in other tabs too.
    ///
    /// Changes of the `owner` and of `privilege` fields do it by themselves. This is for what the session may do besides, and no field
    /// of it says: a role in the application's database (OWASP ASVS 5.0, 7.2.4). A session that does not exist yet gets a new token
    /// anyway. With a client-side store, old copies of the cookie stay good until their deadline.
    ///
    /// ```
    /// use cloakroom::{SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Shop { #[session(owner)] user: Option<u64> }
    /// async fn become_moderator(mut session: TypedSession<Shop>) {
    ///     // ... the role is in the database, and
    ///     session.rotate();
    /// }
    /// ```
    pub fn rotate(&mut self) {
        self.link.command(|commands| commands.rotate = true);
    }

    /// Says that whoever is signed in has just proved again who they are, with a password or a second factor. The token is another one
    /// with the next commit, both deadlines start anew (NIST SP 800-63B-4, 5.2), and [`authenticated_at`](TypedSession::authenticated_at)
    /// is now; everything in the session stays.
    ///
    /// Where nobody is signed in, only the token changes.
    ///
    /// Setting the `owner` field does all that by itself where it changes. Who signs in once more is the same owner, so a handler that
    /// checks passwords calls this in any case.
    ///
    /// ```
    /// # use cloakroom::{SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Shop { #[session(owner)] user: Option<u64> }
    /// # fn is_right(_: &str) -> bool { true }
    /// async fn confirm_password(mut session: TypedSession<Shop>, password: String) {
    ///     if is_right(&password) {
    ///         session.reauthenticated();
    ///     }
    /// }
    /// ```
    pub fn reauthenticated(&mut self) {
        self.link.command(|commands| commands.reauthenticated = true);
    }

    /// Ends the session: the record is deleted and the cookie cleared, whatever the response's status.
    ///
    /// The fields are back at their defaults. What this or another handle had changed is dropped, with an event. What is
    /// written afterwards in the same request begins a new session, so a "you are signed out" notice just works. Any later commit
    /// of a request that still holds the old session is refused.
    ///
    /// ```
    /// use cloakroom::{SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Shop { notice: Option<String> }
    /// async fn sign_out(mut session: TypedSession<Shop>) {
    ///     session.destroy();
    ///     *session.notice = Some("You are signed out.".into());
    /// }
    /// ```
    pub fn destroy(&mut self) {
        self.link.slot.change(|access| access.destroy());
        self.link.settle();
        self.start_over();
    }

    /// Sets every field of this struct to its default, and has the store forget their values. The session, its cookie and other
    /// structs in it stay, unless this is the struct that says who is signed in: then nobody is any more, with all that follows.
    ///
    /// ```
    /// use cloakroom::{SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Shop { cart: Vec<u32> }
    /// async fn empty(mut session: TypedSession<Shop>) {
    ///     session.clear();
    ///     assert!(session.cart.is_empty());
    /// }
    /// ```
    pub fn clear(&mut self) {
        self.link.touch();
        T::__visit(&mut self.fields, &mut |field| field.clear());
    }

    /// Whether there is no stored session yet.
    ///
    /// ```
    /// # use cloakroom::{SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Shop { cart: Vec<u32> }
    /// async fn greet(session: TypedSession<Shop>) -> &'static str {
    ///     if session.is_new() { "Welcome!" } else { "Welcome back!" }
    /// }
    /// ```
    pub fn is_new(&self) -> bool {
        self.link.with_header(|header| header.is_none())
    }

    /// When the session began, with a change of owner anew; for one that does not exist yet, now.
    ///
    /// ```
    /// # use cloakroom::{SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Shop { cart: Vec<u32> }
    /// async fn age(session: TypedSession<Shop>) -> String {
    ///     format!("{:?}", session.created_at().elapsed())
    /// }
    /// ```
    pub fn created_at(&self) -> SystemTime {
        self.link.with_config_and_header(|now, _, header| header.map_or(now, |header| header.first_created())).into()
    }

    /// When whoever is signed in last proved who they are: when they signed in, or at the last
    /// [`reauthenticated`](TypedSession::reauthenticated). `None` if nobody is signed in, and until a sign-in of this request is stored.
    ///
    /// The guard [`SignedIn`](crate::SignedIn) asks this for you.
    ///
    /// ```
    /// # use cloakroom::{SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Shop { #[session(owner)] user: Option<u64> }
    /// async fn account(session: TypedSession<Shop>) -> String {
    ///     format!("signed in since {:?}", session.authenticated_at())
    /// }
    /// ```
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        self.authenticated().map(SystemTime::from)
    }

    pub(super) fn authenticated(&self) -> Option<Timestamp> {
        self.link.with_header(|header| header.and_then(|header| header.authenticated_at))
    }

    /// When the session ends if it is not used again: the nearer of its two deadlines, as it stands in the store once this request is
    /// over. For one that does not exist yet, as if it began now.
    ///
    /// Where a use costs a write (SQL and the cookie), it is noted once per fifth of the idle time, so this is up to a fifth nearer than
    /// the idle time from now: see [`Lifetime`](crate::Lifetime).
    ///
    /// ```
    /// # use cloakroom::{SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Shop { cart: Vec<u32> }
    /// async fn countdown(session: TypedSession<Shop>) -> String {
    ///     let left = session.expires_at().duration_since(std::time::SystemTime::now()).unwrap_or_default();
    ///     format!("<body data-session-ends-in={}>", left.as_secs())
    /// }
    /// ```
    pub fn expires_at(&self) -> SystemTime {
        let request = self.link.slot.lock();
        let config = &request.config;
        let access = request.access.as_deref();
        let at = match access.and_then(|access| Some((access, access.live()?))) {
            Some((access, live)) => {
                let header = &live.record.header;
                let lifetime = config.lifetime(header.persistent);
                let (idle_until, absolute_until) = header.deadlines(&lifetime);
                // This very request counts as a use, if the store is going to note it.
                let used_at = access.counts_at(config, self.link.slot.head());
                plan::rolled(header, &lifetime, used_at).unwrap_or(idle_until).min(absolute_until)
            }
            None => {
                let lifetime = config.lifetime(config.policy.is_persistent());
                config.now().plus(lifetime.idle().min(lifetime.absolute()))
            }
        };
        at.into()
    }

    /// The session's log-safe name, once it exists.
    ///
    /// ```
    /// # use cloakroom::{SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Shop { cart: Vec<u32> }
    /// async fn log(session: TypedSession<Shop>) {
    ///     println!("session {:?}", session.handle());
    /// }
    /// ```
    pub fn handle(&self) -> Option<Handle> {
        self.link.slot.selector().map(|selector| selector.handle())
    }

    /// Lets the cookie outlive the browser session, or not: the "remember me" box. The session's lifetime is then
    /// [`SessionLayer::remember`](crate::SessionLayer::remember)'s. For a session that no handler writes to it has no effect.
    ///
    /// Both lifetimes count from the sign-in. A session that is older than the shorter one goes on when the box is unticked: for that
    /// lifetime from now, and no longer than it had. Unticked and ticked again it lasts no longer than if it had stayed ticked.
    ///
    /// The response sets the cookie again. With [`renew`](crate::SessionLayer::renew) it holds another token; where another request of the
    /// client is renewing the token at the same moment, the cookie stays as it is until the next renewal.
    ///
    /// ```
    /// # use cloakroom::{SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Shop { user: Option<u64> }
    /// async fn sign_in(mut session: TypedSession<Shop>) {
    ///     *session.user = Some(42);
    ///     session.set_persistent(true);
    /// }
    /// ```
    pub fn set_persistent(&mut self, persistent: bool) {
        self.link.command(|commands| commands.persistent = Some(persistent));
    }

    /// Names the session for lists, such as "Firefox on a laptop"; `None` takes the name away. At most
    /// [`limits::LABEL`](crate::limits::LABEL) bytes are kept, and no control characters. For a session nobody writes to it has no effect.
    ///
    /// ```
    /// # use cloakroom::{SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Shop { user: Option<u64> }
    /// async fn sign_in(mut session: TypedSession<Shop>) {
    ///     *session.user = Some(42);
    ///     session.set_label("Firefox on a laptop");
    /// }
    /// ```
    pub fn set_label<'a>(&mut self, label: impl Into<Option<&'a str>>) {
        let label = label.into().map(|text| {
            // They say nothing in a list, and not every database takes them.
            let text: String = text.chars().filter(|it| !it.is_control()).collect();
            Arc::from(shorten(&text, crate::limits::LABEL))
        });
        self.link.command(|commands| commands.label = Some(label));
    }

    /// What this handle would write if it were dropped now. `&mut`, since it looks at the fields the way a check-in does.
    ///
    /// ```
    /// # use cloakroom::{SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Visitor { visits: u64 }
    /// async fn home(mut session: TypedSession<Visitor>) {
    ///     *session.visits += 0;
    ///     assert!(session.changes().is_empty());
    /// }
    /// ```
    pub fn changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        let request = self.link.slot.lock();
        let now = request.config.now();
        let Some(access) = request.access.as_deref() else { return changes };
        let (opened, id) = (self.link.opened, self.link.id);
        let taken_over = access.is_taken_over::<T>(&mut self.fields, now);
        T::__visit(&mut self.fields, &mut |field| {
            let Ok(Some(staged)) = access.prepare(field, opened, taken_over, (id, How::CheckedIn), now) else { return };
            let change = Pending { def: staged.def, write: staged.write, kept: staged.kept };
            if matches!(change.write, Write::Clear) && !access.is_stored(change.def) {
                return;
            }
            let seal = if change.def.is_secret() && request.config.backend.seals_cells() { seal::OVERHEAD } else { 0 };
            let size = |put: Put| put.body.content.payload().map(|payload| payload.len() + seal);
            let cells = change.def.keys().iter().zip(change.puts(now));
            changes.extend(cells.filter_map(|(key, put)| Some(Change { key, size: size(put.ok()?) })));
        });
        changes
    }

    /// Stages this handle's changes for the request's commit, all or none, and says why they cannot be stored any more, if so.
    pub(super) fn hand_in(&mut self) -> Result<(), SessionError> {
        match self.stage((self.link.id, How::CheckedIn)) {
            Ok(()) => {
                self.settle();
                Ok(())
            }
            Err(error) => Err(self.refused(error)),
        }
    }

    /// Further changes of this handle count from the values it holds.
    fn settle(&mut self) {
        if self.link.unsaved != Unsaved::No {
            T::__visit(&mut self.fields, &mut |field| field.settle());
            self.link.settle();
        }
    }

    /// The handler learns that a change was refused before the store was asked. It can mend the value.
    fn refused(&mut self, error: SessionError) -> SessionError {
        if matches!(error, SessionError::Gone | SessionError::OutcomeUnknown(_)) {
            return self.failed(error);
        }
        self.link.tell(Unsaved::Refused);
        self.link.slot.change(Access::forget_proof);
        error
    }

    /// The handler learns that a save failed. Its changes are the handle's again, and only another save stores them.
    fn failed(&mut self, error: SessionError) -> SessionError {
        if let SessionError::Gone = error {
            // What this handle holds is of a session that has ended.
            self.link.settle();
            self.start_over();
        } else {
            self.link.tell(Unsaved::Failed);
            T::__visit(&mut self.fields, &mut |field| field.fail());
        }
        error
    }

    /// Stages this handle's changes, all or none.
    fn stage(&mut self, source: Source) -> Result<(), SessionError> {
        let mut request = self.link.slot.lock();
        let now = request.config.now();
        let Some(access) = request.access.as_deref_mut() else { return Ok(()) };
        if access.incarnation != self.link.opened.incarnation {
            drop(request);
            let unsaved = self.link.unsaved != Unsaved::No;
            self.link.settle();
            self.start_over();
            return if unsaved {
                events::lost(T::__schema().name, &"the session was destroyed, or got another owner, in the same request");
                Err(SessionError::Gone)
            } else {
                Ok(())
            };
        }
        // Debug builds look at untouched fields too, for changes that `&mut` did not announce.
        if self.link.unsaved != Unsaved::No || cfg!(debug_assertions) {
            access.stage::<T>(&mut self.fields, self.link.opened, source, now)?;
        }
        match source {
            // What cannot be stored any more is the response's error.
            (_, How::Dropped) => Ok(()),
            _ => access.refuse_if_lost(now),
        }
    }
}

/// A save that is under way.
struct Saving<'a, T: SessionData> {
    handle: &'a mut TypedSession<T>,
    ended: bool,
}

impl<T: SessionData> Drop for Saving<'_, T> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // The future was dropped. What is not stored is the handle's again.
        let id = self.handle.link.id;
        if let Some(Fate::Stored) = self.handle.link.slot.with_access(|access| access.give_up_save(id)) {
            self.handle.settle();
        }
    }
}

/// The longest beginning of a text that ends at a character boundary.
fn shorten(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

impl Link {
    fn touch(&mut self) {
        if self.unsaved != Unsaved::Perhaps {
            self.unsaved = Unsaved::Perhaps;
            self.slot.count_unsaved();
        }
    }

    fn settle(&mut self) {
        if std::mem::replace(&mut self.unsaved, Unsaved::No) == Unsaved::Perhaps {
            self.slot.uncount_unsaved();
        }
    }

    fn command(&self, give: impl FnOnce(&mut Commands)) {
        self.slot.change(|access| access.command(self.id, give));
    }

    fn tell(&mut self, unsaved: Unsaved) {
        self.settle();
        self.unsaved = unsaved;
    }

    fn with_header<R>(&self, look: impl FnOnce(Option<&crate::record::Header>) -> R) -> R {
        self.with_config_and_header(|_, _, header| look(header))
    }

    fn with_config_and_header<R>(
        &self,
        look: impl FnOnce(Timestamp, &crate::config::Config, Option<&crate::record::Header>) -> R,
    ) -> R {
        let request = self.slot.lock();
        let header = request.access.as_ref().and_then(|access| access.live()).map(|live| &live.record.header);
        look(request.config.now(), &request.config, header)
    }
}

impl<T: SessionData> Drop for TypedSession<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Half-made changes are not stored, and no user code runs while unwinding.
            self.link.slot.change(|access| access.start_over(Discard::CheckedIn, "panic"));
        } else if self.link.unsaved == Unsaved::Refused {
            events::lost(T::__schema().name, &"they were refused, and the handler answered without mending them");
        } else {
            let unsaved = self.link.unsaved;
            if unsaved == Unsaved::Perhaps || cfg!(debug_assertions) {
                match self.stage((self.link.id, How::Dropped)) {
                    // The sign-out was meant; what it dropped has been announced.
                    Ok(()) | Err(SessionError::Gone) => {}
                    Err(error) => self.link.slot.change(|access| access.fail(error)),
                }
            }
            if unsaved != Unsaved::No {
                T::__visit(&mut self.fields, &mut |field| {
                    if field.change().is_some_and(|change| change.failed) {
                        let why = "a `save()` failed, and the handler answered without another one";
                        events::lost(field.def().schema(), &why);
                    }
                });
            }
        }
        let id = self.link.id;
        self.link.slot.change(|access| access.release(id));
        self.link.settle();
        self.link.slot.uncount_handle();
        self.link.slot.announce_lost();
    }
}

impl<T: SessionData> Deref for TypedSession<T> {
    type Target = T::Fields;
    fn deref(&self) -> &T::Fields {
        &self.fields
    }
}

impl<T: SessionData> DerefMut for TypedSession<T> {
    fn deref_mut(&mut self) -> &mut T::Fields {
        self.link.touch();
        &mut self.fields
    }
}

impl<T: SessionData> fmt::Debug for TypedSession<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedSession")
            .field("schema", &T::__schema().name)
            .field("handle", &self.handle())
            .finish_non_exhaustive()
    }
}
