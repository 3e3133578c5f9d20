//! A language model asked over HTTP, by way of genai: OpenAI and what speaks its protocol,
//! Anthropic, Ollama, Bedrock and more.

use std::error::Error as _;
use std::sync::OnceLock;
use std::time::Duration;

use genai::adapter::AdapterKind;
use genai::chat::{ChatMessage, ChatRequest, ChatResponse, Tool, ToolCall, ToolResponse};
use genai::resolver::{AuthData, Endpoint};
use genai::{Client, Error, ModelIden, ServiceTarget, WebConfig, webc};
use serde_json::{Value, json};
use shared::turns::{Answer, ContextMessage};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::ModelFailure;
use crate::audio::{Catalogue, FUNCTION_DESCRIPTION, FUNCTION_NAME};
use crate::config::ChatConfigError;

/// How often the model may call functions before it has to answer.
const MAX_ROUNDS: usize = 5;

/// How long connecting to the provider may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The prefixes of `MODEL` for Bedrock with the credentials of the environment.
const BEDROCK_PREFIXES: [&str; 2] = ["bedrock::", "bedrock_sigv4::"];

/// The prefix of `MODEL` for Ollama.
const OLLAMA_PREFIX: &str = "ollama::";

/// What a server of one's own is sent as key when there is none; such servers ignore it.
const NO_KEY: &str = "none";

/// A model of a provider.
#[derive(Debug)]
pub struct Remote {
    client: Client,
    target: ServiceTarget,
    /// Without one, the model is offered no function.
    catalogue: Option<Catalogue>,
}

/// What a conversation with the model has come to so far.
#[derive(Debug, Default)]
struct Progress {
    audio_files: Vec<Value>,
    function_calls: Vec<Value>,
    input_tokens: i64,
    output_tokens: i64,
}

impl Remote {
    /// Finds the provider of a model: by its prefix (`ollama::llama3`), else by its name, else what
    /// speaks OpenAI's protocol at `base_url`. `variable` knows the provider's key. Asks nobody yet.
    ///
    /// # Errors
    /// [`ChatConfigError`] when the provider's key or region is missing.
    pub async fn new(
        name: &str,
        base_url: Option<String>,
        catalogue: Option<Catalogue>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ChatConfigError> {
        let client = Client::builder()
            .with_web_config(WebConfig::default().with_connect_timeout(CONNECT_LIMIT))
            .build()
            .map_err(|_| ChatConfigError("the model's HTTP client cannot be built".into()))?;

        let model = identify(name, base_url.is_some())?;
        if model.adapter_kind == AdapterKind::BedrockSigv4 {
            require_region().await?;
        }
        let mut target = client
            .resolve_service_target(model)
            .await
            .map_err(|error| {
                ChatConfigError(format!("MODEL {name} cannot be used: {}", describe(&error)))
            })?;
        target.auth = usable_key(name, target.auth, base_url.is_some(), variable)?;
        if let Some(base_url) = base_url {
            target.endpoint = Endpoint::from_owned(format!("{}/", base_url.trim_end_matches('/')));
        }
        Ok(Self {
            client,
            target,
            catalogue,
        })
    }

    /// Which model answers and where.
    pub fn description(&self) -> String {
        let model = &self.target.model;
        format!(
            "{} ({} at {})",
            model.model_name,
            model.adapter_kind,
            self.target.endpoint.base_url()
        )
    }

    /// Answers a question, calling functions as the model asks for them.
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
            let response = self.ask(request.clone()).await?;
            progress.input_tokens += response.usage.prompt_tokens.map_or(0, i64::from);
            progress.output_tokens += response.usage.completion_tokens.map_or(0, i64::from);

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
        Err(ModelFailure(format!(
            "the model called functions {MAX_ROUNDS} times and did not answer"
        )))
    }

    async fn ask(&self, request: ChatRequest) -> Result<ChatResponse, ModelFailure> {
        let (client, target) = (self.client.clone(), self.target.clone());
        let asked = async move { client.exec_chat(target, request, None).await };
        let response = if self.target.model.adapter_kind == AdapterKind::BedrockSigv4 {
            let runtime = blocking_runtime()
                .ok_or_else(|| ModelFailure("no thread can be started to sign requests".into()))?;
            // A set, because it ends its task when the caller stops waiting.
            let mut task = JoinSet::new();
            task.spawn_on(asked, runtime.handle());
            let answered = task.join_next().await.and_then(Result::ok);
            answered.ok_or_else(|| ModelFailure("signing the request failed".into()))?
        } else {
            asked.await
        };
        response.map_err(|error| ModelFailure(describe(&error)))
    }

    /// Runs one function call and records it.
    fn run(&self, call: &ToolCall, progress: &mut Progress) -> Value {
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

fn finish(response: &ChatResponse, progress: Progress) -> Result<Answer, ModelFailure> {
    let content = response.texts().concat();
    if content.trim().is_empty() {
        let reason = response
            .stop_reason
            .as_ref()
            .map_or("none given", |reason| reason.raw());
        return Err(ModelFailure(format!(
            "the model answered with no text (reason: {reason})"
        )));
    }
    Ok(Answer {
        response_id: Uuid::now_v7(),
        content,
        audio_files: progress.audio_files,
        function_calls: progress.function_calls,
        model: response.provider_model_iden.model_name.to_string(),
        input_tokens: progress.input_tokens,
        output_tokens: progress.output_tokens,
    })
}

fn identify(name: &str, has_base_url: bool) -> Result<ModelIden, ChatConfigError> {
    for prefix in BEDROCK_PREFIXES {
        if let Some(model) = name.strip_prefix(prefix) {
            return Ok(ModelIden::new(AdapterKind::BedrockSigv4, model.to_owned()));
        }
    }
    if has_base_url && !name.contains("::") {
        return Ok(ModelIden::new(AdapterKind::OpenAI, name.to_owned()));
    }
    // For a name it does not know genai goes to Ollama; that must be asked for.
    match AdapterKind::from_model(name) {
        Ok(kind) if kind != AdapterKind::Ollama || name.starts_with(OLLAMA_PREFIX) => {
            Ok(ModelIden::new(kind, name.to_owned()))
        }
        _ => Err(ChatConfigError(format!(
            "no provider is known for MODEL {name}; put its name before it, as in \
             {OLLAMA_PREFIX}llama3.2, or set MODEL_BASE_URL"
        ))),
    }
}

/// The conversation as every provider takes it: it begins with the user, and the two take turns. A
/// question that was never answered is joined with the next, and an answer whose question is out of
/// sight is left out.
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

/// Takes care that a missing key is seen at the start and not by the first caller.
fn usable_key(
    name: &str,
    auth: AuthData,
    has_base_url: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<AuthData, ChatConfigError> {
    let AuthData::FromEnv(key_variable) = &auth else {
        return Ok(auth);
    };
    match variable(key_variable) {
        Some(key) => Ok(AuthData::from_single(key)),
        None if has_base_url => Ok(AuthData::from_single(NO_KEY)),
        None => Err(ChatConfigError(format!(
            "MODEL {name} needs a key; set {key_variable}"
        ))),
    }
}

/// Takes care that Bedrock is asked in the region that is configured; genai would go to us-east-1
/// without a word.
async fn require_region() -> Result<(), ChatConfigError> {
    match aws_config::load_from_env().await.region() {
        Some(_) => Ok(()),
        None => Err(ChatConfigError(
            "MODEL names Bedrock; set AWS_REGION".into(),
        )),
    }
}

/// genai fetches the credentials for Bedrock by blocking its thread, which a runtime of one thread
/// (as the functions have) answers with a panic.
fn blocking_runtime() -> Option<&'static Runtime> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .ok()
        })
        .as_ref()
}

/// What may be logged of a failure. genai's own texts hold the request and the answer.
fn describe(error: &Error) -> String {
    match error {
        Error::WebModelCall { webc_error, .. } | Error::WebAdapterCall { webc_error, .. } => {
            describe_call(webc_error)
        }
        Error::HttpError { status, .. } => format!("the provider answered {status}"),
        Error::RequiresApiKey { .. } | Error::NoAuthData { .. } | Error::NoAuthResolver { .. } => {
            "the provider's key is missing".into()
        }
        Error::Resolver { .. } => "the provider's key or address cannot be found".into(),
        Error::ChatResponseGeneration { .. } => "the answer cannot be understood".into(),
        _ => "the request could not be made or its answer not be read".into(),
    }
}

fn describe_call(error: &webc::Error) -> String {
    match error {
        webc::Error::ResponseFailedStatus { status, body, .. } => match error_code(body) {
            Some(code) => format!("the provider answered {status} ({code})"),
            None => format!("the provider answered {status}"),
        },
        webc::Error::ResponseFailedNotJson { .. }
        | webc::Error::ResponseFailedInvalidJson { .. }
        | webc::Error::JsonValueExt(_) => "the answer is not JSON".into(),
        webc::Error::Reqwest(error) if error.is_timeout() => "the provider took too long".into(),
        webc::Error::Reqwest(error) => {
            let mut description = "the provider cannot be reached".to_owned();
            let mut source = error.source();
            while let Some(cause) = source {
                description.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            description
        }
    }
}

/// The provider's word for what is wrong (`model_not_found`), if it is one; the sentence beside it
/// may quote the conversation.
fn error_code(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let code = ["code", "type"]
        .iter()
        .find_map(|name| body["error"][*name].as_str())?;
    let is_word = code.len() <= 60
        && code
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character));
    is_word.then(|| code.to_owned())
}
