//! The rounds with a model, from which its answer comes.

use genai::chat::{ChatResponse, StopReason};
use shared::store::turns::{Answer, Usage};

use crate::model::{Draft, ModelFailure, storable, storable_text, those_that_fit};
use crate::tools::{Limits, Recommendation, Recommended};

/// The longest model name that is stored, in characters. Providers may return any name.
const MAX_NAME_CHARACTERS: usize = 200;

/// The results of the rounds with the model so far.
pub struct Progress<'a> {
    /// What the model has said and called.
    pub draft: Draft<'a>,
    /// How many functions were run, and in how many rounds.
    pub calls: usize,
    pub rounds: usize,
    recommended: Recommended,
    usage: Usage,
}

impl<'a> Progress<'a> {
    /// No rounds yet.
    pub fn new(draft: Draft<'a>, limits: Limits) -> Self {
        Self {
            draft,
            calls: 0,
            rounds: 0,
            recommended: Recommended::new(limits),
            usage: Usage::default(),
        }
    }

    /// Adds recordings that were found.
    pub fn recommend(&mut self, found: Vec<Recommendation>) {
        if !found.is_empty() {
            self.recommended.add(found);
            self.draft.recommend(&self.recommended.audio_files());
        }
    }

    /// Adds the tokens of a round, as far as the provider counted them.
    pub fn count(&mut self, response: &ChatResponse) {
        let Usage {
            input_tokens,
            cached_input_tokens,
            output_tokens,
        } = &mut self.usage;
        let counted = &response.usage;
        let cached = counted.prompt_tokens_details.as_ref();
        for (total, tokens) in [
            (input_tokens, counted.prompt_tokens),
            (
                cached_input_tokens,
                cached.and_then(|details| details.cached_tokens),
            ),
            (output_tokens, counted.completion_tokens),
        ] {
            if let Some(tokens) = tokens {
                *total = Some(total.unwrap_or_default() + i64::from(tokens));
            }
        }
    }

    /// The answer, of which this is the last response. It may be empty: a refusal without words, or a
    /// model that had nothing to say.
    ///
    /// # Errors
    /// [`ModelFailure`] if there is no text, and nothing says that this is all.
    pub fn finish(self, response: &ChatResponse) -> Result<Answer, ModelFailure> {
        let finish_reason = response.stop_reason.as_ref().and_then(finish_reason);
        if self.draft.is_blank() && finish_reason.is_none() {
            let reason = response
                .stop_reason
                .as_ref()
                .map_or("none given", |reason| reason.raw());
            return Err(ModelFailure::new(format!(
                "the model returned no text (reason: {reason})"
            )));
        }
        let (content, function_calls) = self.draft.finish();
        Ok(Answer {
            content,
            audio_files: those_that_fit(self.recommended.audio_files().into_iter().map(storable)),
            function_calls,
            model: storable_text(&response.provider_model_iden.model_name)
                .chars()
                .take(MAX_NAME_CHARACTERS)
                .collect(),
            finish_reason,
            usage: self.usage,
        })
    }
}

/// The API's word for why a model stopped; `None` for a reason that it has no word for.
fn finish_reason(reason: &StopReason) -> Option<String> {
    let word = match reason {
        StopReason::Completed(_) | StopReason::StopSequence(_) => "stop",
        StopReason::MaxTokens(_) => "length",
        StopReason::ContentFilter(_) => "content_filter",
        StopReason::ToolCall(_) | StopReason::Other(_) => return None,
    };
    Some(word.to_owned())
}
