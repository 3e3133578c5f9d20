//! Turns with the models of all providers: what is answered and what is stored.

use serde_json::{Value, json};

use support::providers::{Protocol, Reason, Tokens, Turn};

use super::one_turn::{Case, TITLE, TOPIC, Taken, cases, take, tokens};

/// Asserts what is stored of an answer besides its content and calls.
#[track_caller]
fn assert_stored(case: Case, taken: &Taken, tokens: [i64; 3], finish_reason: &str) {
    let (stored, body) = (&taken.stored, &taken.answer.body);
    assert_eq!(stored["content"], body["response"], "{case}");
    assert_eq!(stored["tokens"], json!(tokens), "{case}");
    assert_eq!(stored["finish_reason"], finish_reason, "{case}");
    assert_eq!(body["finish_reason"], finish_reason, "{case}");
    let name = case.protocol.name_in_answers();
    assert_eq!(
        (&stored["model"], &body["model"]),
        (&json!(name), &json!(name)),
        "{case}"
    );
    let latency = stored["latency_ms"].as_i64().expect("a latency");
    let has_first_token = case.is_streamed && stored["content"] != "";
    match stored["first_token_ms"].as_i64() {
        Some(first_token) => assert!(has_first_token && first_token <= latency, "{case}"),
        None => assert!(!has_first_token, "{case}"),
    }
    let usage = json!({ "input_tokens": tokens[0], "output_tokens": tokens[2] });
    assert_eq!(body["usage"], usage, "{case}");
}

#[tokio::test]
async fn a_model_calls_the_function_it_is_offered_and_then_answers() {
    for case in cases(&Protocol::ALL) {
        let first = Turn::calls_what_is_offered(TOPIC, tokens(100, 64, 20));
        let first = first.after_saying("Let me look.");
        let second = Turn::says("Try Deep sleep.", tokens(150, 100, 30), Reason::Stop);

        let taken = take(case, [first, second]).await;

        let body = &taken.answer.body;
        assert_eq!(
            body["response"], "Let me look.\n\nTry Deep sleep.",
            "{case}"
        );
        assert_stored(case, &taken, [250, 164, 50], "stop");

        let requests = taken.provider.requests();
        let offered = &taken.provider.understood(&requests[0]).tools[0];
        let [call] = &body["function_calls"].as_array().unwrap()[..] else {
            panic!("{case}: {body}")
        };
        assert_eq!(call["name"], offered.name.as_str(), "{case}");
        let arguments = offered
            .required
            .iter()
            .map(|name| (name.clone(), json!(TOPIC)));
        assert_eq!(
            call["arguments"],
            Value::Object(arguments.collect()),
            "{case}"
        );
        assert!(call["result"].to_string().contains(TITLE), "{case}: {call}");
        assert_eq!(
            &taken.stored["function_calls"], &body["function_calls"],
            "{case}"
        );

        let [recording] = &body["audio_files"].as_array().unwrap()[..] else {
            panic!("{case}: {body}")
        };
        assert_eq!(recording["title"], TITLE, "{case}");
        assert_eq!(body["audio_provided"], true, "{case}");
        let sent = requests[1].body.to_string();
        assert!(sent.contains(TITLE), "{case}: {sent}");
    }
}

#[tokio::test]
async fn a_turn_without_a_call_has_no_recording() {
    for case in cases(&Protocol::ALL) {
        let turn = Turn::says("Good day to you.", tokens(12, 0, 30), Reason::Stop);

        let taken = take(case, [turn]).await;

        let body = &taken.answer.body;
        assert_eq!(body["response"], "Good day to you.", "{case}");
        for member in ["audio_files", "function_calls"] {
            assert_eq!(body[member], json!([]), "{case}");
        }
        assert_eq!(body["audio_provided"], false, "{case}");
        assert_eq!(taken.stored["tokens"][0], 12, "{case}");
        assert_eq!(taken.provider.requests().len(), 1, "{case}");
    }
}

#[tokio::test]
async fn results_of_several_calls_come_back_with_each_of_them() {
    for case in cases(&Protocol::ALL) {
        let calls = Turn::calls_what_is_offered(TOPIC, tokens(100, 64, 20)).and_again("sport");
        let unknown = Turn::calls("delete_everything", json!({}), tokens(120, 64, 20));
        let said = Turn::says("Try Deep sleep.", tokens(150, 100, 30), Reason::Stop);

        let taken = take(case, [calls, unknown, said]).await;

        let calls = taken.answer.body["function_calls"].as_array().unwrap();
        assert_eq!(calls.len(), 3, "{case}");
        assert_eq!(calls[2]["name"], "delete_everything", "{case}");
        let sent = taken.provider.requests()[1].body.to_string();
        assert!(
            sent.contains(TITLE) && sent.contains("Morning run"),
            "{case}: {sent}"
        );
    }
}

#[tokio::test]
async fn what_a_model_thought_comes_back_to_it_with_the_results_of_its_calls() {
    for case in cases(&[Protocol::Anthropic, Protocol::Bedrock, Protocol::Gemini]) {
        let first = Turn::calls_what_is_offered(TOPIC, tokens(100, 0, 20));
        let first = first.after_thinking("They sleep badly.", "EqQBCkYIBxgCKkA=");
        let second = Turn::says("Try Deep sleep.", tokens(150, 0, 30), Reason::Stop);

        let taken = take(case, [first, second]).await;

        assert_eq!(taken.answer.body["response"], "Try Deep sleep.", "{case}");
        let sent = taken.provider.requests()[1].body.to_string();
        assert!(sent.contains("EqQBCkYIBxgCKkA="), "{case}: {sent}");
    }
}

/// The ways in which a provider reports that a model does not answer.
const REFUSALS: [(Protocol, &str, Reason); 14] = [
    (Protocol::OpenAi, "I cannot help with that.", Reason::Stop),
    (
        Protocol::OpenAi,
        "I cannot help with that.",
        Reason::Own("content_filter"),
    ),
    (Protocol::OpenAi, "", Reason::Own("content_filter")),
    (
        Protocol::OpenAiResponses,
        "I cannot help with that.",
        Reason::Stop,
    ),
    (Protocol::OpenAiResponses, "", Reason::Own("content_filter")),
    (
        Protocol::OpenAiResponses,
        "I would",
        Reason::Own("content_filter"),
    ),
    (Protocol::Anthropic, "", Reason::Own("refusal")),
    (
        Protocol::Anthropic,
        "I cannot help with that.",
        Reason::Own("refusal"),
    ),
    (
        Protocol::Bedrock,
        "This question is not allowed.",
        Reason::Own("guardrail_intervened"),
    ),
    (Protocol::Bedrock, "", Reason::Own("content_filtered")),
    (Protocol::Gemini, "", Reason::Blocked("PROHIBITED_CONTENT")),
    (Protocol::Gemini, "", Reason::Own("SAFETY")),
    (Protocol::Gemini, "", Reason::Own("BLOCKLIST")),
    (Protocol::Gemini, "I would", Reason::Own("RECITATION")),
];

#[tokio::test]
async fn a_refusal_is_an_answer_with_its_words_and_its_reason() {
    for (protocol, words, reason) in REFUSALS {
        for case in cases(&[protocol]) {
            let turn = Turn::refuses(words, tokens(12, 0, 7), reason);

            let taken = take(case, [turn]).await;

            let body = &taken.answer.body;
            let seen = format!("{case}, {reason:?}: {body}");
            assert_eq!(body["response"], words, "{seen}");
            assert_eq!(body["finish_reason"], "content_filter", "{seen}");
            assert_eq!(taken.stored["finish_reason"], "content_filter", "{seen}");
            assert_eq!(taken.stored["content"], words, "{seen}");
            assert_eq!(taken.stored["tokens"][0], 12, "{seen}");
            assert_eq!(body["model"], protocol.name_in_answers(), "{seen}");
        }
    }
}

#[tokio::test]
async fn an_empty_answer_is_stored_as_it_is() {
    let counted: Tokens = tokens(12, 4, 1);
    for case in cases(&Protocol::ALL) {
        for (reason, word) in [(Reason::Stop, "stop"), (Reason::Length, "length")] {
            let taken = take(case, [Turn::says("", counted, reason)]).await;

            assert_eq!(taken.answer.body["response"], "", "{case}");
            assert_stored(case, &taken, [12, 4, 1], word);
            let session_id = taken.answer.id("session_id");
            let history = taken.api.history(session_id, "").await;
            assert_eq!(history.body["history"][1]["content"], "", "{case}");
        }
    }
}

#[tokio::test]
async fn after_an_empty_answer_the_conversation_goes_on() {
    for case in cases(&Protocol::ALL) {
        let turns = [
            Turn::says("", tokens(12, 0, 0), Reason::Stop),
            Turn::says("Good day.", tokens(20, 0, 3), Reason::Stop),
        ];
        let taken = take(case, turns).await;
        let question = json!({
            "query": "Hello?", "session_id": taken.answer.id("session_id"),
        });

        let next = taken.api.chat(question).await;

        assert_eq!(taken.provider.refused(), [""; 0], "{case}");
        assert_eq!(next.body["response"], "Good day.", "{case}: {}", next.body);
    }
}
