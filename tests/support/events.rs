//! [`Events`]: what is logged on this thread.

// As the parent module.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// Keeps every event and span of every level.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Vec<Line>>>);

#[derive(Default)]
struct Line {
    /// Level, target, name, and the fields.
    text: String,
    message: String,
}

/// To be called before a subscriber is set for one thread.
///
/// While there is one subscriber, `tracing` asks the thread that meets an event first whether anybody wants it, and keeps
/// the answer; other tests run on threads that have none. So there are two.
pub fn on_every_thread() {
    static SECOND: OnceLock<Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
}

impl Events {
    /// Listens on this thread until the guard is dropped.
    pub fn start() -> (Self, DefaultGuard) {
        on_every_thread();
        let events = Self::default();
        let subscriber = tracing_subscriber::registry().with(events.clone());
        (events, tracing::subscriber::set_default(subscriber))
    }

    /// All since the last time, with the messages.
    pub fn take(&self) -> Vec<String> {
        self.drain().map(|Line { text, message }| format!("{text}: {message}")).collect()
    }

    /// The crate's since the last time, without the messages, which are for people.
    pub fn take_own(&self) -> Vec<String> {
        self.drain().map(|line| line.text).filter(|text| text.contains(" tower_jwt_auth::")).collect()
    }

    fn drain(&self) -> impl Iterator<Item = Line> {
        std::mem::take(&mut *self.0.lock().unwrap()).into_iter()
    }

    fn note(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Line)) {
        let text = format!("{} {} {}", metadata.level(), metadata.target(), metadata.name());
        let mut line = Line { text, message: String::new() };
        record(&mut line);
        self.0.lock().unwrap().push(line);
    }
}

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.note(event.metadata(), |line| event.record(line));
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.note(attributes.metadata(), |line| attributes.record(line));
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        values.record(&mut line);
        self.0.lock().unwrap().push(line);
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            write!(self.text, " {}={value:?}", field.name()).unwrap();
        }
    }

    /// With what caused it, as a formatter may print it.
    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        write!(self.text, " {}={error}", field.name()).unwrap();
        let mut source = error.source();
        while let Some(error) = source {
            write!(self.text, ": {error}").unwrap();
            source = error.source();
        }
    }
}
