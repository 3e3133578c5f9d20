//! A turn from beginning to end, whichever function it is for.

use std::time::Duration;

use shared::caller::Caller;
use shared::ids::new_id;
use shared::problem::Problem;
use shared::store::Store;
use shared::store::turns::{
    self, Answer, ContextMessage, Lease, Question, Turn, TurnFailure, TurnStart,
};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::config::AssistantConfig;
use crate::metrics;
use crate::model::{Delivery, ModelFailure, Piece};

/// The part of the caller's time reserved for storing the answer.
const FINISH_RESERVE: Duration = Duration::from_secs(3);

/// Timeout for releasing the lease of a failed turn: the caller is still waiting for the error.
const ABANDON_TIMEOUT: Duration = Duration::from_secs(2);

/// How much longer than the model's timeout a lease lasts: the time to begin and finish the turn.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// The assistant: a model, and the turns it takes.
#[derive(Debug)]
pub struct Assistant {
    store: Store,
    config: AssistantConfig,
}

/// How a turn ended.
#[derive(Debug)]
pub struct TurnEnd {
    /// The answer.
    pub answer: Answer,
    /// The position of the answer, which is the length of the conversation that ends with it.
    pub seq: i64,
    /// Whether it was answered by an earlier call.
    pub is_replayed: bool,
}

impl Assistant {
    /// An assistant with its conversations in a store.
    #[must_use]
    pub fn new(store: Store, config: AssistantConfig) -> Self {
        Self { store, config }
    }

    /// Takes a turn: stores the question, asks the model, stores the answer. If the question was
    /// answered before, returns that answer.
    ///
    /// A streamed answer is given before it is stored, so the turn may still fail after it. The text
    /// of an earlier answer is given in one piece.
    ///
    /// # Errors
    /// Those of [`turns::begin`] and [`turns::finish`], and the model's. If the question may have
    /// been stored, the error names the turn, so that the caller can retry it.
    pub async fn turn(
        &self,
        caller: &Caller,
        question: &Question,
        delivery: Delivery<'_>,
    ) -> Result<TurnEnd, Problem> {
        let ended = self.take_turn(caller, question, delivery).await;
        match &ended {
            Ok(end) if end.is_replayed => metrics::replayed(),
            Ok(_) => metrics::stored(),
            Err(problem) => metrics::failed(problem),
        }
        ended
    }

    async fn take_turn(
        &self,
        caller: &Caller,
        question: &Question,
        delivery: Delivery<'_>,
    ) -> Result<TurnEnd, Problem> {
        let (session_id, message_id) = (question.session_id, question.message_id);
        let lease = Lease {
            lease_id: new_id(),
            duration: self.config.model_timeout + LEASE_MARGIN,
        };
        let context = self.config.context;
        let begun = turns::begin(&self.store, caller, question, lease, context).await;
        let turn = match begun {
            Ok(TurnStart::Started(turn)) => turn,
            Ok(TurnStart::Replayed { answer, seq }) => {
                if let Delivery::Streamed { sink, .. } = delivery {
                    sink(Piece::Text(&answer.content));
                }
                return Ok(TurnEnd {
                    answer,
                    seq,
                    is_replayed: true,
                });
            }
            // The question may have been stored anyway: the ids make it safe to retry, and once the
            // lease is released that is possible immediately.
            Err(problem) if problem.is_failure() => {
                if problem.may_have_been_stored() {
                    self.abandon(caller, session_id, lease.lease_id, None).await;
                }
                return Err(problem.in_turn(session_id, message_id));
            }
            Err(problem) => return Err(problem),
        };

        let finished = match self.ask(caller, question, &turn, delivery).await {
            Ok((answer, latency)) => turns::finish(&self.store, caller, &turn, &answer, latency)
                .await
                .map(|seq| (answer, seq)),
            Err(problem) => Err(problem),
        };
        match finished {
            Ok((answer, seq)) => Ok(TurnEnd {
                answer,
                seq,
                is_replayed: false,
            }),
            // Erased meanwhile: there is nothing left to retry.
            Err(problem @ Problem::SessionNotFound(_)) => Err(problem),
            Err(problem) => {
                let failure = failure(&problem, turn.question_seq);
                self.abandon(caller, session_id, turn.lease_id, failure)
                    .await;
                Err(problem.in_turn(session_id, message_id))
            }
        }
    }

    /// Asks the model within its timeout and the caller's deadline. Returns how long it took as well.
    async fn ask(
        &self,
        caller: &Caller,
        question: &Question,
        turn: &Turn,
        delivery: Delivery<'_>,
    ) -> Result<(Answer, Duration), Problem> {
        let asked = Instant::now();
        let limit = (asked + self.config.model_timeout).min(caller.deadline - FINISH_RESERVE);
        let answer = self.answer(&turn.context, &question.content, delivery);
        let answered = timeout_at(limit, answer).await;
        let latency = asked.elapsed();
        metrics::asked(latency);
        match answered {
            Ok(Ok(answer)) => {
                metrics::answered(answer.usage);
                Ok((answer, latency))
            }
            Ok(Err(failure)) if failure.is_context_exceeded() => {
                Err(Problem::ModelContextExceeded(Box::new(failure)))
            }
            Ok(Err(failure)) => Err(Problem::ModelError(Box::new(failure))),
            Err(_) => Err(Problem::ModelTimeout(limit - asked)),
        }
    }

    /// Asks the model, and again with ever less context while the provider reports that it is too
    /// long.
    async fn answer(
        &self,
        mut context: &[ContextMessage],
        question: &str,
        mut delivery: Delivery<'_>,
    ) -> Result<Answer, ModelFailure> {
        let AssistantConfig {
            model,
            system_prompt,
            ..
        } = &self.config;
        loop {
            match model
                .answer(system_prompt, context, question, delivery.reborrow())
                .await
            {
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

    /// Allows the turn to be retried immediately. If that fails, the lease expires by itself.
    async fn abandon(
        &self,
        caller: &Caller,
        session_id: Uuid,
        lease_id: Uuid,
        failure: Option<TurnFailure>,
    ) {
        let caller = Caller {
            deadline: caller.deadline.min(Instant::now() + ABANDON_TIMEOUT),
            ..caller.clone()
        };
        let abandoned = turns::abandon(&self.store, &caller, session_id, lease_id, failure).await;
        if let Err(problem) = abandoned {
            tracing::warn!(
                code = problem.code(),
                "the lease of a failed turn could not be released and will expire"
            );
        }
    }
}

/// What the record keeps of a problem in a turn: failures of the model.
fn failure(problem: &Problem, question_seq: i64) -> Option<TurnFailure> {
    match problem {
        Problem::ModelError(_) | Problem::ModelContextExceeded(_) => {
            Some(TurnFailure::ModelError { question_seq })
        }
        Problem::ModelTimeout(_) => Some(TurnFailure::ModelTimeout { question_seq }),
        _ => None,
    }
}
