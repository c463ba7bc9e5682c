//! How things are, and then each change, for as long as somebody looks.
//!
//! ```text
//! server ──stream──► Feed ──► Seen, Gone, Current ──► wait, watch commands
//!    └── lost ──► opened again, with growing pauses
//! ```
//!
//! What always holds: after a stream was lost, what changed meanwhile is told when it is open again, deletions included; a
//! first stream that cannot be opened, and any refusal, is an error at once.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time;
use tonic::Streaming;

use super::{
    connect::Session,
    error::{Error, Exit, Result},
    output::Resource,
};

/// The first pause before a lost stream is opened again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What a stream tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<T> {
    /// It is there, and looks like this.
    Seen(T),
    /// It is gone; this is how it looked last.
    Gone(T),
    /// All that there was has been told.
    Current,
}

/// Something that can be watched.
pub trait Watched: Resource + Clone {
    /// Which of them.
    type Filter: Clone;
    /// One message of the stream.
    type Reply: 'static;

    /// Opens a stream.
    async fn open(session: &Session, what: &str, filter: Self::Filter) -> Result<Streaming<Self::Reply>>;

    /// What a message says; none when this client does not know the kind.
    fn event(reply: Self::Reply) -> Option<Event<Self>>;
}

/// A stream that is opened again when it is lost.
pub struct Feed<'a, T: Watched> {
    session: &'a Session,
    what: &'a str,
    filter: T::Filter,
    stream: Option<Streaming<T::Reply>>,
    pause: Option<Duration>,
    news: News<T>,
}

impl<'a, T: Watched> Feed<'a, T> {
    /// Opens the first stream; `what` completes "cannot …".
    pub async fn open(session: &'a Session, what: &'a str, filter: T::Filter) -> Result<Self> {
        let stream = T::open(session, what, filter.clone()).await?;
        Ok(Self { session, what, filter, stream: Some(stream), pause: None, news: News::default() })
    }

    /// The next thing that is told. It may be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Result<Event<T>> {
        loop {
            if let Some(event) = self.news.ready.pop_front() {
                return Ok(event);
            }
            match self.receive().await {
                Ok(Some(reply)) => {
                    self.pause = None;
                    if let Some(event) = T::event(reply) {
                        self.news.take(event);
                    }
                }
                Ok(None) => self.lost(),
                Err(error) if is_passing(&error) => self.lost(),
                Err(error) => return Err(error),
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<T::Reply>> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                time::sleep(self.pause.unwrap_or_default()).await;
                let stream = T::open(self.session, self.what, self.filter.clone()).await?;
                self.stream.insert(stream)
            }
        };
        stream.message().await.map_err(|status| self.session.explain(self.what, &status))
    }

    fn lost(&mut self) {
        self.stream = None;
        self.news.start_again();
        self.pause = Some(self.pause.map_or(PAUSES.0, |pause| (pause * 2).min(PAUSES.1)));
    }
}

/// Whether opening the stream again can help.
fn is_passing(error: &Error) -> bool {
    // roles that changed end a stream: the next one is opened with the new roles
    matches!(error.exit(), Exit::Unreachable | Exit::Timeout) || error.reason() == Some("ACCESS_CHANGED")
}

/// What is known, so that a new stream also tells what is gone since the last one.
struct News<T> {
    known: BTreeMap<String, T>,
    seen: BTreeSet<String>,
    is_current: bool,
    ready: VecDeque<Event<T>>,
}

impl<T> Default for News<T> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), seen: BTreeSet::new(), is_current: false, ready: VecDeque::new() }
    }
}

impl<T: Resource + Clone> News<T> {
    fn take(&mut self, event: Event<T>) {
        match &event {
            Event::Seen(item) => {
                self.known.insert(item.id(), item.clone());
                if !self.is_current {
                    self.seen.insert(item.id());
                }
            }
            Event::Gone(item) => {
                self.known.remove(&item.id());
            }
            Event::Current => {
                let seen = std::mem::take(&mut self.seen);
                let gone = self.known.extract_if(.., |id, _| !seen.contains(id));
                self.ready.extend(gone.map(|(_, item)| Event::Gone(item)));
                self.is_current = true;
            }
        }
        self.ready.push_back(event);
    }

    fn start_again(&mut self) {
        self.seen.clear();
        self.is_current = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::Workbench;

    fn workbench(id: u64) -> Workbench {
        Workbench { id, ..Workbench::default() }
    }

    #[test]
    fn what_went_while_the_stream_was_lost_is_told() {
        let mut news = News::default();
        for event in [Event::Seen(workbench(1)), Event::Seen(workbench(2)), Event::Current, Event::Seen(workbench(3))] {
            news.take(event);
        }
        assert_eq!(news.ready.len(), 4);
        news.ready.clear();
        news.start_again();
        for event in [Event::Seen(workbench(2)), Event::Current, Event::Gone(workbench(2))] {
            news.take(event);
        }
        let expected = [
            Event::Seen(workbench(2)),
            Event::Gone(workbench(1)),
            Event::Gone(workbench(3)),
            Event::Current,
            Event::Gone(workbench(2)),
        ];
        assert_eq!(news.ready, expected);
    }

    #[test]
    fn a_stream_that_is_lost_before_it_was_whole_tells_no_deletions() {
        let mut news = News::default();
        news.take(Event::Seen(workbench(1)));
        news.start_again();
        news.take(Event::Seen(workbench(1)));
        news.take(Event::Current);
        assert!(!news.ready.iter().any(|event| matches!(event, Event::Gone(_))));
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        let table = [
            (tonic::Code::Unavailable, true),
            (tonic::Code::DeadlineExceeded, true),
            (tonic::Code::Unauthenticated, false),
            (tonic::Code::PermissionDenied, false),
            (tonic::Code::NotFound, false),
            (tonic::Code::Internal, false),
        ];
        for (code, passing) in table {
            let error = Error::from_status("watch", &tonic::Status::new(code, ""));
            assert_eq!(is_passing(&error), passing, "{code:?}");
        }
    }
}
