//! A turn from beginning to end, whichever function it is for: begun, answered, finished. A turn whose answer is
//! streamed is the same turn, which also gives away what the model says and keeps it readable meanwhile.

use std::borrow::Cow;
use std::pin::pin;
use std::time::Duration;

use shared::caller::Caller;
use shared::ids::new_id;
use shared::observed;
use shared::problem::Problem;
use shared::store::Store;
use shared::store::turns::{
    self, Answer, ContextLimits, Lease, Question, Shown, StoredAnswer, Timing, Turn, TurnFailure,
    TurnStart,
};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::agent::Conversation;
use crate::config::AssistantConfig;
use crate::context::Fitted;
use crate::metrics;
use crate::model::{Delivery, ModelFailure, Piece, Sink};
use crate::partial::{Ended, Partial};

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
    /// The position of the question.
    pub question_seq: i64,
    /// The id of the answer.
    pub response_id: Uuid,
    /// The answer.
    pub answer: Answer,
    /// The position of the answer, which is the length of the conversation that ends with it.
    pub seq: i64,
    /// Whether it was answered by an earlier call.
    pub is_replayed: bool,
}

/// How a streamed turn begins.
#[derive(Debug)]
pub enum StreamStart {
    /// To be answered with [`Assistant::stream`].
    Started(Turn),
    /// It was answered before.
    Replayed(TurnEnd),
    /// It is being streamed by another call.
    InProgress,
}

impl Assistant {
    /// An assistant with its conversations in a store.
    #[must_use]
    pub fn new(store: Store, config: AssistantConfig) -> Self {
        Self { store, config }
    }

    /// Does what need not wait for the first turn: imports the recordings of `AUDIO_CATALOGUE`. If the database
    /// cannot be reached, the first search does it.
    pub async fn prepare(&self) {
        self.config.agent.prepare(&self.store).await;
    }

    /// The name of the model, unless its provider gives answers another one.
    #[must_use]
    pub fn model(&self) -> &str {
        self.config.agent.models().first().name()
    }

    /// The longest time that a streamed turn takes.
    #[must_use]
    pub fn stream_time(&self) -> Duration {
        self.config.model_stream_timeout + LEASE_MARGIN
    }

    /// How long a streamed turn may give no sign of life before it counts as dead.
    #[must_use]
    pub fn dead_after(&self) -> Duration {
        self.config.stream_dead_after
    }

    /// Takes a turn: stores the question, asks the model, stores the answer. If the question was
    /// answered before, returns that answer.
    ///
    /// # Errors
    /// Those of [`turns::begin`] and [`turns::finish`], and the model's. If the question may have
    /// been stored, the error names the turn, so that the caller can retry it.
    pub async fn turn(&self, caller: &Caller, question: &Question) -> Result<TurnEnd, Problem> {
        let started = match self.begin(caller, question, false).await {
            Ok(TurnStart::Started(turn)) => Ok(turn),
            Ok(TurnStart::Replayed(end)) => return Ok(replayed(end)),
            // Only a streamed turn takes another one up.
            Ok(TurnStart::Streaming { .. }) => Err(Problem::SessionBusy),
            Err(problem) => Err(problem),
        };
        let ended = match started {
            Ok(turn) => {
                let answered = self.ask(caller, question, &turn).await;
                self.finish(caller, question, &turn, answered).await
            }
            Err(problem) => Err(problem),
        };
        counted(ended)
    }

    /// Begins a turn whose answer is streamed: stores the question.
    ///
    /// # Errors
    /// As [`Self::turn`], but for the model's.
    pub async fn begin_stream(
        &self,
        caller: &Caller,
        question: &Question,
    ) -> Result<StreamStart, Problem> {
        match self.begin(caller, question, true).await {
            Ok(TurnStart::Started(turn)) => Ok(StreamStart::Started(turn)),
            Ok(TurnStart::Replayed(end)) => Ok(StreamStart::Replayed(replayed(end))),
            Ok(TurnStart::Streaming { .. }) => Ok(StreamStart::InProgress),
            Err(problem) => {
                metrics::failed(&problem);
                Err(problem)
            }
        }
    }

    /// Answers a turn that was begun to be streamed, and stores the answer. `sink` gets it as the model gives it,
    /// so before it is stored: the turn may still fail.
    ///
    /// If the caller asks for it, the turn stops, and what was said so far is its answer.
    ///
    /// # Errors
    /// As [`Self::turn`], and [`Problem::TurnInterrupted`] if another call took over the turn.
    pub async fn stream(
        &self,
        caller: &Caller,
        question: &Question,
        turn: &Turn,
        sink: Sink<'_>,
    ) -> Result<TurnEnd, Problem> {
        let answered = self.ask_streaming(caller, question, turn, sink).await;
        counted(self.finish(caller, question, turn, answered).await)
    }

    async fn begin(
        &self,
        caller: &Caller,
        question: &Question,
        is_streamed: bool,
    ) -> Result<TurnStart, Problem> {
        let (session_id, message_id) = (question.session_id, question.message_id);
        let config = &self.config;
        let model_timeout = if is_streamed {
            config.model_stream_timeout
        } else {
            config.model_timeout
        };
        let lease = Lease {
            lease_id: new_id(),
            duration: model_timeout + LEASE_MARGIN,
            is_streamed,
            dead_after: config.stream_dead_after,
        };
        let context = ContextLimits {
            messages: config.context_messages,
            tokens: config.agent.room(&question.content),
        };
        let begun = turns::begin(&self.store, caller, question, lease, context).await;
        match begun {
            // The question may have been stored anyway: the ids make it safe to retry, and once the
            // lease is released that is possible immediately.
            Err(problem) if problem.is_failure() => {
                if problem.may_have_been_stored() {
                    self.abandon(caller, session_id, lease.lease_id, None).await;
                }
                Err(problem.in_turn(session_id, message_id))
            }
            begun => begun,
        }
    }

    /// Stores the answer of a turn, or gives the turn up.
    async fn finish(
        &self,
        caller: &Caller,
        question: &Question,
        turn: &Turn,
        answered: Result<(Answer, Timing, Shown), Problem>,
    ) -> Result<TurnEnd, Problem> {
        let finished = match answered {
            Ok((answer, timing, shown)) => {
                let seq = turns::finish(&self.store, caller, turn, &answer, timing, shown).await;
                seq.map(|seq| (answer, seq))
            }
            Err(problem) => Err(problem),
        };
        match finished {
            Ok((answer, seq)) => Ok(TurnEnd {
                question_seq: turn.question_seq,
                response_id: turn.lease_id,
                answer,
                seq,
                is_replayed: false,
            }),
            // Erased meanwhile: there is nothing left to retry.
            Err(problem @ Problem::SessionNotFound(_)) => Err(problem),
            Err(problem) => {
                let failure = failure(&problem, turn.question_seq);
                self.abandon(caller, turn.session_id, turn.lease_id, failure)
                    .await;
                Err(problem.in_turn(turn.session_id, question.message_id))
            }
        }
    }

    /// Asks the model within its timeout and the caller's deadline.
    async fn ask(
        &self,
        caller: &Caller,
        question: &Question,
        turn: &Turn,
    ) -> Result<(Answer, Timing, Shown), Problem> {
        let partial = Partial::default();
        let asked = Instant::now();
        let limit = limit(asked, self.config.model_timeout, caller);
        let answer = self.answer(caller, question, turn, limit, &partial, Delivery::Whole);
        let answered = timeout_at(limit, answer).await;
        let timing = Timing {
            latency: asked.elapsed(),
            first_token: None,
        };
        metrics::asked(timing.latency);
        let shown = observed(&partial);
        let answer = self.outcome(answered.ok(), limit - asked)?;
        Ok((answer, timing, shown))
    }

    /// Asks the model within its timeout and the caller's deadline, gives away what it says, and keeps that
    /// readable meanwhile.
    async fn ask_streaming(
        &self,
        caller: &Caller,
        question: &Question,
        turn: &Turn,
        sink: Sink<'_>,
    ) -> Result<(Answer, Timing, Shown), Problem> {
        let partial = Partial::default();
        let asked = Instant::now();
        let limit = limit(asked, self.config.model_stream_timeout, caller);
        let ended = {
            let mut said = |piece: Piece<'_>| {
                partial.add(piece);
                sink(piece);
            };
            let delivery = Delivery::Streamed {
                sink: &mut said,
                silence: self.config.model_timeout,
            };
            let answer = self.answer(caller, question, turn, limit, &partial, delivery);
            let asking = timeout_at(limit, answer);
            let keeping = partial.keep(&self.store, caller, turn);
            let (mut asking, mut keeping) = (pin!(asking), pin!(keeping));
            // Leaving this block drops the request to the provider, which closes its connection.
            tokio::select! {
                biased;
                answered = &mut asking => {
                    partial.complete();
                    // A write that is under way is not broken off: the next statement would wait for it.
                    keeping.await;
                    Ok(answered.ok())
                }
                ended = &mut keeping => Err(ended),
            }
        };
        let timing = Timing {
            latency: asked.elapsed(),
            first_token: partial.first_text().map(|first| first - asked),
        };
        metrics::asked(timing.latency);
        let shown = observed(&partial);
        if let Some(first_token) = timing.first_token {
            observed::first_token(first_token);
        }
        let answer = match ended {
            Ok(answered) => self.outcome(answered, limit - asked)?,
            Err(Ended::Erased) => return Err(Problem::SessionNotFound(turn.session_id)),
            Err(Ended::Lost | Ended::Complete) => return Err(Problem::TurnInterrupted),
            Err(Ended::Stopped) => {
                metrics::stopped();
                partial.stopped(self.model())
            }
        };
        Ok((answer, timing, shown))
    }

    async fn answer(
        &self,
        caller: &Caller,
        question: &Question,
        turn: &Turn,
        until: Instant,
        partial: &Partial,
        delivery: Delivery<'_>,
    ) -> Result<Answer, ModelFailure> {
        let conversation = Conversation {
            context: &turn.context,
            question: &question.content,
            has_recordings: turn.has_recordings,
            shows: &|fitted| partial.show(shown(turn, fitted)),
        };
        self.config
            .agent
            .answer(&self.store, caller, conversation, until, delivery)
            .await
    }

    /// The model's answer, or why there is none; `None` if it took longer than `limit`.
    fn outcome(
        &self,
        answered: Option<Result<Answer, ModelFailure>>,
        limit: Duration,
    ) -> Result<Answer, Problem> {
        match answered {
            Some(Ok(answer)) => {
                metrics::answered(answer.usage);
                Ok(answer)
            }
            Some(Err(failure)) if failure.is_context_exceeded() => {
                Err(Problem::ModelContextExceeded(Box::new(failure)))
            }
            Some(Err(failure)) if failure.is_timeout() => {
                Err(Problem::ModelTimeout(self.config.model_timeout))
            }
            Some(Err(failure)) => Err(Problem::ModelError(Box::new(failure))),
            None => Err(Problem::ModelTimeout(limit)),
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

/// How much of a conversation a request to the model shows.
fn shown(turn: &Turn, fitted: &Fitted<'_>) -> Shown {
    let messages = fitted.context.len();
    let with_oldest = messages > 0 && messages == turn.context.len();
    let shortened = [
        turn.context_is_shortened && with_oldest,
        matches!(fitted.question, Cow::Owned(_)),
    ];
    let messages = i64::try_from(messages).unwrap_or(i64::MAX);
    Shown {
        messages,
        left_out: turn.question_seq - 1 - messages,
        shortened: shortened.into_iter().map(i64::from).sum(),
    }
}

/// What the model was shown, which the log line says.
fn observed(partial: &Partial) -> Shown {
    let shown = partial.shown();
    observed::context(shown.messages, shown.left_out);
    shown
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

/// Until when the model may be asked.
fn limit(asked: Instant, timeout: Duration, caller: &Caller) -> Instant {
    (asked + timeout).min(caller.deadline - FINISH_RESERVE)
}

/// The end of a turn that was answered before.
fn replayed(stored: StoredAnswer) -> TurnEnd {
    metrics::replayed();
    TurnEnd {
        question_seq: stored.question_seq,
        response_id: stored.response_id,
        answer: stored.answer,
        seq: stored.seq,
        is_replayed: true,
    }
}

/// The end of a turn, counted in the metrics.
fn counted(ended: Result<TurnEnd, Problem>) -> Result<TurnEnd, Problem> {
    match &ended {
        Ok(_) => metrics::stored(),
        Err(problem) => metrics::failed(problem),
    }
    ended
}
