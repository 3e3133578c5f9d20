//! Reading an answer that is being written, or was written meanwhile, from the place where the reader is.

use std::time::Duration;

use shared::caller::Caller;
use shared::http::events::Events;
use shared::http::request::Request;
use shared::problem::Problem;
use shared::store::Store;
use shared::store::links::Links;
use shared::store::streams::{self, Asked, Place, Progress};
use shared::store::turns::StoredAnswer;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::turn_events::{TurnEvents, parse_id};

/// How often a turn is looked at: often at first, as the writer writes soon and most answers are short.
const INTERVAL: Duration = Duration::from_millis(500);
const LATER_INTERVAL: Duration = Duration::from_secs(1);

/// When it is looked at less often.
const LATER: Duration = Duration::from_secs(10);

/// The header in which a browser returns the id of the last event it saw.
const LAST_EVENT_ID: &str = "last-event-id";

/// Follows a turn.
#[derive(Debug)]
pub struct Reader {
    /// Where the turn is.
    pub store: Store,
    /// The links to its recordings.
    pub links: Links,
    /// Who reads.
    pub caller: Caller,
    /// The session of the turn.
    pub session_id: Uuid,
    /// The model that answers.
    pub model: String,
    /// How long a turn may give no sign of life before it counts as dead.
    pub dead_after: Duration,
}

/// The place in the request: the id of the last event that the reader saw.
///
/// # Errors
/// [`Problem::InvalidRequest`], [`Problem::InvalidCursor`].
pub fn place(request: &Request) -> Result<Option<Place>, Problem> {
    // What is empty was not given. The header comes first: a browser that reconnects adds it to the address.
    let header = request.header(LAST_EVENT_ID);
    let header = header.as_deref().filter(|text| !text.is_empty());
    let after = request.query_value("after")?;
    let (name, text) = match (header, after.filter(|text| !text.is_empty())) {
        (Some(text), _) => ("Last-Event-ID", text),
        (None, Some(text)) => ("after", text),
        (None, None) => return Ok(None),
    };
    parse_id(text).map(Some).ok_or(Problem::InvalidCursor(name))
}

impl Reader {
    /// How far the turn is of which the reader has seen everything up to `place`.
    ///
    /// # Errors
    /// As [`streams::read`].
    pub async fn read(
        &self,
        message_id: Option<Uuid>,
        place: Option<Place>,
    ) -> Result<Progress, Problem> {
        streams::read(
            &self.store,
            &self.caller,
            self.session_id,
            message_id,
            place,
            self.dead_after,
        )
        .await
    }

    /// Sends what the reader lacks and then what comes, until the turn has ended. Ends without a last event when
    /// the time for the request is over; the reader can take the answer up again then.
    ///
    /// # Errors
    /// [`Problem::TurnInterrupted`] if the turn has no answer and is not in progress any more, or
    /// [`Problem::SessionNotFound`] if the session was erased meanwhile.
    pub async fn follow(
        &self,
        mut progress: Progress,
        place: Option<Place>,
        events: Events,
    ) -> Result<(), Problem> {
        let began = Instant::now();
        let mut turn: Option<TurnEvents> = None;
        loop {
            let asked = match progress {
                Progress::None | Progress::Interrupted(None) => {
                    return Err(Problem::TurnInterrupted);
                }
                Progress::Interrupted(Some(asked)) => {
                    return Err(Problem::TurnInterrupted.in_turn(self.session_id, asked.message_id));
                }
                Progress::Waiting(asked) => asked,
                Progress::Streaming(part) => {
                    let (asked, response_id) = (part.asked, part.response_id);
                    let turn = turn.get_or_insert_with(|| {
                        self.begin(&events, asked, response_id, place, &self.model)
                    });
                    send(turn, response_id, part.characters_before, &part.text);
                    asked
                }
                Progress::Answered {
                    message_id,
                    query,
                    stored,
                } => {
                    let asked = Asked {
                        question_seq: stored.question_seq,
                        message_id,
                    };
                    let StoredAnswer {
                        response_id,
                        mut answer,
                        seq,
                        ..
                    } = *stored;
                    let turn = turn.get_or_insert_with(|| {
                        self.begin(&events, asked, response_id, place, &answer.model)
                    });
                    send(turn, response_id, 0, &answer.content);
                    let audio_files = &mut answer.audio_files;
                    self.links.replace(&self.caller, audio_files).await;
                    return turn.done(&query, &answer, seq);
                }
            };
            let place = turn.as_ref().map(TurnEvents::place).or(place);
            let message_id = Some(asked.message_id);
            match self.look_again(began, &events, message_id, place).await? {
                Some(next) => progress = next,
                None => return Ok(()),
            }
        }
    }

    /// How far the turn is after a pause; `None` if nobody waits for it any more. A database that fails in
    /// between is asked again.
    async fn look_again(
        &self,
        began: Instant,
        events: &Events,
        message_id: Option<Uuid>,
        place: Option<Place>,
    ) -> Result<Option<Progress>, Problem> {
        loop {
            sleep(if began.elapsed() < LATER {
                INTERVAL
            } else {
                LATER_INTERVAL
            })
            .await;
            if !events.has_reader() || Instant::now() + LATER_INTERVAL > self.caller.deadline {
                return Ok(None);
            }
            match self.read(message_id, place).await {
                Err(problem) if problem.is_failure() => tracing::warn!(
                    code = problem.code(),
                    "a turn could not be read and will be read again"
                ),
                read => return read.map(Some),
            }
        }
    }

    fn begin(
        &self,
        events: &Events,
        asked: Asked,
        response_id: Uuid,
        place: Option<Place>,
        model: &str,
    ) -> TurnEvents {
        let start = Place {
            question_seq: asked.question_seq,
            response_id,
            characters: 0,
        };
        let turn = TurnEvents::new(
            events.clone(),
            self.session_id,
            asked.message_id,
            place.unwrap_or(start),
        );
        turn.started(response_id, model);
        turn
    }
}

/// Sends what the reader lacks of this text, which begins after so many characters of the answer.
fn send(turn: &mut TurnEvents, response_id: Uuid, characters_before: i32, text: &str) {
    let place = turn.place();
    if place.response_id != response_id {
        turn.restart(response_id, text);
        return;
    }
    // A reader may be ahead of what was stored: the writer sends before it stores.
    let seen = place.characters.saturating_sub(characters_before);
    let seen = usize::try_from(seen).unwrap_or_default();
    let lacking = text.char_indices().nth(seen);
    if let Some((start, _)) = lacking {
        turn.text(&text[start..]);
    }
}
