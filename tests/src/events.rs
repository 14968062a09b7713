//! What the library says through `tracing` while a test watches.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    sync::{Arc, Mutex, Once},
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Every event of the library on this thread while it is alive.
///
/// One subscriber serves the whole process and sorts by thread: subscribers that come and go with parallel tests would race for the
/// cache in which `tracing` keeps who listens to what.
pub struct Events {
    lines: Arc<Mutex<Vec<String>>>,
}

thread_local! {
    static LISTENING: RefCell<Option<Arc<Mutex<Vec<String>>>>> = const { RefCell::new(None) };
}

impl Events {
    /// Listens from now on.
    pub fn capture() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::subscriber::set_global_default(Listener).expect("nobody else listens"));
        let lines = Arc::<Mutex<Vec<String>>>::default();
        LISTENING.set(Some(Arc::clone(&lines)));
        Self { lines }
    }

    /// What was said since the last call, one line per event.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().expect("no test panics here"))
    }

    /// How many events of that name there were since the last call.
    pub fn count(&self, name: &str) -> usize {
        let name = format!("event={name:?}");
        self.take().iter().filter(|line| line.contains(&name)).count()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        LISTENING.set(None);
    }
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "cloakroom"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let Some(lines) = LISTENING.with_borrow(Clone::clone) else { return };
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        lines.lock().expect("no test panics here").push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}
