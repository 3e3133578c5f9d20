//! Tokens that replace a password on RDS (AWS documentation, "IAM database authentication"): a
//! presigned request for the action `connect`, without its scheme.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::SignableBody;

use super::roots::region_of;
use crate::aws::{self, Signing};

/// How long a token is valid; 15 minutes is the maximum. It is only needed while connecting.
const LIFETIME: Duration = Duration::from_secs(900);

/// The service the token is for, as named in the signature.
const SERVICE: &str = "rds-db";

/// A token for `user` on a host. The region comes from the host's name, else from the environment.
///
/// # Errors
/// A sentence: no region, or no credentials.
pub async fn token(host: &str, port: u16, user: &str) -> Result<String, String> {
    let region = match region_of(host) {
        Some(region) => region.to_owned(),
        None => aws::region().await.ok_or(
            "DATABASE_AUTH=iam needs a region; the host's name has none, so set AWS_REGION",
        )?,
    };
    let credentials = aws::credentials().await?;
    presign(host, port, user, &region, credentials, SystemTime::now())
        .map_err(|error| format!("cannot create a token for DATABASE_AUTH=iam: {error}"))
}

fn presign(
    host: &str,
    port: u16,
    user: &str,
    region: &str,
    credentials: Credentials,
    now: SystemTime,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let signing = Signing {
        service: SERVICE,
        region,
        identity: &credentials.into(),
        time: now,
    };
    let user = aws::percent_encoded(user);
    let url = format!("https://{host}:{port}/?Action=connect&DBUser={user}");
    let signed = signing.presigned(&url, SignableBody::Bytes(&[]), LIFETIME)?;
    Ok(signed.trim_start_matches("https://").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected token is botocore's, for the same time and credentials.
    #[test]
    fn a_token_is_what_the_aws_cli_makes() {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            Some("a/session+token=".into()),
            None,
            "test",
        );
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        let token = presign(
            "db.abc.eu-west-1.rds.amazonaws.com",
            5432,
            "daissy_app",
            "eu-west-1",
            credentials,
            now,
        )
        .unwrap();
        let parts = |token: &str| {
            let mut parts: Vec<String> = token.split(['?', '&']).map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(
            parts(&token),
            parts(include_str!("testdata/iam_token.txt").trim_end())
        );
    }
}
