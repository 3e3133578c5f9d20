//! Calls to AWS: secrets, credentials, and signatures by them. The SDK's configuration is loaded on
//! first use, so a function that needs none of them does not pay for it.

use std::time::{Duration, SystemTime};

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use lambda_http::http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use tokio::sync::{Mutex, OnceCell};

use crate::causes::with_causes;
use crate::https::Https;

/// Timeout for one call, retries included.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// How long before they expire credentials are renewed.
const RENEWAL: Duration = Duration::from_secs(60);

/// The characters that are percent-encoded in a path or a query: all but RFC 3986's unreserved ones,
/// as signatures expect.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

static CONFIG: OnceCell<SdkConfig> = OnceCell::const_new();

/// The credentials that expire, such as those of an assumed role: each fetch is a call.
static KNOWN: Mutex<Option<Credentials>> = Mutex::const_new(None);

async fn config() -> &'static SdkConfig {
    let load = || {
        let limits = TimeoutConfig::builder()
            .operation_timeout(CALL_TIMEOUT)
            .build();
        aws_config::defaults(BehaviorVersion::latest())
            .http_client(Https::default())
            .timeout_config(limits)
            .load()
    };
    CONFIG.get_or_init(load).await
}

/// Returns the text of a secret in AWS Secrets Manager.
///
/// # Errors
/// A sentence with AWS's error code, never with the secret.
pub async fn secret(arn: &str) -> Result<String, String> {
    let mut settings = aws_sdk_secretsmanager::config::Builder::from(config().await);
    // An ARN names the region of its secret; a plain name does not.
    if let Some(region) = arn
        .strip_prefix("arn:")
        .and_then(|arn| arn.split(':').nth(2))
    {
        settings = settings.region(Region::new(region.to_owned()));
    }
    let client = aws_sdk_secretsmanager::Client::from_conf(settings.build());
    let answer = client.get_secret_value().secret_id(arn).send().await;
    let answer = answer.map_err(|error| {
        use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
        match &error {
            SdkError::ServiceError(refused) if refused.err().code().is_some() => format!(
                "Secrets Manager answered {}: {}",
                refused.err().code().unwrap_or_default(),
                refused.err().message().unwrap_or("no message")
            ),
            _ => format!("Secrets Manager cannot be asked: {}", with_causes(&error)),
        }
    })?;
    match answer.secret_string() {
        Some(text) => Ok(text.to_owned()),
        None => Err("the secret is binary, not text".into()),
    }
}

/// The region configured in the environment, if any.
pub async fn region() -> Option<String> {
    config().await.region().map(ToString::to_string)
}

/// The credentials of the environment. They are renewed when they expire.
///
/// # Errors
/// A sentence.
pub async fn credentials() -> Result<Credentials, String> {
    let mut known = KNOWN.lock().await;
    let soon = SystemTime::now() + RENEWAL;
    if let Some(known) = known.as_ref().filter(|known| is_valid_at(known, soon)) {
        return Ok(known.clone());
    }
    let provider = config().await.credentials_provider();
    let provider = provider.ok_or("no AWS credentials found")?;
    let credentials = provider
        .provide_credentials()
        .await
        .map_err(|error| format!("no AWS credentials found: {}", with_causes(&error)))?;
    *known = Some(credentials.clone());
    Ok(credentials)
}

fn is_valid_at(credentials: &Credentials, time: SystemTime) -> bool {
    credentials.expiry().is_some_and(|expiry| expiry > time)
}

/// A text as a part of a path or a value in a query of a request that is signed.
#[must_use]
pub fn percent_encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

/// Signs a POST of `body` to a service, with the environment's credentials: adds the headers that
/// the service checks it by.
///
/// # Errors
/// A sentence.
pub async fn sign_post(
    service: &str,
    region: &str,
    url: &str,
    headers: &mut HeaderMap,
    body: &[u8],
) -> Result<(), String> {
    let identity = credentials().await?.into();
    let signed = signature(service, region, url, headers, body, &identity)
        .map_err(|error| format!("AWS's signature cannot be made: {error}"))?;
    headers.extend(signed);
    Ok(())
}

fn signature(
    service: &str,
    region: &str,
    url: &str,
    headers: &HeaderMap,
    body: &[u8],
    identity: &Identity,
) -> Result<HeaderMap, Box<dyn std::error::Error + Send + Sync>> {
    let parameters = v4::SigningParams::builder()
        .identity(identity)
        .region(region)
        .name(service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let headers = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body))?;
    let (instructions, _) = sign(signable, &parameters)?.into_parts();
    let signed = instructions.headers().map(|(name, value)| {
        let mut value = HeaderValue::from_str(value)?;
        value.set_sensitive(true);
        Ok((HeaderName::try_from(name)?, value))
    });
    signed.collect()
}
