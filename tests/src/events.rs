//! What the library says through `tracing` while a test watches.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::{DefaultGuard, Interest},
};

/// Every event of the library on this thread while it is alive.
pub struct Events {
    lines: Arc<Mutex<Vec<String>>>,
    _guard: DefaultGuard,
}

impl Events {
    pub fn capture() -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let subscriber = Listener { lines: Arc::clone(&lines) };
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
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

struct Listener {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Subscriber for Listener {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // Tests run in parallel, each with a listener of its own, so nobody may answer for all of them.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "cloakroom"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.lines.lock().expect("no test panics here").push(line.0);
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
