//! A language model asked over HTTP: Bedrock with AWS credentials, and through genai OpenAI and
//! servers that speak its protocol, Anthropic, Ollama and more.

mod ollama;
mod refusal;
mod streamed;
mod whole;

use std::time::Duration;

use genai::chat::{ChatRequest, ChatResponse};
use genai::resolver::Endpoint;
use genai::{Client, ServiceTarget};
use shared::settings::SettingsError;

use super::bedrock::Bedrock;
use super::draft::Draft;
use super::failure::{ModelFailure, describe};
use super::provider::{Rank, bedrock_model, identify, require_region, usable_key};

/// Timeout for connecting to the provider.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A model of a provider.
#[derive(Debug)]
pub enum Remote {
    /// One that genai knows.
    Genai(Client, ServiceTarget),
    /// Bedrock with AWS credentials.
    Bedrock(Bedrock),
}

impl Remote {
    /// Finds the provider of a model: by its prefix (`ollama::llama3`), else by its name, else a
    /// server that speaks OpenAI's protocol at `base_url`. `variable` returns the provider's key,
    /// or the ARN of the secret that holds it; that is fetched now. The provider is not
    /// contacted yet.
    ///
    /// # Errors
    /// [`SettingsError`] when the provider's key or region is missing, or the secret cannot be
    /// fetched.
    pub async fn new(
        name: &str,
        rank: Rank,
        base_url: Option<String>,
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
        match bedrock_model(name) {
            Some(model) => {
                let region = require_region().await?;
                Ok(Self::Bedrock(Bedrock::new(client, model, region, base_url)))
            }
            None => through_genai(client, name, rank, base_url, variable).await,
        }
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Genai(_, target) => &target.model.model_name,
            Self::Bedrock(bedrock) => bedrock.name(),
        }
    }

    /// The model and its address.
    pub fn description(&self) -> String {
        let (provider, base_url) = match self {
            Self::Genai(_, target) => (
                target.model.adapter_kind.as_str(),
                target.endpoint.base_url(),
            ),
            Self::Bedrock(bedrock) => ("Bedrock", bedrock.base_url()),
        };
        let model = self.name();
        format!("{model} ({provider} at {})", without_secrets(base_url))
    }

    /// Sends one request. What the model says is in the draft when it returns; if the model may be
    /// silent for so long, it is streamed into it.
    pub async fn round(
        &self,
        request: ChatRequest,
        silence: Option<Duration>,
        draft: &mut Draft<'_>,
    ) -> Result<ChatResponse, ModelFailure> {
        let response = match (self, silence) {
            (Self::Genai(client, target), Some(silence)) => {
                return streamed::ask(client, target, request, silence, draft).await;
            }
            (Self::Bedrock(bedrock), Some(silence)) => {
                return bedrock.stream(request, silence, draft).await;
            }
            (Self::Genai(client, target), None) => whole::ask(client, target, request).await?,
            (Self::Bedrock(bedrock), None) => bedrock.ask(request).await?,
        };
        draft.say(&response.texts().concat());
        Ok(response)
    }
}

async fn through_genai(
    client: reqwest::Client,
    name: &str,
    rank: Rank,
    base_url: Option<String>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Remote, SettingsError> {
    let client = Client::builder()
        .with_reqwest(client)
        .build()
        .map_err(|_| SettingsError::new("the model's client cannot be built"))?;
    let model = identify(name, rank, base_url.is_some())?;
    let mut target = client
        .resolve_service_target(model)
        .await
        .map_err(|error| {
            SettingsError::new(format!("MODEL {name} cannot be used: {}", describe(&error)))
        })?;
    target.auth = usable_key(name, rank, target.auth, base_url.is_some(), variable).await?;
    if let Some(base_url) = base_url {
        target.endpoint = Endpoint::from_owned(base_url);
    }
    Ok(Remote::Genai(client, target))
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
