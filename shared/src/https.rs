//! The HTTP client that the SDK calls AWS with. The SDK's own brings rustls and AWS-LC along, a
//! second TLS library and a second provider of cryptography beside OpenSSL. Like the SDK's, this one
//! reads the proxy variables (`HTTPS_PROXY`, `NO_PROXY`, …).

use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use lambda_http::http;
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Request};

use crate::causes::with_causes;

/// Makes requests with reqwest. The client is built with the first one: it loads the system's root
/// certificates, and most environments never call AWS over HTTP.
#[derive(Debug, Default)]
pub struct Https {
    client: OnceLock<Client>,
}

impl Https {
    fn client(&self) -> Result<Client, reqwest::Error> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        // Calls are rare, and a connection would not survive the pause until the next one.
        let built = Client::builder()
            .redirect(Policy::none())
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(self.client.get_or_init(|| built).clone())
    }
}

impl HttpClient for Https {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            client: self.client().map_err(|error| with_causes(&error)),
            limit: limit(settings),
        })
    }
}

/// The timeout for a whole request. Without one for reading there is none: the call that the request
/// belongs to has its own.
fn limit(settings: &HttpConnectorSettings) -> Option<Duration> {
    let connect = settings.connect_timeout().unwrap_or_default();
    settings.read_timeout().map(|read| connect + read)
}

#[derive(Debug)]
struct Connector {
    client: Result<Client, String>,
    limit: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, limit) = (self.client.clone(), self.limit);
        HttpConnectorFuture::new(async move {
            let client = client.map_err(|why| ConnectorError::user(why.into()))?;
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            let mut request = Request::try_from(request.map(Body::wrap)).map_err(failure)?;
            *request.timeout_mut() = limit;
            let response = client.execute(request).await.map_err(failure)?;
            let response = http::Response::from(response).map(SdkBody::from_body_1_x);
            HttpResponse::try_from(response)
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Says of an error what the SDK decides by whether to try again.
fn failure(error: reqwest::Error) -> ConnectorError {
    if error.is_timeout() {
        ConnectorError::timeout(error.into())
    } else if error.is_builder() {
        ConnectorError::user(error.into())
    } else {
        ConnectorError::io(error.into())
    }
}
