//! The provider behind a model's name, and the key or region it needs.

use genai::ModelIden;
use genai::adapter::AdapterKind;
use genai::resolver::AuthData;
use serde_json::Value;
use shared::aws;
use shared::settings::SettingsError;

/// The prefixes of `MODEL` for Bedrock with the environment's credentials.
const BEDROCK_PREFIXES: [&str; 2] = ["bedrock::", "bedrock_sigv4::"];

/// The prefix of `MODEL` for Ollama.
const OLLAMA_PREFIX: &str = "ollama::";

/// The key sent to a self-hosted server if none is set; such servers ignore it.
const NO_KEY: &str = "none";

/// The variable with the ARN of a secret with the keys of providers.
const KEY_SECRET_ARN: &str = "MODEL_KEY_SECRET_ARN";

/// The variable with the ARN of a secret with the key of the provider of embeddings.
const EMBEDDING_KEY_SECRET_ARN: &str = "EMBEDDING_KEY_SECRET_ARN";

/// The id of a model of Bedrock with the environment's credentials; `None` for any other.
pub fn bedrock_model(name: &str) -> Option<&str> {
    BEDROCK_PREFIXES
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
}

/// Finds the provider of any other model.
pub fn identify(name: &str, rank: Rank, has_base_url: bool) -> Result<ModelIden, SettingsError> {
    if has_base_url && !name.contains("::") {
        return Ok(ModelIden::new(AdapterKind::OpenAI, name.to_owned()));
    }
    // genai sends unknown names to Ollama; here Ollama must be asked for explicitly.
    match AdapterKind::from_model(name) {
        Ok(kind) if kind != AdapterKind::Ollama || name.starts_with(OLLAMA_PREFIX) => {
            Ok(ModelIden::new(kind, name.to_owned()))
        }
        _ => Err(SettingsError::new(format!(
            "no provider is known for {name}; put the provider before it, as in \
             {OLLAMA_PREFIX}llama3.2, or set {}",
            rank.base_url()
        ))),
    }
}

/// Which models a secret with one key is for: that key must reach no other provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// The one that is asked first.
    First,
    /// One that is asked when another fails.
    Fallback,
    /// The one that says what texts mean. It has a secret of its own.
    Embedding,
}

impl Rank {
    /// The variable with the address of such a model.
    fn base_url(self) -> &'static str {
        match self {
            Self::First | Self::Fallback => "MODEL_BASE_URL",
            Self::Embedding => "EMBEDDING_BASE_URL",
        }
    }

    /// The variables with the secrets that may hold its key, and whether one that holds a single key is for it.
    fn secrets(self) -> &'static [(&'static str, bool)] {
        match self {
            Self::First => &[(KEY_SECRET_ARN, true)],
            Self::Fallback => &[(KEY_SECRET_ARN, false)],
            Self::Embedding => &[(EMBEDDING_KEY_SECRET_ARN, true), (KEY_SECRET_ARN, false)],
        }
    }
}

/// Returns the key, from the provider's variable, else from a secret, so that a missing one is
/// noticed at startup and not by the first caller.
pub async fn usable_key(
    name: &str,
    rank: Rank,
    auth: AuthData,
    has_base_url: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<AuthData, SettingsError> {
    let AuthData::FromEnv(key_variable) = &auth else {
        return Ok(auth);
    };
    if let Some(key) = variable(key_variable) {
        return Ok(AuthData::from_single(key));
    }
    let secrets = rank.secrets();
    for (secret, is_for_it_alone) in secrets {
        if let Some(arn) = variable(secret)
            && let Some(key) = key_of_secret(secret, &arn, key_variable, *is_for_it_alone).await?
        {
            return Ok(AuthData::from_single(key));
        }
    }
    if has_base_url {
        return Ok(AuthData::from_single(NO_KEY));
    }
    let secret = secrets.first().map_or(KEY_SECRET_ARN, |(secret, _)| secret);
    Err(SettingsError::new(format!(
        "{name} needs a key; set {key_variable} or {secret}"
    )))
}

/// Fetches the key: the secret holds it alone, or is a JSON object of keys by the names of their
/// variables. Errors contain nothing of the secret.
async fn key_of_secret(
    secret: &str,
    arn: &str,
    key_variable: &str,
    is_for_it_alone: bool,
) -> Result<Option<String>, SettingsError> {
    let refuse = |why: &str| Err(SettingsError::new(format!("{secret}: {why}")));
    // Boxed: AWS's futures nest too deeply for the compiler in the functions that await this one.
    let text = match Box::pin(aws::secret(arn)).await {
        Ok(text) => text,
        Err(why) => return refuse(&why),
    };
    let text = text.trim();
    if text.is_empty() {
        return refuse("the secret is empty");
    }
    if !text.starts_with('{') {
        return Ok(is_for_it_alone.then(|| text.to_owned()));
    }
    let keys: Value = serde_json::from_str(text).unwrap_or_default();
    match (keys[key_variable].as_str(), is_for_it_alone) {
        (Some(key), _) => Ok(Some(key.trim().to_owned())),
        (None, false) => Ok(None),
        (None, true) => refuse(&format!(
            "the secret holds JSON, but no key as `{key_variable}` in it"
        )),
    }
}

/// The configured region, in which Bedrock is called.
pub async fn require_region() -> Result<String, SettingsError> {
    aws::region()
        .await
        .ok_or_else(|| SettingsError::new("MODEL uses Bedrock; set AWS_REGION"))
}
