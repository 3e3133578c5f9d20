//! The agent: asks a model, runs the functions that it calls, and asks it again with their results, until it
//! answers.

mod conversation;
mod progress;

use futures_util::future::join_all;
use genai::chat::{ChatMessage, ChatRequest, ChatResponse, Tool, ToolCall, ToolResponse};
use serde_json::Value;
use shared::caller::Caller;
use shared::store::Store;
use shared::store::turns::{Answer, ContextMessage};
use tokio::time::Instant;

use self::conversation::{alternating, without_blank_texts};
use self::progress::Progress;
use crate::context::{Fitted, Size, Window};
use crate::model::{Attempts, Delivery, Draft, ModelFailure, Models};
use crate::tools::{Outcome, Tools};

/// In how many rounds the model may call functions before it has to answer.
const MAX_ROUNDS: usize = 5;

/// The maximum number of function calls run for one answer.
const MAX_CALLS: usize = 32;

/// What a model is told about the results of the calls in its last round.
const NO_MORE_CALLS: &str = "No more calls are run. Answer now.";

/// Models, and the functions they may call.
#[derive(Debug)]
pub struct Agent {
    models: Models,
    tools: Tools,
    system_prompt: String,
    window: Window,
    /// The size of what is sent with every request.
    fixed: Size,
}

/// A question and what was said before it.
#[derive(Clone, Copy)]
pub struct Conversation<'a> {
    /// Earlier messages, oldest first.
    pub context: &'a [ContextMessage],
    /// The user's text.
    pub question: &'a str,
    /// Whether there is a recording to recommend.
    pub has_recordings: bool,
    /// Learns what the model is shown, before each request to it.
    pub shows: &'a (dyn Fn(&Fitted<'_>) + Sync),
}

impl Agent {
    /// An agent with the instructions that its models get before the conversation, and the room for both.
    #[must_use]
    pub fn new(models: Models, tools: Tools, system_prompt: String, window: Window) -> Self {
        let definitions = tools.definitions(true).into_iter();
        let definitions = definitions.map(|tool| {
            let text = format!("{} {} {}", tool.name, tool.description, tool.parameters);
            Size::message(&text)
        });
        Self {
            fixed: Size::message(&system_prompt) + definitions.sum(),
            models,
            tools,
            system_prompt,
            window,
        }
    }

    /// How many tokens are left for earlier messages beside a question, as the context window counts them.
    #[must_use]
    pub fn room(&self, question: &str) -> f64 {
        self.window.room(self.fixed, question)
    }

    /// Its models.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// Does what need not wait for the first question.
    pub async fn prepare(&self, store: &Store) {
        self.tools.prepare(store).await;
    }

    /// Answers a question until `until`. What a streamed answer has given to its sink is what it is stored
    /// with: its texts joined are its content, and its function calls and recordings are the same.
    /// Dropping the future ends the request to the provider.
    ///
    /// If the provider reports that the conversation is too long, the model is asked again with ever less of
    /// it, as long as nothing was said.
    ///
    /// # Errors
    /// [`ModelFailure`]. Of a streamed answer, pieces may have been given before it.
    pub async fn answer(
        &self,
        store: &Store,
        caller: &Caller,
        conversation: Conversation<'_>,
        until: Instant,
        delivery: Delivery<'_>,
    ) -> Result<Answer, ModelFailure> {
        let (sink, silence) = match delivery {
            Delivery::Whole => (None, None),
            Delivery::Streamed { sink, silence } => (Some(sink), Some(silence)),
        };
        let mut progress = Progress::new(Draft::new(sink), self.tools.limits());
        let mut attempts = self.models.attempts(until, silence);
        let mut context = conversation.context;
        let tools = self.offered(conversation.has_recordings);
        // Calls and their results, which stay together and in the request.
        let mut called: Vec<ChatMessage> = Vec::new();
        loop {
            let fixed = self.fixed + called.iter().map(size).sum();
            let fitted = self.window.fit(fixed, context, conversation.question);
            (conversation.shows)(&fitted);
            let request = ChatRequest::from_system(self.system_prompt.as_str())
                .append_messages(alternating(fitted.context, &fitted.question))
                .append_messages(called.iter().cloned());
            let request = match &tools[..] {
                [] => request,
                tools => request.with_tools(tools.iter().cloned()),
            };
            let mut response = match self.round(&mut attempts, request, &mut progress).await {
                Err(failure)
                    if failure.is_context_exceeded()
                        && !fitted.context.is_empty()
                        && !progress.draft.has_spoken() =>
                {
                    tracing::info!(
                        messages = fitted.context.len(),
                        "the context is too long for the model"
                    );
                    self.window.refused(fitted.size);
                    context = &fitted.context[fitted.context.len().div_ceil(2)..];
                    continue;
                }
                round => round?,
            };
            let counted = response.usage.prompt_tokens.map(i64::from);
            self.window.learn(fitted.size, counted);
            progress.count(&response);

            let calls: Vec<ToolCall> = response.tool_calls().into_iter().cloned().collect();
            if calls.is_empty() {
                return progress.finish(&response);
            }
            if progress.rounds == MAX_ROUNDS {
                return Err(ModelFailure::new(format!(
                    "the model called functions in more than {MAX_ROUNDS} rounds and did not answer"
                )));
            }
            progress.rounds += 1;
            response.content = without_blank_texts(response.content);
            called.extend(response.into_assistant_message_for_tool_use());
            let results = self.run(store, caller, &calls, &mut progress).await;
            called.push(ChatMessage::from(results));
            progress.draft.end_round();
        }
    }

    /// The functions that a model may call. Without recordings there is nothing to search.
    fn offered(&self, has_recordings: bool) -> Vec<Tool> {
        let definitions = self.tools.definitions(has_recordings).into_iter();
        let tools = definitions.map(|definition| {
            Tool::new(definition.name)
                .with_description(definition.description)
                .with_schema(definition.parameters.clone())
        });
        tools.collect()
    }

    async fn round(
        &self,
        attempts: &mut Attempts<'_>,
        request: ChatRequest,
        progress: &mut Progress<'_>,
    ) -> Result<ChatResponse, ModelFailure> {
        attempts.round(request, &mut progress.draft).await
    }

    /// Runs the calls of a round at the same time, and records them in their order.
    async fn run(
        &self,
        store: &Store,
        caller: &Caller,
        calls: &[ToolCall],
        progress: &mut Progress<'_>,
    ) -> Vec<ToolResponse> {
        let left = MAX_CALLS - progress.calls;
        let allowed = &calls[..calls.len().min(left)];
        progress.calls += allowed.len();
        let outcomes = allowed.iter().map(|call| {
            let arguments = &call.fn_arguments;
            self.tools.run(store, caller, &call.fn_name, arguments)
        });
        let mut outcomes = join_all(outcomes).await.into_iter();
        let is_last = progress.rounds == MAX_ROUNDS;
        let mut responses = Vec::new();
        for call in calls {
            let Some(outcome) = outcomes.next() else {
                let refused = Outcome::refused("too many calls; answer with what you have");
                responses.push(ToolResponse::from_tool_call(call, refused.for_model()));
                continue;
            };
            let mut text = outcome.for_model();
            if is_last {
                text.push_str("\n\n");
                text.push_str(NO_MORE_CALLS);
            }
            responses.push(ToolResponse::from_tool_call(call, text));
            let stored: Value = outcome.stored(&call.fn_name, &call.fn_arguments);
            progress.draft.call(stored);
            progress.recommend(outcome.recordings);
        }
        responses
    }
}

/// The size of a message with calls or their results.
fn size(message: &ChatMessage) -> Size {
    let texts = message.content.texts().into_iter().map(Size::of);
    let calls = message.content.tool_calls().into_iter();
    let calls = calls.map(|call| Size::of(&format!("{} {}", call.fn_name, call.fn_arguments)));
    let results = message.content.tool_responses().into_iter();
    let results = results.map(|result| Size::message(&result.content));
    Size::message("") + texts.chain(calls).chain(results).sum()
}
