//! The models in the order in which they are asked: again after a failure that may pass, and the next one
//! after one that does not.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use genai::chat::{ChatRequest, ChatResponse, ContentPart};
use tokio::time::{Instant, sleep, timeout_at};

use super::draft::Draft;
use super::failure::ModelFailure;
use super::kinds::Model;

/// The pause before a model is asked again: it doubles, and a random part of itself is added.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// How often a model is asked again in a round.
const MAX_RETRIES: usize = 2;

/// At least one model.
#[derive(Debug)]
pub struct Models {
    first: Model,
    fallbacks: Vec<Model>,
}

impl Models {
    /// A model, and those that are asked when it fails, in this order.
    #[must_use]
    pub fn new(first: Model, fallbacks: Vec<Model>) -> Self {
        Self { first, fallbacks }
    }

    /// The one that is asked first.
    #[must_use]
    pub fn first(&self) -> &Model {
        &self.first
    }

    /// The models and their addresses, for the person who starts the product.
    #[must_use]
    pub fn description(&self) -> String {
        let fallbacks = self
            .fallbacks
            .iter()
            .map(|model| format!(", then {}", model.description()));
        self.first.description() + &fallbacks.collect::<String>()
    }

    /// The attempts to answer one question until `until`. If the model may be silent for only so long, its
    /// answer is streamed.
    #[must_use]
    pub fn attempts(&self, until: Instant, silence: Option<Duration>) -> Attempts<'_> {
        Attempts {
            model: &self.first,
            left: &self.fallbacks,
            until,
            silence,
        }
    }
}

/// The attempts to answer one question.
#[derive(Debug)]
pub struct Attempts<'a> {
    /// The model that is asked, also in the next round.
    model: &'a Model,
    /// Those that were not asked yet.
    left: &'a [Model],
    until: Instant,
    silence: Option<Duration>,
}

impl Attempts<'_> {
    /// Sends one request, until a model responds to it or nothing is left to try. What the model says is in
    /// the draft. Once it has said something, there is no other attempt: that cannot be taken back.
    pub async fn round(
        &mut self,
        mut request: ChatRequest,
        draft: &mut Draft<'_>,
    ) -> Result<ChatResponse, ModelFailure> {
        loop {
            let failure = match self.ask(&request, draft).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let (false, false, Some((next, left))) = (
                draft.has_spoken(),
                failure.is_context_exceeded(),
                self.left.split_first(),
            ) else {
                return Err(failure);
            };
            tracing::warn!(
                model = self.model.name(),
                next = next.name(),
                cause = %failure,
                "the model failed and the next one is asked"
            );
            (self.model, self.left) = (next, left);
            request = without_particulars(request);
        }
    }

    /// Asks one model, and again while it fails in a way that may pass and there is time.
    async fn ask(
        &self,
        request: &ChatRequest,
        draft: &mut Draft<'_>,
    ) -> Result<ChatResponse, ModelFailure> {
        let limit = self.limit();
        let mut pauses = pauses();
        loop {
            let failure = match self.attempt(request.clone(), limit, draft).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let (false, Some(retry_after), Some(pause)) =
                (draft.has_spoken(), failure.may_pass(), pauses.next())
            else {
                return Err(failure);
            };
            let pause = pause.max(retry_after);
            if Instant::now() + pause >= limit {
                return Err(failure);
            }
            tracing::info!(
                model = self.model.name(),
                cause = %failure,
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                "the model failed and is asked again"
            );
            sleep(pause).await;
        }
    }

    /// Until when this model may try: an equal part of the time for each that is left.
    fn limit(&self) -> Instant {
        let now = Instant::now();
        let models = u32::try_from(self.left.len() + 1).unwrap_or(u32::MAX);
        now + self.until.saturating_duration_since(now) / models
    }

    async fn attempt(
        &self,
        request: ChatRequest,
        limit: Instant,
        draft: &mut Draft<'_>,
    ) -> Result<ChatResponse, ModelFailure> {
        let left = limit.saturating_duration_since(Instant::now());
        // A streamed answer may take longer than its part of the time once it has begun.
        let silence = self.silence.map(|silence| silence.min(left));
        // Boxed: every turn's future would contain the clients of all providers, also with the built-in model.
        let round = Box::pin(self.model.round(request, silence, draft));
        if silence.is_some() || self.left.is_empty() {
            return round.await;
        }
        match timeout_at(limit, round).await {
            Ok(response) => response,
            Err(_) => Err(ModelFailure::silence()),
        }
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(MAX_PAUSE)
        .with_max_times(MAX_RETRIES)
        .with_jitter()
        .build()
}

/// A request without what only the model understands that said it: its reasoning, and marks of its provider.
fn without_particulars(mut request: ChatRequest) -> ChatRequest {
    for message in &mut request.messages {
        let parts = std::mem::take(&mut message.content).into_parts();
        let parts = parts.into_iter().filter_map(|part| match part {
            ContentPart::Custom(_)
            | ContentPart::ThoughtSignature(_)
            | ContentPart::ReasoningContent(_) => None,
            ContentPart::ToolCall(mut call) => {
                call.thought_signatures = None;
                Some(ContentPart::ToolCall(call))
            }
            part @ (ContentPart::Text(_)
            | ContentPart::Binary(_)
            | ContentPart::ToolResponse(_)) => Some(part),
        });
        message.content = parts.collect();
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Piece;

    /// What the built-in model says, in the pieces in which it is given.
    async fn said(silence: Option<Duration>) -> (Vec<String>, String) {
        let mut texts = Vec::new();
        let mut sink = |piece: Piece<'_>| {
            if let Piece::Text(text) = piece {
                texts.push(text.to_owned());
            }
        };
        let mut draft = Draft::new(Some(&mut sink));
        let models = Models::new(Model::BuiltIn, Vec::new());
        let until = Instant::now() + Duration::from_secs(60);
        let request = ChatRequest::from_user("one\0  two\n\u{3000}three");
        let mut attempts = models.attempts(until, silence);
        attempts.round(request, &mut draft).await.unwrap();
        let content = draft.finish().0;
        (texts, content)
    }

    #[tokio::test]
    async fn the_built_in_model_streams_its_text_word_by_word() {
        let started = Instant::now();
        let (texts, streamed) = said(Some(Duration::from_secs(1))).await;
        assert!(started.elapsed() > Duration::from_millis(20) * 20);
        assert_eq!(texts.concat(), streamed);
        assert_eq!(texts[..3], ["I ", "am ", "Daissy's "]);
        assert!(streamed.contains("one\u{fffd}  two\n\u{3000}three"));

        let started = Instant::now();
        let (_, whole) = said(None).await;
        assert!(started.elapsed() < Duration::from_millis(20));
        assert_eq!(whole, streamed);
    }
}
