//! The answer of a streamed turn while it is being written, kept in the database so that readers can take it
//! up again wherever they were.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use shared::caller::Caller;
use shared::store::Store;
use shared::store::streams::{self, StreamPiece, Written};
use shared::store::turns::{Answer, Shown, Turn, Usage};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::model::Piece;

/// When the first text is written: soon, because a reader who comes back early has seen some.
const FIRST_WRITE: Duration = Duration::from_millis(300);

/// How often the text is written; at least as often the turn learns whether it is to stop.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// How much text is written earlier than that, in bytes. Bounds what a crash loses, and the size of a piece.
const WRITE_BYTES: usize = 2048;

/// What the model has said so far.
#[derive(Debug, Default)]
pub struct Partial {
    said: Mutex<Said>,
    has_changed: Notify,
}

#[derive(Debug, Default)]
struct Said {
    text: String,
    characters: i32,
    function_calls: Vec<Value>,
    audio_files: Vec<Value>,
    first_text: Option<Instant>,
    is_complete: bool,
    shown: Shown,
}

/// Why nothing more is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The model has said everything.
    Complete,
    /// The caller wants the turn to stop.
    Stopped,
    /// Another call took over the turn.
    Lost,
    /// The session was erased.
    Erased,
}

/// What is in the database.
#[derive(Debug, Default, Clone, Copy)]
struct Stored {
    pieces: i32,
    bytes: usize,
}

impl Partial {
    /// Adds what the model says.
    pub fn add(&self, piece: Piece<'_>) {
        let mut said = self.said();
        match piece {
            Piece::Text(text) => {
                said.first_text.get_or_insert_with(Instant::now);
                said.characters += i32::try_from(text.chars().count()).unwrap_or(i32::MAX);
                said.text.push_str(text);
            }
            Piece::FunctionCall(call) => said.function_calls.push(call.clone()),
            Piece::Recordings(recordings) => said.audio_files = recordings.to_vec(),
        }
        drop(said);
        self.has_changed.notify_one();
    }

    /// Ends [`Self::keep`]: the model has said everything.
    pub fn complete(&self) {
        self.said().is_complete = true;
        self.has_changed.notify_one();
    }

    /// Sets what the model is shown of the conversation; the last request to it counts.
    pub fn show(&self, shown: Shown) {
        self.said().shown = shown;
    }

    /// What the model was shown of the conversation.
    pub fn shown(&self) -> Shown {
        self.said().shown
    }

    /// When the first text was said.
    pub fn first_text(&self) -> Option<Instant> {
        self.said().first_text
    }

    /// What was said so far as an answer that its caller stopped. The provider has not said how many tokens it
    /// took.
    pub fn stopped(&self, model: &str) -> Answer {
        let said = self.said();
        Answer {
            content: said.text.clone(),
            audio_files: said.audio_files.clone(),
            function_calls: said.function_calls.clone(),
            model: model.to_owned(),
            finish_reason: Some("stopped".to_owned()),
            usage: Usage::default(),
        }
    }

    /// Writes what is said to the database, and signs of life, until there is a reason not to. One write at a
    /// time; nothing waits for it. A write that fails is repeated with the next one.
    pub async fn keep(&self, store: &Store, caller: &Caller, turn: &Turn) -> Ended {
        let mut stored = Stored::default();
        let mut next = Instant::now() + FIRST_WRITE;
        while self.is_due(next, stored.bytes).await {
            next = Instant::now() + WRITE_INTERVAL;
            let (text, characters_through) = self.since(stored.bytes);
            let piece = StreamPiece {
                number: stored.pieces + 1,
                text: &text,
                characters_through,
            };
            let written = streams::write(store, caller, turn, piece).await;
            match written {
                Ok(Written::Kept) => {
                    // An empty piece is replaced by the next one.
                    stored.pieces += i32::from(!text.is_empty());
                    stored.bytes += text.len();
                }
                Ok(Written::Emptied) => {
                    stored = Stored::default();
                    next = Instant::now();
                }
                Ok(Written::StopRequested) => return Ended::Stopped,
                Ok(Written::Lost) => return Ended::Lost,
                Ok(Written::Erased) => return Ended::Erased,
                Err(problem) => tracing::warn!(
                    code = problem.code(),
                    "a part of an answer could not be written and will be with the next one"
                ),
            }
        }
        Ended::Complete
    }

    /// Waits until `next`, or until there is much to write. Returns `false` if the text is complete.
    async fn is_due(&self, next: Instant, stored_bytes: usize) -> bool {
        loop {
            {
                let said = self.said();
                if said.is_complete {
                    return false;
                }
                if said.text.len() - stored_bytes >= WRITE_BYTES {
                    return true;
                }
            }
            if timeout_at(next, self.has_changed.notified()).await.is_err() {
                return !self.said().is_complete;
            }
        }
    }

    /// The text after this many bytes, and how many characters there are up to its end.
    fn since(&self, bytes: usize) -> (String, i32) {
        let said = self.said();
        let text = said.text.get(bytes..).unwrap_or_default().to_owned();
        (text, said.characters)
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
