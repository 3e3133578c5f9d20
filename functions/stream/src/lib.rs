//! Turns whose answers arrive word by word. `POST /chat/stream` takes a turn and sends its answer as it is
//! written, `GET /chat/stream/{session_id}` takes such an answer up again, `POST /chat/stop` ends it.

mod follow;
mod turn_events;

use std::sync::Arc;

use assistant::{Assistant, Piece, StreamStart};
use chat::exchange::question;
use serde::Serialize;
use shared::caller::Caller;
use shared::http::endpoint::{Endpoint, Reply};
use shared::http::events::Events;
use shared::http::request::Request;
use shared::http::route::Route;
use shared::observed;
use shared::problem::Problem;
use shared::store::Store;
use shared::store::links::Links;
use shared::store::streams::{self, Place, Progress};
use shared::store::turns::{Question, Turn};
use uuid::Uuid;

use crate::follow::Reader;
use crate::turn_events::TurnEvents;

/// The function.
#[derive(Debug)]
pub struct Stream {
    store: Store,
    assistant: Arc<Assistant>,
    links: Links,
}

const TAKE: Route = Route::post("/chat/stream");
const FOLLOW: Route = Route::get("/chat/stream/{session_id}");
const STOP: Route = Route::post("/chat/stop");

#[derive(Serialize)]
struct StopReply {
    success: bool,
    stopping: bool,
}

impl Stream {
    /// The function with its assistant, on the assistant's store.
    #[must_use]
    pub fn new(store: Store, assistant: Arc<Assistant>, links: Links) -> Self {
        Self {
            store,
            assistant,
            links,
        }
    }

    /// Takes a turn. Until the question is stored, a failure is an ordinary answer.
    async fn take(&self, request: &Request) -> Result<Reply, Problem> {
        let question = question(request)?;
        let caller = request.caller_for(self.assistant.stream_time());
        match self.assistant.begin_stream(&caller, &question).await? {
            StreamStart::Started(turn) => {
                let (assistant, links) = (Arc::clone(&self.assistant), self.links.clone());
                Ok(Reply::events(move |events| async move {
                    answer(&assistant, &links, &caller, &question, &turn, events).await
                }))
            }
            StreamStart::Replayed(mut end) => {
                self.links
                    .replace(&caller, &mut end.answer.audio_files)
                    .await;
                Ok(Reply::events(move |events| async move {
                    let mut turn = begin(&question, end.question_seq, end.response_id, events);
                    turn.started(end.response_id, &end.answer.model);
                    turn.text(&end.answer.content);
                    turn.done(&question.content, &end.answer, end.seq)
                })
                .replayed())
            }
            StreamStart::InProgress => {
                let message_id = Some(question.message_id);
                self.follow(caller, question.session_id, message_id, None)
                    .await
            }
        }
    }

    /// Takes an answer up again where the reader is.
    async fn resume(&self, request: &Request) -> Result<Reply, Problem> {
        let session_id = request.path_id("session_id")?;
        observed::session(session_id);
        let message_id = request.query_id("message_id")?;
        let place = follow::place(request)?;
        let caller = request.caller_for(self.assistant.stream_time());
        self.follow(caller, session_id, message_id, place).await
    }

    async fn follow(
        &self,
        caller: Caller,
        session_id: Uuid,
        message_id: Option<Uuid>,
        place: Option<Place>,
    ) -> Result<Reply, Problem> {
        let reader = Reader {
            store: self.store.clone(),
            links: self.links.clone(),
            caller,
            session_id,
            model: self.assistant.model().to_owned(),
            dead_after: self.assistant.dead_after(),
        };
        match reader.read(message_id, place).await? {
            Progress::None => Ok(Reply::nothing()),
            progress => Ok(Reply::events(move |events| async move {
                reader.follow(progress, place, events).await
            })),
        }
    }

    async fn stop(&self, request: &Request) -> Result<Reply, Problem> {
        let session_id = request.required_query_id("session_id")?;
        request.refuse_in_body("session_id")?;
        observed::session(session_id);
        let message_id = request.query_id("message_id")?;
        request.refuse_in_body("message_id")?;
        let dead_after = self.assistant.dead_after();
        Reply::json(&StopReply {
            success: true,
            stopping: streams::stop(
                &self.store,
                request.caller(),
                session_id,
                message_id,
                dead_after,
            )
            .await?,
        })
    }
}

/// Answers a turn that was begun, and sends what the model says as it says it.
async fn answer(
    assistant: &Assistant,
    links: &Links,
    caller: &Caller,
    question: &Question,
    turn: &Turn,
    events: Events,
) -> Result<(), Problem> {
    let mut sent = begin(question, turn.question_seq, turn.lease_id, events);
    sent.started(turn.lease_id, assistant.model());
    let mut sink = |piece: Piece<'_>| match piece {
        Piece::Text(text) => sent.text(text),
        Piece::FunctionCall(call) => sent.function_call(call),
        // They come with the end: better ones may still be found.
        Piece::Recordings(_) => {}
    };
    let mut end = assistant.stream(caller, question, turn, &mut sink).await?;
    links.replace(caller, &mut end.answer.audio_files).await;
    sent.done(&question.content, &end.answer, end.seq)
}

/// The events of a turn for the caller who asked its question.
fn begin(question: &Question, question_seq: i64, response_id: Uuid, events: Events) -> TurnEvents {
    let place = Place {
        question_seq,
        response_id,
        characters: 0,
    };
    TurnEvents::new(events, question.session_id, question.message_id, place)
}

impl Endpoint for Stream {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ROUTES: &'static [Route] = &[TAKE, FOLLOW, STOP];

    /// # Errors
    /// Every problem of the contract; those that occur after the answer has begun are in its last event.
    async fn handle(&self, request: Request) -> Result<Reply, Problem> {
        match *request.route() {
            TAKE => self.take(&request).await,
            FOLLOW => self.resume(&request).await,
            _ => self.stop(&request).await,
        }
    }
}
