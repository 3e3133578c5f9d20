//! A turn as a careful client takes it: whatever breaks on the way, the question is asked once, and its answer is
//! read to the end.

use std::io;

use shared::ids::new_id;
use tokio::sync::SetOnce;
use uuid::Uuid;

use super::client::Client;
use super::events::{Answer, Event, Events, Started};
use super::failure::Failure;
use super::patience::Patience;
use super::sheet::Sheet;

/// How often a question is asked whose turns are interrupted: a model is paid for each.
const MAX_QUESTIONS: u32 = 5;

/// A turn, and how far it has been read.
pub(super) struct Turn {
    session_id: Option<Uuid>,
    question: Option<Question>,
    /// The id of the last event with text.
    last_event_id: Option<String>,
    sheet: Sheet,
}

/// A question, whose id makes it safe to ask it again.
struct Question {
    message_id: Uuid,
    query: String,
}

/// How a turn ended.
pub(super) enum End {
    /// With an answer, which was shown.
    Answered(Answer),
    /// Without one.
    Failed(Failure),
}

/// What to send next.
#[derive(Clone, Copy)]
enum Next {
    Ask,
    Resume,
}

/// How a stream ended.
enum StreamEnd {
    Turn(End),
    /// In the middle of the turn.
    Broken,
}

impl Turn {
    /// A turn that is to be begun, in this session or a new one.
    pub(super) fn with(session_id: Option<Uuid>, query: String) -> Self {
        let message_id = new_id();
        Self {
            question: Some(Question { message_id, query }),
            ..Self::in_progress(session_id)
        }
    }

    /// The turn that is in progress in this session.
    pub(super) fn in_progress(session_id: Option<Uuid>) -> Self {
        Self {
            session_id,
            question: None,
            last_event_id: None,
            sheet: Sheet::new(),
        }
    }

    /// Takes the turn to its end. `events` are its events if it is known already, and `started` is told when the
    /// question is stored.
    ///
    /// # Errors
    /// Only if the answer cannot be written.
    pub(super) async fn take(
        &mut self,
        client: &Client,
        events: Option<Events>,
        started: &SetOnce<Started>,
    ) -> io::Result<End> {
        let mut patience = Patience::new();
        let mut questions = 1;
        let mut next = Next::Ask;
        let mut opened = match events {
            Some(events) => Ok(Some(events)),
            None => self.send(client, next, started).await,
        };
        loop {
            let mut failure = Failure::broken();
            match opened {
                Ok(Some(events)) => match self.read(events, &mut patience, started).await? {
                    StreamEnd::Turn(End::Failed(interrupted))
                        if interrupted.is_interrupted()
                            && self.question.is_some()
                            && questions < MAX_QUESTIONS =>
                    {
                        questions += 1;
                        next = Next::Ask;
                        failure = interrupted;
                    }
                    StreamEnd::Turn(end) => {
                        self.sheet.end()?;
                        return Ok(end);
                    }
                    // Before the question is known to be stored, it is asked again.
                    StreamEnd::Broken if started.get().is_some() => next = Next::Resume,
                    StreamEnd::Broken => {}
                },
                // No turn is in progress: it has ended, which only its question tells.
                Ok(None) => next = Next::Ask,
                Err(temporary) if temporary.is_temporary => failure = temporary,
                Err(failure) => {
                    self.sheet.end()?;
                    return Ok(End::Failed(failure));
                }
            }
            if !patience.wait(failure.retry_after).await {
                self.sheet.end()?;
                return Ok(End::Failed(failure));
            }
            opened = self.send(client, next, started).await;
        }
    }

    /// Asks, or takes up again.
    async fn send(
        &mut self,
        client: &Client,
        next: Next,
        started: &SetOnce<Started>,
    ) -> Result<Option<Events>, Failure> {
        match (next, &self.question, started.get()) {
            (Next::Ask, Some(Question { message_id, query }), _) => {
                self.last_event_id = None;
                let events = client.ask(self.session_id, *message_id, query).await;
                events.map(Some)
            }
            (_, _, Some(turn)) => {
                let (session_id, message_id) = (turn.session_id, Some(turn.message_id));
                let id = self.last_event_id.as_deref();
                client.resume(session_id, message_id, id).await
            }
            (_, _, None) => Err(Failure::unexpected()),
        }
    }

    /// Reads events until the stream ends.
    async fn read(
        &mut self,
        mut events: Events,
        patience: &mut Patience,
        started: &SetOnce<Started>,
    ) -> io::Result<StreamEnd> {
        if self.last_event_id.is_none() {
            // These events tell the answer from its beginning.
            self.sheet.begin_again("")?;
        }
        while let Some(event) = events.next().await {
            patience.renew();
            match event {
                Event::Started(turn) => {
                    self.session_id = Some(turn.session_id);
                    // The same again when the turn is taken up.
                    let _ = started.set(turn);
                }
                Event::Delta(delta) => {
                    self.sheet.add(&delta.text)?;
                    self.last_event_id = delta.id.or(self.last_event_id.take());
                }
                Event::Restart(restart) => {
                    self.sheet.begin_again(&restart.text)?;
                    self.last_event_id = restart.id.or(self.last_event_id.take());
                }
                Event::Done(answer) => {
                    self.sheet.complete(&answer.response)?;
                    return Ok(StreamEnd::Turn(End::Answered(answer)));
                }
                Event::Error(failure) => return Ok(StreamEnd::Turn(End::Failed(failure))),
                Event::Other => {}
            }
        }
        Ok(StreamEnd::Broken)
    }
}
