//! An answer of a provider that genai knows, in one piece.

use genai::chat::{ChatOptions, ChatRequest, ChatResponse};
use genai::{Client, Error, ServiceTarget};

use super::super::failure::{ModelFailure, failure};
use super::ollama::results_for;
use super::refusal::Refusal;

/// Sends one request and reads its answer.
pub async fn ask(
    client: &Client,
    target: &ServiceTarget,
    request: ChatRequest,
) -> Result<ChatResponse, ModelFailure> {
    let request = results_for(target.model.adapter_kind, request);
    let options = ChatOptions::default().with_capture_raw_body(true);
    let answered = client
        .exec_chat(target.clone(), request, Some(&options))
        .await;
    let mut refusal = Refusal::default();
    match answered {
        Ok(mut response) => {
            if let Some(body) = response.captured_raw_body.take() {
                refusal.read(&body);
            }
            refusal.add_to(&mut response);
            Ok(response)
        }
        Err(error) => {
            if let Error::ChatResponseGeneration { response_body, .. } = &error {
                refusal.read(response_body);
            }
            refusal
                .blocked(&target.model)
                .ok_or_else(|| failure(&error))
        }
    }
}
