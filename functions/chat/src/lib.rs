//! `POST /chat`: one turn. Stores the user's message, asks the model, stores and returns the answer.

mod audio;
mod config;
mod metrics;
mod model;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use shared::caller::Caller;
use shared::database::Database;
use shared::http::endpoint::{Endpoint, Reply};
use shared::http::request::Request;
use shared::http::route::Route;
use shared::ids::new_id;
use shared::observed;
use shared::problem::Problem;
use shared::store::turns::{self, Answer, ContextMessage, Lease, Question, Turn, TurnStart};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

pub use config::ChatConfig;
pub use model::{Model, ModelFailure};

/// The longest `query`, in characters.
const MAX_QUERY_CHARACTERS: usize = 32_000;

/// The longest `metadata` and the longest `audio_files`, in bytes of JSON.
const MAX_JSON_BYTES: usize = 16 * 1024;

/// What is kept back of the caller's time to store the answer.
const FINISH_RESERVE: Duration = Duration::from_secs(3);

/// How long releasing the lease of a failed turn may take: its caller waits for the bad news.
const ABANDON_TIMEOUT: Duration = Duration::from_secs(2);

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
        let (session_id, message_id) = (question.session_id, question.message_id);
        observed::session(session_id);
        let lease = Lease {
            lease_id: new_id(),
            duration: self.config.model_timeout + LEASE_MARGIN,
        };
        let context = self.config.context;
        let begun = turns::begin(&self.database, caller, question, lease, context).await;
        let turn = match begun {
            Ok(TurnStart::Started(turn)) => turn,
            Ok(TurnStart::Replayed { answer, seq }) => {
                metrics::replayed();
                return Ok(reply(question, &answer, seq)?.replayed());
            }
            // It may have been stored all the same: the ids make it safe to repeat, and without the
            // lease that can be done immediately.
            Err(problem) if problem.status().is_server_error() => {
                if problem.may_have_been_stored() {
                    self.abandon(caller, session_id, lease).await;
                }
                return Err(problem.in_turn(session_id, message_id));
            }
            Err(problem) => return Err(problem),
        };

        let finished = match self.ask(caller, question, &turn).await {
            Ok(answer) => turns::finish(&self.database, caller, session_id, &turn, lease, &answer)
                .await
                .map(|seq| (answer, seq)),
            Err(problem) => Err(problem),
        };
        match finished {
            Ok((answer, seq)) => {
                metrics::stored();
                reply(question, &answer, seq)
            }
            Err(problem) => {
                self.abandon(caller, session_id, lease).await;
                Err(problem.in_turn(session_id, message_id))
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
        let answered = timeout_at(limit, self.answer(&turn.context, &question.content)).await;
        metrics::asked(asked.elapsed());
        match answered {
            Ok(Ok(answer)) => {
                metrics::answered(&answer);
                Ok(answer)
            }
            Ok(Err(failure)) if failure.is_context_exceeded() => {
                Err(Problem::ModelContextExceeded(Box::new(failure)))
            }
            Ok(Err(failure)) => Err(Problem::ModelError(Box::new(failure))),
            Err(_) => Err(Problem::ModelTimeout(limit - asked)),
        }
    }

    /// Asks the model, with ever less of the context while the provider says that it is too much.
    async fn answer(
        &self,
        mut context: &[ContextMessage],
        question: &str,
    ) -> Result<Answer, ModelFailure> {
        let ChatConfig {
            model,
            system_prompt,
            ..
        } = &self.config;
        loop {
            match model.answer(system_prompt, context, question).await {
                Err(failure) if failure.is_context_exceeded() && !context.is_empty() => {
                    tracing::info!(
                        messages = context.len(),
                        "the context is too long for the model"
                    );
                    context = &context[context.len().div_ceil(2)..];
                }
                answered => return answered,
            }
        }
    }

    /// Lets the turn be repeated immediately. Where that fails, the lease ends by itself.
    async fn abandon(&self, caller: &Caller, session_id: Uuid, lease: Lease) {
        let caller = Caller {
            deadline: caller.deadline.min(Instant::now() + ABANDON_TIMEOUT),
            ..caller.clone()
        };
        if let Err(problem) = turns::abandon(&self.database, &caller, session_id, lease).await {
            tracing::warn!(
                code = problem.code(),
                "the lease of a failed turn could not be released and will expire"
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
        observed::session(session_id);
    }
    let message_id = fields.optional_id("message_id")?;
    let session_id = match (session_id, message_id) {
        (Some(session_id), _) => session_id,
        // The same one however often the call is repeated.
        (None, Some(message_id)) => request.caller().session_of(message_id),
        (None, None) => new_id(),
    };
    Ok(Question {
        content: fields.required_text("query", MAX_QUERY_CHARACTERS)?,
        session_id,
        message_id: message_id.unwrap_or_else(new_id),
        audio_files: fields.optional_objects("audio_files", MAX_JSON_BYTES)?,
        metadata: fields.optional_object("metadata", MAX_JSON_BYTES)?,
    })
}

/// The answer of a turn. `seq` has no gaps, so the place of the answer is the length of the
/// conversation that it ends.
fn reply(question: &Question, answer: &Answer, seq: i64) -> Result<Reply, Problem> {
    Reply::json(&TurnAnswer {
        response: &answer.content,
        query: &question.content,
        audio_files: &answer.audio_files,
        audio_provided: !answer.audio_files.is_empty(),
        conversation_length: seq,
        session_id: question.session_id,
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
