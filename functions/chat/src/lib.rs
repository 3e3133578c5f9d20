//! `POST /chat`: one turn. Stores the user's message, asks the model, stores and returns the answer.

mod audio;
mod config;
mod metrics;
mod model;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use shared::database::Database;
use shared::endpoint::{Endpoint, Reply};
use shared::problem::Problem;
use shared::record;
use shared::request::{Caller, Request};
use shared::route::Route;
use shared::turns::{self, Answer, Begun, Lease, Question, Turn};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

pub use config::{ChatConfig, ChatConfigError};
pub use model::{Model, ModelFailure};

/// The longest `query`, in characters.
const MAX_QUERY_CHARACTERS: usize = 32_000;

/// The longest `metadata` and the longest `audio_files`, in bytes of JSON.
const MAX_JSON_BYTES: usize = 16 * 1024;

/// What is kept back of the caller's time to store the answer.
const FINISH_RESERVE: Duration = Duration::from_secs(3);

/// How much longer than the model's limit a lease lasts: the time to begin and to finish.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// The function.
#[derive(Debug)]
pub struct Chat {
    database: Arc<Database>,
    config: ChatConfig,
}

#[derive(Serialize)]
struct TurnAnswer<'a> {
    response: &'a str,
    query: &'a str,
    audio_files: &'a [Value],
    audio_provided: bool,
    conversation_length: i64,
    session_id: Uuid,
    message_id: Uuid,
    response_id: Uuid,
    function_calls: &'a [Value],
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Usage {
    input_tokens: i64,
    output_tokens: i64,
}

impl Chat {
    /// The function on a database, with a model.
    #[must_use]
    pub fn new(database: Arc<Database>, config: ChatConfig) -> Self {
        Self { database, config }
    }

    /// Runs a turn to its end; also the stored end of one that ran before.
    async fn turn(&self, caller: &Caller, question: &Question) -> Result<Reply, Problem> {
        let lease = Lease {
            lease_id: Uuid::now_v7(),
            duration: self.config.model_timeout + LEASE_MARGIN,
        };
        let context_messages = self.config.context_messages;
        let begun = turns::begin(&self.database, caller, question, lease, context_messages)
            .await
            .map_err(|problem| {
                // It may have been stored all the same: the ids make it safe to repeat.
                if problem.status().is_server_error() {
                    problem.in_turn(question.session_id, question.message_id)
                } else {
                    problem
                }
            })?;
        let turn = match begun {
            Begun::Started(turn) => turn,
            Begun::Answered {
                session_id,
                answer,
                seq,
            } => {
                record::session(session_id);
                metrics::replayed();
                return Ok(reply(question, session_id, &answer, seq)?.replayed());
            }
        };
        record::session(turn.session_id);

        let finished = match self.ask(caller, question, &turn).await {
            Ok(answer) => turns::finish(&self.database, caller, &turn, lease, &answer)
                .await
                .map(|seq| (answer, seq)),
            Err(problem) => Err(problem),
        };
        match finished {
            Ok((answer, seq)) => {
                metrics::stored();
                reply(question, turn.session_id, &answer, seq)
            }
            Err(problem) => {
                self.abandon(caller, &turn, lease).await;
                Err(problem.in_turn(turn.session_id, question.message_id))
            }
        }
    }

    /// Asks the model within its limit and the caller's.
    async fn ask(
        &self,
        caller: &Caller,
        question: &Question,
        turn: &Turn,
    ) -> Result<Answer, Problem> {
        let asked = Instant::now();
        let limit = (asked + self.config.model_timeout).min(caller.deadline - FINISH_RESERVE);
        let answer =
            self.config
                .model
                .answer(&self.config.system_prompt, &turn.context, &question.content);
        let answered = timeout_at(limit, answer).await;
        metrics::asked(asked.elapsed());
        match answered {
            Ok(Ok(answer)) => {
                metrics::answered(&answer);
                Ok(answer)
            }
            Ok(Err(failure)) => Err(Problem::ModelError(Box::new(failure))),
            Err(_) => Err(Problem::ModelTimeout(limit - asked)),
        }
    }

    /// Lets the turn be repeated at once. Where that fails, the lease ends by itself.
    async fn abandon(&self, caller: &Caller, turn: &Turn, lease: Lease) {
        if let Err(problem) = turns::abandon(&self.database, caller, turn, lease).await {
            tracing::warn!(
                code = problem.code(),
                "the lease of a failed turn is left to end"
            );
        }
    }
}

impl Endpoint for Chat {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ROUTE: Route = Route::post("/chat");

    /// # Errors
    /// Every problem of the contract but the cursors'.
    async fn handle(&self, request: Request) -> Result<Reply, Problem> {
        let question = question(&request)?;
        let answered = self.turn(request.caller(), &question).await;
        answered.inspect_err(metrics::failed)
    }
}

fn question(request: &Request) -> Result<Question, Problem> {
    let fields = request.fields()?;
    let session_id = fields.optional_id("session_id")?;
    if let Some(session_id) = session_id {
        record::session(session_id);
    }
    Ok(Question {
        content: fields.required_text("query", MAX_QUERY_CHARACTERS)?,
        session_id: session_id.unwrap_or_else(Uuid::now_v7),
        is_session_chosen: session_id.is_some(),
        message_id: fields
            .optional_id("message_id")?
            .unwrap_or_else(Uuid::now_v7),
        audio_files: fields.optional_objects("audio_files", MAX_JSON_BYTES)?,
        metadata: fields.optional_object("metadata", MAX_JSON_BYTES)?,
    })
}

/// The answer of a turn. `seq` has no gaps, so the place of the answer is the length of the
/// conversation that it ends.
fn reply(
    question: &Question,
    session_id: Uuid,
    answer: &Answer,
    seq: i64,
) -> Result<Reply, Problem> {
    Reply::json(&TurnAnswer {
        response: &answer.content,
        query: &question.content,
        audio_files: &answer.audio_files,
        audio_provided: !answer.audio_files.is_empty(),
        conversation_length: seq,
        session_id,
        message_id: question.message_id,
        response_id: answer.response_id,
        function_calls: &answer.function_calls,
        model: &answer.model,
        usage: Usage {
            input_tokens: answer.input_tokens,
            output_tokens: answer.output_tokens,
        },
    })
}
