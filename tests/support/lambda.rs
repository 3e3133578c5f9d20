//! The `status` function in a Lambda environment.

use std::ops::Deref;

use axum::http::HeaderName;
use rig::lambda::http_event;
use serde_json::Value;

use crate::contract;
use rig::programs::build_folder;

/// A running function; it is killed when dropped.
pub struct Environment(rig::lambda::Environment);

impl Environment {
    /// Starts the `status` function on a database.
    pub async fn start(url: &str, settings: &[(&str, &str)]) -> Self {
        let program = build_folder().join("function-under-test");
        let mut variables = vec![("DATABASE_URL", url)];
        variables.extend(settings);
        Self(rig::lambda::Environment::start(&program, "status", &variables).await)
    }

    /// `GET /chat/status` as an HTTP API sends it; returns status and body.
    pub async fn service_status(&self) -> (u16, Value) {
        let answer = self.invoke(http_event("GET", "/chat/status", None)).await;
        let body = answer["body"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"));
        let status: u16 = serde_json::from_value(answer["statusCode"].clone()).unwrap();
        let headers = answer["headers"].as_object().unwrap();
        let headers = headers.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, value.as_str().unwrap().parse().unwrap())
        });
        let headers = headers.collect();
        let body = contract::check("GET", "/chat/status", status, &headers, body.as_bytes());
        (status, body)
    }

    /// Ends the environment as Lambda does; returns whether the exit code was 0.
    pub async fn end(self) -> bool {
        self.0.end().await
    }
}

impl Deref for Environment {
    type Target = rig::lambda::Environment;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
