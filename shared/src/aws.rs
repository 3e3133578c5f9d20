//! Calls to AWS: secrets and credentials. The SDK's configuration is loaded on first use, so a
//! function that needs neither does not pay for it.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use tokio::sync::OnceCell;

use crate::causes::with_causes;

/// Timeout for one call, retries included.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

static CONFIG: OnceCell<SdkConfig> = OnceCell::const_new();

async fn config() -> &'static SdkConfig {
    let load = || {
        let limits = TimeoutConfig::builder()
            .operation_timeout(CALL_TIMEOUT)
            .build();
        aws_config::defaults(BehaviorVersion::latest())
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

/// The credentials of the environment. The SDK renews them when they expire.
///
/// # Errors
/// A sentence.
pub async fn credentials() -> Result<Credentials, String> {
    let provider = config().await.credentials_provider();
    let provider = provider.ok_or("no AWS credentials found")?;
    provider
        .provide_credentials()
        .await
        .map_err(|error| format!("no AWS credentials found: {}", with_causes(&error)))
}
