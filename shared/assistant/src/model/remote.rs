//! A language model asked over HTTP: Bedrock with AWS credentials, and through genai OpenAI and
//! servers that speak its protocol, Anthropic, Ollama and more.

use std::time::Duration;

use genai::chat::{
    ChatMessage, ChatRequest, ChatResponse, StopReason, Tool, ToolCall, ToolResponse,
};
use genai::resolver::Endpoint;
use genai::{Client, ServiceTarget};
use serde_json::{Value, json};
use shared::store::turns::{Answer, ContextMessage, Usage};

use super::bedrock::Bedrock;
use super::failure::{ModelFailure, describe, failure};
use super::provider::{bedrock_model, identify, require_region, usable_key};
use crate::recordings::{Catalogue, FUNCTION_DESCRIPTION, FUNCTION_NAME};
use shared::settings::SettingsError;

/// How many rounds of function calls the model may make before it has to answer.
const MAX_ROUNDS: usize = 5;

/// The maximum number of function calls run for one answer.
const MAX_CALLS: usize = 32;

/// Timeout for connecting to the provider.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A model of a provider.
#[derive(Debug)]
pub struct Remote {
    provider: Provider,
    /// If `None`, the model is offered no function.
    catalogue: Option<Catalogue>,
}

#[derive(Debug)]
enum Provider {
    /// One that genai knows.
    Genai(Client, ServiceTarget),
    /// Bedrock with AWS credentials.
    Bedrock(Bedrock),
}

/// The results of the rounds with the model so far.
#[derive(Debug, Default)]
struct Progress {
    audio_files: Vec<Value>,
    function_calls: Vec<Value>,
    usage: Usage,
}

impl Remote {
    /// Finds the provider of a model: by its prefix (`ollama::llama3`), else by its name, else a
    /// server that speaks OpenAI's protocol at `base_url`. `variable` returns the provider's key,
    /// or the ARN of the secret that holds it; the secret is fetched now. The provider is not
    /// contacted yet.
    ///
    /// # Errors
    /// [`SettingsError`] when the provider's key or region is missing, or the secret cannot be
    /// fetched.
    pub async fn new(
        name: &str,
        base_url: Option<String>,
        catalogue: Option<Catalogue>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        // No redirects: the next host would receive the conversation, and also the key if it is in
        // a header specific to the provider.
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| SettingsError::new("the model's HTTP client cannot be built"))?;
        let base_url = base_url.map(|url| format!("{}/", url.trim_end_matches('/')));
        let provider = match bedrock_model(name) {
            Some(model) => {
                let region = require_region().await?;
                Provider::Bedrock(Bedrock::new(client, model, region, base_url))
            }
            None => through_genai(client, name, base_url, variable).await?,
        };
        Ok(Self {
            provider,
            catalogue,
        })
    }

    /// The model and its address.
    pub fn description(&self) -> String {
        let (model, provider, base_url) = match &self.provider {
            Provider::Genai(_, target) => (
                &*target.model.model_name,
                target.model.adapter_kind.as_str(),
                target.endpoint.base_url(),
            ),
            Provider::Bedrock(bedrock) => (bedrock.name(), "Bedrock", bedrock.base_url()),
        };
        format!("{model} ({provider} at {})", without_secrets(base_url))
    }

    /// Answers a question, running the functions that the model calls.
    pub async fn answer(
        &self,
        system_prompt: &str,
        context: &[ContextMessage],
        question: &str,
    ) -> Result<Answer, ModelFailure> {
        let mut request =
            ChatRequest::from_system(system_prompt).append_messages(alternating(context, question));
        if self.catalogue.is_some() {
            let tool = Tool::new(FUNCTION_NAME)
                .with_description(FUNCTION_DESCRIPTION)
                .with_schema(Catalogue::parameters());
            request = request.with_tools([tool]);
        }

        let mut progress = Progress::default();
        for _ in 0..MAX_ROUNDS {
            // Boxed: every turn's future would contain the clients of all providers, also with the
            // built-in model.
            let response = Box::pin(self.ask(request.clone())).await?;
            progress.count(&response);

            let calls: Vec<ToolCall> = response.tool_calls().into_iter().cloned().collect();
            if calls.is_empty() {
                return finish(&response, progress);
            }
            request = request.append_messages(response.into_assistant_message_for_tool_use());
            let responses: Vec<ToolResponse> = calls
                .iter()
                .map(|call| {
                    let result = self.run(call, &mut progress);
                    ToolResponse::from_tool_call(call, result.to_string())
                })
                .collect();
            request = request.append_message(responses);
        }
        Err(ModelFailure::new(format!(
            "the model called functions in {MAX_ROUNDS} rounds and did not answer"
        )))
    }

    async fn ask(&self, request: ChatRequest) -> Result<ChatResponse, ModelFailure> {
        match &self.provider {
            Provider::Genai(client, target) => client
                .exec_chat(target.clone(), request, None)
                .await
                .map_err(|error| failure(&error)),
            Provider::Bedrock(bedrock) => bedrock.ask(request).await,
        }
    }

    /// Runs one function call and records it.
    fn run(&self, call: &ToolCall, progress: &mut Progress) -> Value {
        if progress.function_calls.len() == MAX_CALLS {
            return json!({ "error": "too many calls; answer with what you have" });
        }
        let result = match &self.catalogue {
            Some(catalogue) if call.fn_name == FUNCTION_NAME => {
                let recordings = catalogue.recommend(&call.fn_arguments);
                for recording in &recordings {
                    if !progress.audio_files.contains(recording) {
                        progress.audio_files.push(recording.clone());
                    }
                }
                Value::Array(recordings)
            }
            _ => json!({ "error": "there is no such function" }),
        };
        progress.function_calls.push(json!({
            "name": call.fn_name,
            "arguments": call.fn_arguments,
            "result": result,
        }));
        result
    }
}

impl Progress {
    /// Adds the tokens of a round, as far as the provider counted them.
    fn count(&mut self, response: &ChatResponse) {
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
}

async fn through_genai(
    client: reqwest::Client,
    name: &str,
    base_url: Option<String>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Provider, SettingsError> {
    let client = Client::builder()
        .with_reqwest(client)
        .build()
        .map_err(|_| SettingsError::new("the model's client cannot be built"))?;
    let model = identify(name, base_url.is_some())?;
    let mut target = client
        .resolve_service_target(model)
        .await
        .map_err(|error| {
            SettingsError::new(format!("MODEL {name} cannot be used: {}", describe(&error)))
        })?;
    target.auth = usable_key(name, target.auth, base_url.is_some(), variable).await?;
    if let Some(base_url) = base_url {
        target.endpoint = Endpoint::from_owned(base_url);
    }
    Ok(Provider::Genai(client, target))
}

/// An address without user, password and query, any of which may be a secret.
fn without_secrets(url: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(url) else {
        return "its address".to_owned();
    };
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

fn finish(response: &ChatResponse, progress: Progress) -> Result<Answer, ModelFailure> {
    let content = response.texts().concat();
    if content.trim().is_empty() {
        let reason = response
            .stop_reason
            .as_ref()
            .map_or("none given", |reason| reason.raw());
        return Err(ModelFailure::new(format!(
            "the model returned no text (reason: {reason})"
        )));
    }
    Ok(Answer {
        content,
        audio_files: progress.audio_files,
        function_calls: progress.function_calls,
        model: response.provider_model_iden.model_name.to_string(),
        finish_reason: response.stop_reason.as_ref().and_then(finish_reason),
        usage: progress.usage,
    })
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

/// The conversation in a form every provider accepts: it begins with the user, and the roles
/// alternate. A question that was never answered is merged with the next one, and an answer whose
/// question is out of the context is dropped.
fn alternating(context: &[ContextMessage], question: &str) -> Vec<ChatMessage> {
    let mut said: Vec<(bool, String)> = Vec::new();
    let context = context
        .iter()
        .map(|message| (message.role == "user", message.content.as_str()));
    for (is_user, content) in context.chain([(true, question)]) {
        match said.last_mut() {
            Some((last_is_user, last)) if *last_is_user == is_user => {
                last.push_str("\n\n");
                last.push_str(content);
            }
            None if !is_user => {}
            _ => said.push((is_user, content.to_owned())),
        }
    }
    said.into_iter()
        .map(|(is_user, content)| {
            if is_user {
                ChatMessage::user(content)
            } else {
                ChatMessage::assistant(content)
            }
        })
        .collect()
}
