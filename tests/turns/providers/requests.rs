//! The providers of the tests refuse what the real ones would refuse.

use serde_json::{Value, json};

use support::providers::{Protocol, ProviderServer, Reason, Received, Turn};

use super::one_turn::{Case, take, tokens};

/// What is done to a request that was in order.
type Change = fn(&mut Received);

/// The messages of a request, without its system prompt.
fn messages(request: &mut Received) -> &mut Vec<Value> {
    let names = ["messages", "contents", "input"];
    let name = names.iter().find(|name| request.body.get(**name).is_some());
    request.body[*name.unwrap()].as_array_mut().unwrap()
}

/// Changes that no provider takes, each to the request with the result of a call.
const CHANGES: [(&str, Change); 5] = [
    ("the call has no result", |request| {
        messages(request).pop();
    }),
    ("the result has no call", |request| {
        let messages = messages(request);
        messages.remove(messages.len() - 2);
    }),
    ("the answer comes first", |request| {
        let messages = messages(request);
        let start = messages.len() - 3;
        messages.remove(start);
    }),
    ("the call is another one", |request| {
        let text = request.body.to_string();
        let changed = text.replace(TOPIC_GIVEN, "ANOTHER");
        assert_ne!(text, changed);
        request.body = serde_json::from_str(&changed).unwrap();
    }),
    ("no function is offered", |request| {
        let body = request.body.as_object_mut().unwrap();
        body.remove("tools").or(body.remove("toolConfig")).unwrap();
    }),
];

/// What the model asks for here. It occurs nowhere else.
const TOPIC_GIVEN: &str = "TOPIC-of-the-call";

async fn send(provider: &ProviderServer, request: &Received) -> (u16, Value) {
    // The host and the length are others.
    let mut headers = request.headers.clone();
    headers.remove("host");
    headers.remove("content-length");
    let answer = reqwest::Client::new()
        .post(provider.url(&request.path))
        .headers(headers)
        .body(request.body.to_string())
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

/// The provider's message in an error in its own form.
fn message(protocol: Protocol, error: &Value) -> &Value {
    match protocol {
        Protocol::OpenAi | Protocol::OpenAiResponses => {
            assert_eq!(error["error"]["type"], "invalid_request_error");
            &error["error"]["message"]
        }
        Protocol::Anthropic => {
            assert_eq!(error["type"], "error");
            &error["error"]["message"]
        }
        Protocol::Bedrock => &error["message"],
        Protocol::Gemini => {
            assert_eq!(error["error"]["status"], "INVALID_ARGUMENT");
            &error["error"]["message"]
        }
        Protocol::Ollama => &error["error"],
    }
}

#[tokio::test]
async fn requests_that_are_not_in_order_are_refused_in_the_providers_form() {
    for protocol in Protocol::ALL {
        let case = Case {
            protocol,
            is_streamed: false,
        };
        let said = || Turn::says("Try Deep sleep.", tokens(12, 0, 3), Reason::Stop);
        let calls = || Turn::calls_what_is_offered(TOPIC_GIVEN, tokens(12, 0, 3));
        let taken = take(case, [calls(), said()]).await;
        let [first, second] = &taken.provider.requests()[..] else {
            panic!("{case}: two requests")
        };

        // A provider with the same past, which takes the same request.
        let provider = ProviderServer::start(protocol, [calls(), said()]).await;
        assert_eq!(send(&provider, first).await.0, 200, "{case}");
        for (what, change) in CHANGES {
            let mut changed = second.clone();
            change(&mut changed);
            let (status, error) = send(&provider, &changed).await;
            assert_eq!(status, 400, "{case}: {what}");
            let message = message(protocol, &error);
            assert!(message.is_string(), "{case}: {what}: {error}");
        }
        if protocol != Protocol::Ollama {
            let mut changed = second.clone();
            for header in ["authorization", "x-api-key", "x-goog-api-key"] {
                changed.headers.remove(header);
            }
            let (status, _) = send(&provider, &changed).await;
            assert!([400, 401, 403].contains(&status), "{case}: {status}");
        }
        assert_eq!(send(&provider, second).await.0, 200, "{case}: unchanged");
    }
}

#[tokio::test]
async fn the_system_prompt_and_the_function_reach_every_provider() {
    for protocol in Protocol::ALL {
        let case = Case {
            protocol,
            is_streamed: true,
        };
        let said = Turn::says("Good day.", tokens(12, 0, 3), Reason::Stop);
        let taken = take(case, [said]).await;
        let requests = taken.provider.requests();
        let asked = taken.provider.understood(&requests[0]);
        let system = asked.system.expect("a system prompt");
        assert!(system.contains("DAISSY"), "{case}: {system}");
        assert!(!asked.tools.is_empty() && asked.is_streamed, "{case}");
        let question = json!(requests[0].body).to_string();
        assert!(question.contains("I cannot sleep"), "{case}");
    }
}
