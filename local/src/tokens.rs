//! Asks for a token where `JWT_ISSUER` and `JWT_AUDIENCE` are set, as API Gateway does in front of the
//! functions.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::Response;
use shared::http::event::RequestContext;
use shared::jwt::{TokenError, Verifier};
use shared::problem::Problem;

use crate::error::LocalError;
use crate::service::{drained, refuse};

/// Who vouches for callers; by default no one does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens(Option<Arc<Verifier>>);

impl Tokens {
    /// Reads `JWT_ISSUER` and `JWT_AUDIENCE`.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, LocalError> {
        let verifier =
            Verifier::read(variable).map_err(|error| LocalError::new(error.to_string()))?;
        Ok(Self(verifier.map(Arc::new)))
    }

    /// The issuer and the audiences, if tokens are needed.
    pub(crate) fn description(&self) -> Option<String> {
        self.0.as_ref().map(|verifier| verifier.description())
    }
}

/// Answers 401 to requests without a valid token, and tells endpoints whose it is.
pub(crate) async fn authorize(
    State(tokens): State<Tokens>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(verifier) = &tokens.0 else {
        return next.run(request).await;
    };
    let refusal = match authorization(request.headers()) {
        None => refuse(&Problem::Unauthorized),
        Some(authorization) => match verifier.verify(authorization).await {
            Ok(verified) => {
                let context = RequestContext::of_jwt(verified.claims);
                request.extensions_mut().insert(context);
                return next.run(request).await;
            }
            Err(TokenError::Invalid(why)) => unauthorized(why),
            Err(TokenError::Unchecked(error)) => refuse(&Problem::IssuerUnavailable(error)),
        },
    };
    drained(request.into_body()).await;
    refusal
}

/// The value of the header. Which of several is meant would be a guess.
fn authorization(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The answer to a request with a token that is not valid. Says why in the header, as API Gateway does.
fn unauthorized(why: &str) -> Response {
    let mut response = refuse(&Problem::Unauthorized);
    let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{why}\"");
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}
