//! Calls to AWS: secrets, credentials, and signatures by them. The SDK's configuration is loaded on
//! first use, so a function that needs none of them does not pay for it.

use std::time::{Duration, SystemTime};

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningParams,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use lambda_http::http;
use lambda_http::http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use tokio::sync::{Mutex, OnceCell};

use crate::causes::with_causes;
use crate::https::Https;

/// Timeout for one call, retries included.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// How long before they expire credentials are renewed. A link made with them lasts no longer than they
/// do, so none is useless from the start. New ones of ECS and EC2 are there that early.
const RENEWAL: Duration = Duration::from_secs(300);

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

/// A failure to sign, which names no secret.
type SigningError = Box<dyn std::error::Error + Send + Sync>;

/// Signs requests to a service in a region: with these credentials, as of this time.
pub struct Signing<'a> {
    /// The service, as its signatures name it.
    pub service: &'a str,
    /// The region.
    pub region: &'a str,
    /// The credentials.
    pub identity: &'a Identity,
    /// When the request is signed.
    pub time: SystemTime,
}

impl Signing<'_> {
    fn parameters(&self, settings: SigningSettings) -> Result<SigningParams<'_>, SigningError> {
        Ok(v4::SigningParams::builder()
            .identity(self.identity)
            .region(self.region)
            .name(self.service)
            .time(self.time)
            .settings(settings)
            .build()?
            .into())
    }

    /// Presigns a GET: the URL, with a query string that allows whoever has it the request for this
    /// long. Its path is percent-encoded and is signed as it is.
    ///
    /// # Errors
    /// If it is no URL.
    pub fn presigned(
        &self,
        url: &str,
        body: SignableBody<'_>,
        lifetime: Duration,
    ) -> Result<String, SigningError> {
        let mut settings = SigningSettings::default();
        settings.expires_in = Some(lifetime);
        settings.signature_location = SignatureLocation::QueryParams;
        // By default a path is encoded and normalized once more, which S3 does not do.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let signable = SignableRequest::new("GET", url, std::iter::empty(), body)?;
        let (instructions, _) = sign(signable, &self.parameters(settings)?)?.into_parts();
        let mut request = http::Request::get(url).body(())?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request.uri().to_string())
    }

    /// The headers by which the service checks a POST with these headers.
    fn headers(
        &self,
        url: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<HeaderMap, SigningError> {
        let headers = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body))?;
        let parameters = self.parameters(SigningSettings::default())?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        let signed = instructions.headers().map(|(name, value)| {
            let mut value = HeaderValue::from_str(value)?;
            value.set_sensitive(true);
            Ok((HeaderName::try_from(name)?, value))
        });
        signed.collect()
    }
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
    let signing = Signing {
        service,
        region,
        identity: &credentials().await?.into(),
        time: SystemTime::now(),
    };
    let signed = signing
        .headers(url, headers, body)
        .map_err(|error| format!("AWS's signature cannot be made: {error}"))?;
    headers.extend(signed);
    Ok(())
}
