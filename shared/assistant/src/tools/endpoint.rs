//! A function of the installation: an HTTP endpoint that gets the arguments of a call as JSON.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::Value;

use super::address::Guarded;
use super::call::{Definition, MAX_RESULT_BYTES, Returned};

/// Timeout for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A function of the installation.
#[derive(Debug)]
pub struct Endpoint {
    /// The name the model calls it by.
    pub(super) name: String,
    /// What it is for.
    pub(super) description: String,
    /// Its parameters as a JSON schema.
    pub(super) parameters: Value,
    /// Where it is.
    pub(super) url: Url,
    /// Timeout for a call.
    pub(super) timeout: Duration,
    /// A header whose value is a secret.
    pub(super) secret_header: Option<(HeaderName, HeaderValue)>,
    /// Its client.
    pub(super) client: Client,
}

/// The client for endpoints, which may only reach link-local and metadata addresses if that is allowed.
///
/// There are no redirects, which would lead the arguments and the secret elsewhere, and no proxy, which would
/// resolve names by itself.
///
/// # Errors
/// reqwest's, when it cannot be built.
pub fn client(is_everything_allowed: bool) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(Policy::none())
        .no_proxy();
    let builder = if is_everything_allowed {
        builder
    } else {
        builder.dns_resolver(Guarded)
    };
    builder.build()
}

impl Endpoint {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn definition(&self) -> Definition<'_> {
        Definition {
            name: &self.name,
            description: &self.description,
            parameters: &self.parameters,
        }
    }

    /// Calls it. An error is a sentence for the model.
    pub(super) async fn call(&self, arguments: &Value) -> Result<Returned, String> {
        if !arguments.is_object() {
            return Err("the arguments are not an object".to_owned());
        }
        let mut request = self
            .client
            .post(self.url.clone())
            .timeout(self.timeout)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(arguments.to_string());
        if let Some((name, value)) = &self.secret_header {
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        let text = beginning(&mut response)
            .await
            .map_err(|error| self.failed(&error))?;
        if status.is_success() {
            let result = serde_json::from_str(&text).unwrap_or(Value::String(text));
            return Ok(Returned {
                result,
                recordings: Vec::new(),
            });
        }
        tracing::warn!(
            function = self.name,
            status = status.as_u16(),
            "a function of the installation failed"
        );
        // It may say which argument is wrong.
        Err(if status.is_client_error() && !text.trim().is_empty() {
            format!("the function answered {status}: {text}")
        } else {
            format!("the function answered {status}")
        })
    }

    fn failed(&self, error: &reqwest::Error) -> String {
        // Without the address, which may hold a secret.
        tracing::warn!(
            function = self.name,
            is_timeout = error.is_timeout(),
            is_connect = error.is_connect(),
            "a function of the installation cannot be called"
        );
        if error.is_timeout() {
            format!("the function took longer than {} s", self.timeout.as_secs())
        } else {
            "the function cannot be reached".to_owned()
        }
    }
}

/// The beginning of a body, one byte longer than a result may be.
async fn beginning(response: &mut Response) -> reqwest::Result<String> {
    let mut bytes = Vec::new();
    while bytes.len() <= MAX_RESULT_BYTES {
        match response.chunk().await? {
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => break,
        }
    }
    bytes.truncate(MAX_RESULT_BYTES + 1);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
