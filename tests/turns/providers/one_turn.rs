//! What the tests of providers share: one turn of the product with a provider's model.

use std::fmt;
use std::io::Write;

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use uuid::Uuid;

use support::TestApi;
use support::api::Answer;
use support::providers::{Protocol, ProviderServer, Tokens, Turn};

/// The title of the recording that fits the words [`TOPIC`].
pub const TITLE: &str = "Deep sleep";

/// What a model asks the function for.
pub const TOPIC: &str = "sleep";

/// A provider, asked by one of the two ways to take a turn.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The provider's protocol.
    pub protocol: Protocol,
    /// Whether the answer is streamed.
    pub is_streamed: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.is_streamed {
            "streamed"
        } else {
            "whole"
        };
        write!(formatter, "{:?}, {way}", self.protocol)
    }
}

/// These providers, whole and streamed.
pub fn cases(protocols: &[Protocol]) -> impl Iterator<Item = Case> {
    protocols.iter().flat_map(|protocol| {
        [false, true].map(|is_streamed| Case {
            protocol: *protocol,
            is_streamed,
        })
    })
}

/// A turn that was taken.
pub struct Taken {
    /// The provider.
    pub provider: ProviderServer,
    /// The product.
    pub api: TestApi,
    /// What it answered.
    pub answer: Answer,
    /// The row of the stored answer: the content first, then the other columns.
    pub stored: Value,
}

/// Takes a turn that the model answers with these turns of its own. The provider must have taken every
/// request, and the answer must be the same when it is asked for again.
pub async fn take(case: Case, turns: impl Into<Vec<Turn>>) -> Taken {
    let provider = ProviderServer::start(case.protocol, turns.into()).await;
    let mut catalogue = NamedTempFile::new().unwrap();
    let recordings = json!([
        { "title": TITLE, "url": "https://example.com/1.mp3", "tags": [TOPIC] },
        { "title": "Morning run", "url": "https://example.com/2.mp3", "tags": ["sport"] },
    ]);
    write!(catalogue, "{recordings}").unwrap();
    let mut settings = provider.settings();
    settings.push(("AUDIO_CATALOGUE", catalogue.path().to_str().unwrap()));
    // AWS's credentials are read from the environment of the process.
    let api = match case.protocol {
        Protocol::Bedrock => TestApi::in_a_process(&settings).await.0,
        _ => TestApi::with_settings(&settings).await,
    };
    let question = json!({
        "query": "I cannot sleep", "session_id": Uuid::now_v7(), "message_id": Uuid::now_v7(),
    });
    let answer = if case.is_streamed {
        api.streamed_turn(question.clone()).await
    } else {
        api.chat(question.clone()).await
    };
    assert_eq!(provider.refused(), [""; 0], "{case}");
    assert_eq!(answer.status, 200, "{case}: {}", answer.body);
    let asked = provider.requests().len();
    assert_eq!(api.chat(question).await.body, answer.body, "{case}");
    assert_eq!(provider.requests().len(), asked, "{case}: replayed");
    api.verify().await;
    let stored = stored(&api).await;
    Taken {
        provider,
        api,
        answer,
        stored,
    }
}

async fn stored(api: &TestApi) -> Value {
    let row = "select jsonb_build_object(
            'content', content, 'function_calls', function_calls, 'model', model,
            'finish_reason', finish_reason,
            'tokens', jsonb_build_array(input_tokens, cached_input_tokens, output_tokens),
            'latency_ms', latency_ms, 'first_token_ms', first_token_ms)
        from chat_messages where role = 'assistant'";
    let connection = api.connection().await;
    let row = connection.client().query_typed_one(row, &[]).await;
    row.unwrap().get(0)
}

/// Tokens of a request and its answer.
pub fn tokens(input: i64, cached: i64, output: i64) -> Tokens {
    Tokens {
        input,
        cached,
        output,
    }
}
