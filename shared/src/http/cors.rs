//! Lets web pages of other origins read answers, where that is left to the function: a REST API passes them on as
//! they are. An HTTP API and the local server do it themselves.

use lambda_http::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, HeaderMap, HeaderName,
    HeaderValue, LINK, ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};

use super::endpoint::{REPLAYED, REQUEST_ID};
use crate::settings;

/// The variable that lists the origins whose pages may call, separated by commas.
pub const ALLOWED_ORIGINS: &str = "CORS_ALLOWED_ORIGINS";

/// The headers of answers that pages may read, beside those that they always may.
pub const EXPOSED: [HeaderName; 6] = [
    REQUEST_ID,
    REPLAYED,
    RETRY_AFTER,
    ALLOW,
    LINK,
    WWW_AUTHENTICATE,
];

/// The origins whose pages may read answers.
#[derive(Debug, Clone, Default)]
pub struct AllowedOrigins(Vec<String>);

impl AllowedOrigins {
    /// Reads `CORS_ALLOWED_ORIGINS`; unset, there are none.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let listed = settings::text(variable, ALLOWED_ORIGINS).unwrap_or_default();
        let origins = listed.split(',').map(str::trim);
        Self(
            origins
                .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
                .filter(|origin| !origin.is_empty())
                .collect(),
        )
    }

    /// The origin of a request, if its page may read the answer.
    #[must_use]
    pub fn of(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = request.get(ORIGIN)?;
        let written = origin.to_str().ok()?.to_ascii_lowercase();
        self.0.contains(&written).then(|| origin.clone())
    }

    /// Adds to an answer what lets a page of this origin read it, and says that it depends on the origin.
    pub fn allow(&self, origin: Option<HeaderValue>, answer: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        answer.append(VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin else {
            return;
        };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = EXPOSED.map(|name| name.to_string()).join(",");
        if let Ok(exposed) = HeaderValue::try_from(exposed) {
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to a page of this origin.
    fn answered(setting: &str, origin: &'static str) -> HeaderMap {
        let allowed = AllowedOrigins::read(|name| {
            (name == ALLOWED_ORIGINS && !setting.is_empty()).then(|| setting.to_owned())
        });
        let mut request = HeaderMap::new();
        request.insert(ORIGIN, HeaderValue::from_static(origin));
        let mut answer = HeaderMap::new();
        allowed.allow(allowed.of(&request), &mut answer);
        answer
    }

    #[test]
    fn pages_of_listed_origins_may_read_answers_and_no_others() {
        let listed = "https://app.example, http://localhost:5173/";
        for origin in ["https://app.example", "http://localhost:5173"] {
            let answer = answered(listed, origin);
            assert_eq!(answer[ACCESS_CONTROL_ALLOW_ORIGIN], origin);
            let exposed = answer[ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap();
            assert!(exposed.contains("x-request-id") && exposed.contains("retry-after"));
            assert_eq!(answer[VARY], "origin");
        }
        for origin in [
            "https://app.example.evil",
            "http://app.example",
            "https://example",
            "null",
            "",
        ] {
            let answer = answered(listed, origin);
            assert!(
                !answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN),
                "{origin}"
            );
            assert_eq!(answer[VARY], "origin");
        }
        assert!(answered("", "https://app.example").is_empty());
    }
}
