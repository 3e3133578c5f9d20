//! `authorizer`: checks the tokens of those who call the REST API. It has no route.
//!
//! An HTTP API checks tokens itself; a REST API, which alone can stream, asks this function, with the event
//! of a `TOKEN` authorizer. The answer lets its caller use every route of the stage, because API Gateway keeps
//! it for all of them, and passes on the claims of the token. Whoever is behind reads from them the owner that
//! the HTTP API would name, and how long the token lives.

mod error;

use serde_json::{Value, json};
use shared::jwt::{Verifier, authorizer_context};
use shared::settings::SettingsError;

pub use error::Refusal;

/// The function, with what it keeps between invocations: the keys of the issuer.
#[derive(Debug)]
pub struct Authorizer(Result<Verifier, SettingsError>);

impl Authorizer {
    /// Reads `JWT_ISSUER` and `JWT_AUDIENCE`. Settings that are missing or invalid are the answer to every
    /// event: without them nobody is let through.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let verifier = Verifier::read(variable);
        Self(verifier.and_then(|verifier| {
            verifier.ok_or_else(|| SettingsError::new("JWT_ISSUER and JWT_AUDIENCE are not set"))
        }))
    }

    /// Fetches the keys of the issuer before the first event. An issuer that cannot be reached is asked again
    /// with it.
    pub async fn prepare(&self) {
        if let Ok(verifier) = &self.0 {
            verifier.prepare().await;
        }
    }

    /// Answers one event, and logs a refusal.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn handle(&self, event: &Value) -> Result<Value, Refusal> {
        let answer = self.authorize(event).await;
        if let Err(refusal) = &answer {
            refusal.log();
        }
        answer
    }

    async fn authorize(&self, event: &Value) -> Result<Value, Refusal> {
        let verifier = self.0.as_ref();
        let verifier = verifier.map_err(|error| Refusal::Config(error.clone()))?;
        let token = event["authorizationToken"].as_str();
        let stage = event["methodArn"].as_str().and_then(whole_stage);
        let (Some(token), Some(stage)) = (token, stage) else {
            return Err(Refusal::UnknownEvent);
        };
        let claims = verifier.verify(token).await?.claims;
        let context = authorizer_context(&claims);
        let context = context.ok_or(Refusal::Unauthorized(
            "the token's subject (sub) is too long",
        ))?;
        Ok(json!({
            "principalId": claims["sub"],
            "policyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    { "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": stage },
                ],
            },
            "context": context,
        }))
    }
}

/// All routes of the stage that a route belongs to; both are named as in policies:
/// `arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH`.
fn whole_stage(route: &str) -> Option<String> {
    let (api, rest) = route.split_once('/')?;
    let (stage, _) = rest.split_once('/')?;
    let is_named = api.starts_with("arn:") && !stage.is_empty();
    is_named.then(|| format!("{api}/{stage}/*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_route_stands_for_all_of_its_stage_and_no_other() {
        let api = "arn:aws-cn:execute-api:cn-north-1:123456789012:a1b2c3";
        for route in ["POST/chat/stream", "GET/chat/stream/a%2Fb", "GET/"] {
            let route = format!("{api}/api/{route}");
            assert_eq!(whole_stage(&route), Some(format!("{api}/api/*")));
        }
        for route in [
            "",
            "*",
            "/",
            api,
            &format!("{api}/api"),
            &format!("{api}//GET"),
        ] {
            assert_eq!(whole_stage(route), None, "{route}");
        }
    }
}
