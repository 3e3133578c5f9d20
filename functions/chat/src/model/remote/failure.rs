//! What may be said of a provider's failure.

use genai::{Error, webc};
use serde_json::Value;
use shared::causes::causes;

/// What may be logged of a failure. genai's own texts hold the request and the answer.
pub fn describe(error: &Error) -> String {
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
            format!("the provider cannot be reached: {}", causes(error))
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
