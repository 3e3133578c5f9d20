//! A language model asked over HTTP: Bedrock with AWS credentials, and through genai OpenAI and
//! servers that speak its protocol, Anthropic, Ollama and more.

mod conversation;
mod progress;
mod streamed;

use std::time::Duration;

use genai::chat::{ChatRequest, ChatResponse, Tool, ToolCall, ToolResponse};
use genai::resolver::Endpoint;
use genai::{Client, ServiceTarget};
use serde_json::{Value, json};
use shared::settings::SettingsError;
use shared::store::turns::{Answer, ContextMessage};

use self::conversation::{alternating, without_blank_texts};
use self::progress::Progress;
use super::bedrock::Bedrock;
use super::delivery::Delivery;
use super::draft::Draft;
use super::failure::{ModelFailure, describe, failure};
use super::provider::{bedrock_model, identify, require_region, usable_key};
use crate::recordings::{Catalogue, FUNCTION_DESCRIPTION, FUNCTION_NAME, add_new};

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

    /// The model's name.
    pub fn name(&self) -> &str {
        match &self.provider {
            Provider::Genai(_, target) => &target.model.model_name,
            Provider::Bedrock(bedrock) => bedrock.name(),
        }
    }

    /// The model and its address.
    pub fn description(&self) -> String {
        let (provider, base_url) = match &self.provider {
            Provider::Genai(_, target) => (
                target.model.adapter_kind.as_str(),
                target.endpoint.base_url(),
            ),
            Provider::Bedrock(bedrock) => ("Bedrock", bedrock.base_url()),
        };
        let model = self.name();
        format!("{model} ({provider} at {})", without_secrets(base_url))
    }

    /// The definitions of the functions that it is offered, as text.
    pub fn definitions(&self) -> String {
        let tool = self.catalogue.as_ref().map(|_| {
            format!(
                "{FUNCTION_NAME} {FUNCTION_DESCRIPTION} {}",
                Catalogue::parameters()
            )
        });
        tool.unwrap_or_default()
    }

    /// Answers a question, running the functions that the model calls.
    pub async fn answer(
        &self,
        system_prompt: &str,
        context: &[ContextMessage],
        question: &str,
        delivery: Delivery<'_>,
    ) -> Result<Answer, ModelFailure> {
        let mut request =
            ChatRequest::from_system(system_prompt).append_messages(alternating(context, question));
        if self.catalogue.is_some() {
            let tool = Tool::new(FUNCTION_NAME)
                .with_description(FUNCTION_DESCRIPTION)
                .with_schema(Catalogue::parameters());
            request = request.with_tools([tool]);
        }

        let (sink, silence) = match delivery {
            Delivery::Whole => (None, None),
            Delivery::Streamed { sink, silence } => (Some(sink), Some(silence)),
        };
        let mut progress = Progress::new(Draft::new(sink));
        for _ in 0..MAX_ROUNDS {
            // Boxed: every turn's future would contain the clients of all providers, also with the
            // built-in model.
            let round = Box::pin(self.round(request.clone(), silence, &mut progress.draft));
            let mut response = round.await?;
            progress.count(&response);

            let calls: Vec<ToolCall> = response.tool_calls().into_iter().cloned().collect();
            if calls.is_empty() {
                return progress.finish(&response);
            }
            response.content = without_blank_texts(response.content);
            request = request.append_messages(response.into_assistant_message_for_tool_use());
            let responses: Vec<ToolResponse> = calls
                .iter()
                .map(|call| {
                    let result = self.run(call, &mut progress);
                    ToolResponse::from_tool_call(call, result.to_string())
                })
                .collect();
            request = request.append_message(responses);
            progress.draft.end_round();
        }
        Err(ModelFailure::new(format!(
            "the model called functions in {MAX_ROUNDS} rounds and did not answer"
        )))
    }

    /// Sends one request. What the model says is in the draft when it returns; if the model may be
    /// silent for so long, it is streamed into it.
    async fn round(
        &self,
        request: ChatRequest,
        silence: Option<Duration>,
        draft: &mut Draft<'_>,
    ) -> Result<ChatResponse, ModelFailure> {
        let response = match (&self.provider, silence) {
            (Provider::Genai(client, target), Some(silence)) => {
                return streamed::ask(client, target, request, silence, draft).await;
            }
            (Provider::Bedrock(bedrock), Some(silence)) => {
                return bedrock.stream(request, silence, draft).await;
            }
            (Provider::Genai(client, target), None) => client
                .exec_chat(target.clone(), request, None)
                .await
                .map_err(|error| failure(&error))?,
            (Provider::Bedrock(bedrock), None) => bedrock.ask(request).await?,
        };
        draft.say(&response.texts().concat());
        Ok(response)
    }

    /// Runs one function call and records it.
    fn run(&self, call: &ToolCall, progress: &mut Progress<'_>) -> Value {
        if progress.calls == MAX_CALLS {
            return json!({ "error": "too many calls; answer with what you have" });
        }
        progress.calls += 1;
        let result = match &self.catalogue {
            Some(catalogue) if call.fn_name == FUNCTION_NAME => {
                let recordings = catalogue.recommend(&call.fn_arguments);
                add_new(&mut progress.audio_files, &recordings);
                Value::Array(recordings)
            }
            _ => json!({ "error": "there is no such function" }),
        };
        progress.draft.call(json!({
            "name": call.fn_name,
            "arguments": call.fn_arguments,
            "result": result,
        }));
        result
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
