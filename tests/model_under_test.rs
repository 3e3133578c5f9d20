//! Streams one answer of the model that the environment names. Prints every piece as a line of JSON, and
//! at last the answer or the failure.

use std::time::Duration;

use assistant::{AssistantConfig, Delivery, Piece};
use serde_json::json;
use support::agent::greet;

#[allow(clippy::expect_used, clippy::print_stdout)]
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let config = AssistantConfig::from_env().await.expect("the settings");
    let mut sink = |piece: Piece<'_>| match piece {
        Piece::Text(text) => println!("{}", json!({ "text": text })),
        Piece::FunctionCall(call) => println!("{}", json!({ "function_call": call })),
        Piece::Recordings(recordings) => println!("{}", json!({ "recordings": recordings })),
    };
    let delivery = Delivery::Streamed {
        sink: &mut sink,
        silence: Duration::from_secs(1),
    };
    match greet(&config.agent, delivery).await {
        Ok(answer) => println!(
            "{}",
            json!({
                "content": answer.content,
                "function_calls": answer.function_calls,
                "audio_files": answer.audio_files,
                "model": answer.model,
                "finish_reason": answer.finish_reason,
                "usage": [answer.usage.input_tokens, answer.usage.output_tokens],
            })
        ),
        Err(failure) => println!(
            "{}",
            json!({
                "failure": failure.to_string(),
                "is_context_exceeded": failure.is_context_exceeded(),
                "is_timeout": failure.is_timeout(),
            })
        ),
    }
}
