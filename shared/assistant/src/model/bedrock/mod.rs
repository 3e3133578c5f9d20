//! A model of Bedrock, asked through its Converse API with the AWS credentials of the environment.
//! genai can do this too, but only with an AWS SDK that brings a second TLS library along.

mod converse;
mod frames;
mod streamed;

use std::time::Duration;

use genai::adapter::AdapterKind;
use genai::chat::{ChatRequest, ChatResponse};
use genai::{Error, ModelIden, webc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use shared::aws;
use tokio::time::timeout;

use self::frames::Frames;
use self::streamed::StreamedAnswer;
use super::draft::Draft;
use super::failure::{ModelFailure, failure};

/// The service a request is for, as named in its signature.
const SERVICE: &str = "bedrock";

/// A model of Bedrock.
#[derive(Debug)]
pub struct Bedrock {
    client: Client,
    model: ModelIden,
    region: String,
    /// Where Bedrock answers, with a slash at the end.
    base_url: String,
}

impl Bedrock {
    /// A model in a region, at `base_url` instead of the region's address if one is given.
    pub fn new(client: Client, model: &str, region: String, base_url: Option<String>) -> Self {
        let base_url =
            base_url.unwrap_or_else(|| format!("https://bedrock-runtime.{region}.amazonaws.com/"));
        Self {
            client,
            model: ModelIden::new(AdapterKind::BedrockApi, model.to_owned()),
            region,
            base_url,
        }
    }

    /// The id of the model.
    pub fn name(&self) -> &str {
        &self.model.model_name
    }

    /// Where it is asked.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Sends one request and reads its answer.
    pub async fn ask(&self, request: ChatRequest) -> Result<ChatResponse, ModelFailure> {
        let request = self.signed("converse", request).await?;
        let answer = read(request).await.map_err(|error| self.failed(error))?;
        Ok(converse::response(answer, &self.model))
    }

    /// Sends one request, and gives to the draft what the model says at the moment it comes.
    pub async fn stream(
        &self,
        request: ChatRequest,
        silence: Duration,
        draft: &mut Draft<'_>,
    ) -> Result<ChatResponse, ModelFailure> {
        let request = self.signed("converse-stream", request).await?;
        let mut response = timeout(silence, begin(request))
            .await
            .map_err(|_| ModelFailure::silence())?
            .map_err(|error| self.failed(error))?;
        let (mut frames, mut answer) = (Frames::default(), StreamedAnswer::default());
        while !answer.is_complete() {
            let bytes = timeout(silence, response.chunk())
                .await
                .map_err(|_| ModelFailure::silence())?
                .map_err(|error| self.failed(error.into()))?;
            let Some(bytes) = bytes else { break };
            frames.push(&bytes);
            while let Some(event) = frames.next_event()? {
                if let Some(text) = answer.add(&event) {
                    draft.say(text);
                }
            }
        }
        Ok(converse::response(answer.finish()?, &self.model))
    }

    async fn signed(
        &self,
        action: &str,
        request: ChatRequest,
    ) -> Result<RequestBuilder, ModelFailure> {
        let body = converse::body(request).to_string();
        let model = aws::percent_encoded(self.name());
        let url = format!("{}model/{model}/{action}", self.base_url);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        aws::sign_post(SERVICE, &self.region, &url, &mut headers, body.as_bytes())
            .await
            .map_err(|why| ModelFailure::new(format!("cannot sign the request: {why}")))?;
        Ok(self.client.post(url).headers(headers).body(body))
    }

    fn failed(&self, webc_error: webc::Error) -> ModelFailure {
        failure(&Error::WebModelCall {
            model_iden: self.model.clone(),
            webc_error,
        })
    }
}

/// Sends a request, and returns a response only if it is a success.
async fn begin(request: RequestBuilder) -> Result<Response, webc::Error> {
    let response = request.send().await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let headers = Box::new(response.headers().clone());
    Err(webc::Error::ResponseFailedStatus {
        status,
        body: response.text().await?,
        headers,
    })
}

async fn read(request: RequestBuilder) -> Result<Value, webc::Error> {
    let body = begin(request).await?.text().await?;
    serde_json::from_str(&body).map_err(|error| webc::Error::ResponseFailedInvalidJson {
        body,
        cause: error.to_string(),
    })
}
