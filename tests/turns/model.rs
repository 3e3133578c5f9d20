//! Models over real HTTP: the requests they get, the answers that are stored, and their failures.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use assistant::AssistantConfig;
use serde_json::{Value, json};
use uuid::Uuid;

use support::api::Answer;
use support::local_run::{LocalRun, run};
use support::model_server::{ModelServer, Reply};
use support::tool_server::ToolServer;
use support::{TestApi, postgres};

fn text(text: &str) -> Reply {
    Reply::Text(text.into())
}

#[tokio::test]
async fn a_model_answers_and_its_tokens_are_summed() {
    let model = ModelServer::start([text("Good day"), text("Still here")]).await;
    let api = TestApi::with_settings(&model.settings()).await;

    let first = api.chat(json!({ "query": "Hello" })).await;
    let session_id = first.id("session_id");
    api.chat(json!({ "query": "Again", "session_id": session_id }))
        .await;

    assert_eq!(first.body["response"], "Good day");
    assert_eq!(
        first.body["model"], "test-model-2026",
        "the name that the provider returns"
    );
    assert_eq!(
        first.body["usage"],
        json!({ "input_tokens": 12, "output_tokens": 30 })
    );
    let stats = api.status(session_id).await.body["session_stats"].clone();
    assert_eq!(
        (&stats["input_tokens"], &stats["output_tokens"]),
        (&json!(24), &json!(60))
    );
}

#[tokio::test]
async fn what_the_provider_says_of_its_answer_is_kept_and_what_it_does_not_say_is_null() {
    let said = |stop: &str, usage: &str| {
        let choice = format!(
            r#"{{"index": 0, "message": {{"role": "assistant", "content": "Yes"}}, "finish_reason": {stop}}}"#
        );
        let body = format!(r#"{{"model": "test-model", "choices": [{choice}]{usage}}}"#);
        Reply::Raw(200, "application/json", body)
    };
    let cached = r#", "usage": {"prompt_tokens": 12, "completion_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 8}}"#;
    let cases = [
        (said("\"stop\"", cached), json!("stop"), json!([12, 8, 30])),
        (
            said("\"length\"", ""),
            json!("length"),
            json!([null, null, null]),
        ),
        (
            said("\"content_filter\"", ""),
            json!("content_filter"),
            json!([null, null, null]),
        ),
        (said("\"odd\"", ""), json!(null), json!([null, null, null])),
        (said("null", ""), json!(null), json!([null, null, null])),
    ];
    for (reply, finish_reason, counts) in cases {
        let model = ModelServer::start([reply]).await;
        let api = TestApi::with_settings(&model.settings()).await;
        let message_id = Uuid::now_v7();
        let body = json!({ "query": "Hi", "message_id": message_id });

        let answer = api.chat(body.clone()).await.body;

        assert_eq!(answer["finish_reason"], finish_reason);
        assert_eq!(
            answer["usage"],
            json!({ "input_tokens": counts[0], "output_tokens": counts[2] })
        );
        assert_eq!(api.chat(body).await.body, answer, "repeated");
        let stored = "select jsonb_build_array(finish_reason, input_tokens, cached_input_tokens,
            output_tokens, latency_ms >= 0, first_token_ms)
            from chat_messages where role = 'assistant'";
        let connection = api.connection().await;
        let row = connection.client().query_typed_one(stored, &[]).await;
        assert_eq!(
            row.unwrap().get::<_, Value>(0),
            json!([finish_reason, counts[0], counts[1], counts[2], true, null])
        );
        let stats = api.status(answer["session_id"].as_str().unwrap()).await;
        let summed = counts[0].as_i64().unwrap_or(0);
        assert_eq!(stats.body["session_stats"]["input_tokens"], summed);
        api.verify().await;
    }
}

#[tokio::test]
async fn a_model_is_shown_the_system_prompt_the_context_and_the_question() {
    let model = ModelServer::start([text("a")]).await;
    let mut settings = model.settings().to_vec();
    settings.extend([("SYSTEM_PROMPT", "Be brief."), ("CONTEXT_MESSAGES", "3")]);
    settings.push(("OPENAI_API_KEY", "sk-test"));
    let api = TestApi::with_settings(&settings).await;

    api.session(&["one", "two", "three"]).await;

    let shown: Vec<Value> = model
        .requests()
        .iter()
        .map(|request| {
            assert_eq!(request["model"], "test-model");
            assert!(
                request.get("tools").is_none_or(Value::is_null),
                "without a catalogue there is no function"
            );
            let messages = request["messages"].as_array().unwrap().iter();
            messages
                .map(|message| json!([message["role"], message["content"]]))
                .collect()
        })
        .collect();
    let (system, assistant) = (json!(["system", "Be brief."]), json!(["assistant", "a"]));
    assert_eq!(shown[0], json!([system, ["user", "one"]]));
    assert_eq!(
        shown[1],
        json!([system, ["user", "one"], assistant, ["user", "two"]])
    );
    assert_eq!(
        shown[2],
        json!([system, ["user", "two"], assistant, ["user", "three"]]),
        "three messages, without the answer whose question is cut off"
    );
    assert_eq!(model.authorization().unwrap(), "Bearer sk-test");
}

/// The messages of the user and the assistant in a request to the model.
fn shown(request: &Value) -> Vec<String> {
    let messages = request["messages"].as_array().unwrap().iter();
    messages
        .filter(|message| message["role"] != "system")
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect()
}

/// Answers of providers when question and context are too long.
const TOO_LONG: [(u16, &str); 7] = [
    (
        400,
        r#"{"error": {"code": "context_length_exceeded", "message": "canary"}}"#,
    ),
    (
        400,
        r#"{"error": {"code": 400, "message": "This model's maximum context length is 4096 tokens"}}"#,
    ),
    (
        400,
        r#"{"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}}"#,
    ),
    (
        413,
        r#"{"error": {"type": "request_too_large", "message": "Request exceeds"}}"#,
    ),
    (
        400,
        r#"{"code": "Client specified an invalid argument", "error": "This model's maximum prompt length is 131072 but the request contains 200000 tokens."}"#,
    ),
    (
        422,
        r#"{"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096", "error_type": "validation"}"#,
    ),
    (
        400,
        r#"{"error": {"status": "INVALID_ARGUMENT", "message": "The input token count (1500000) exceeds the maximum number of tokens allowed"}}"#,
    ),
];

#[tokio::test]
async fn a_question_that_is_too_long_for_the_model_is_told_apart_from_one_to_retry() {
    for (status, body) in TOO_LONG {
        let refused = Reply::Raw(status, "application/json", body.into());
        let model = ModelServer::start([refused, text("Fine")]).await;
        let api = TestApi::with_settings(&model.settings()).await;

        let failed = api.chat(json!({ "query": "Too long" })).await;

        failed.assert_problem(422, "model_context_exceeded");
        assert_eq!(model.requests().len(), 1, "{body}");
        let session_id = failed.id("session_id");
        let next = json!({ "query": "Shorter", "session_id": session_id });
        assert_eq!(api.chat(next).await.status, 200, "the session continues");
        api.verify().await;
    }
    for (status, body) in [
        (400, r#"{"error": {"code": "invalid_model"}}"#),
        (500, TOO_LONG[0].1),
    ] {
        let refused = Reply::Raw(status, "application/json", body.into());
        let model = ModelServer::start([refused]).await;
        let api = TestApi::with_settings(&model.settings()).await;
        let failed = api.chat(json!({ "query": "Hi" })).await;
        failed.assert_problem(502, "model_error");
    }
}

#[tokio::test]
async fn a_context_that_is_too_long_for_the_model_is_shortened() {
    let (status, body) = TOO_LONG[0];
    let refused = || Reply::Raw(status, "application/json", body.into());
    let model = ModelServer::start([text("a"), text("b"), refused(), refused(), text("c")]).await;
    let api = TestApi::with_settings(&model.settings()).await;

    api.session(&["one", "two", "three"]).await;

    let requests = model.requests();
    let asked: Vec<_> = requests[2..].iter().map(shown).collect();
    assert_eq!(asked[0], ["one", "a", "two", "b", "three"]);
    assert_eq!(asked[1], ["two", "b", "three"]);
    assert_eq!(
        asked[2],
        ["three"],
        "an answer without its question is left out"
    );
}

#[tokio::test]
async fn the_pieces_of_an_answer_are_its_stored_text_and_nothing_of_a_failed_attempt() {
    let (status, body) = TOO_LONG[0];
    let refused = Reply::Raw(status, "application/json", body.into());
    let model = ModelServer::start([text("first"), refused, text("a\0b\n c")]).await;
    let remote = model.settings().to_vec();
    for settings in [Vec::new(), remote] {
        let api = TestApi::with_settings(&settings).await;
        let session_id = api.session(&["Hello"]).await;
        let question = json!({
            "query": "And then?", "session_id": session_id, "message_id": Uuid::now_v7(),
        });
        let texts = async || {
            let events = api.stream(question.clone()).await.all().await;
            let texts = events.iter().filter(|event| event.id.is_some());
            let texts = texts.map(|event| event.data["text"].as_str().unwrap().to_owned());
            texts.collect::<Vec<_>>()
        };

        let first = texts().await;
        let repeated = texts().await;

        let history = api.history(session_id, "").await;
        let stored = history.body["history"][3]["content"].as_str().unwrap();
        assert_eq!(first.concat(), stored);
        assert!(first.len() > 1, "{first:?}");
        assert_eq!(repeated, [stored]);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_key_and_conversation() {
    let elsewhere = ModelServer::start([text("Mine now")]).await;
    for (model_name, path) in [
        ("test-model", "chat/completions"),
        ("anthropic::claude", "messages"),
    ] {
        let location = format!("{}/{path}", elsewhere.base_url);
        let model = ModelServer::start([Reply::Redirect(location)]).await;
        let settings = [
            ("MODEL", model_name),
            ("MODEL_BASE_URL", model.base_url.as_str()),
            ("OPENAI_API_KEY", "sk-test"),
            ("ANTHROPIC_API_KEY", "sk-test"),
        ];
        let api = TestApi::with_settings(&settings).await;

        let failed = api.chat(json!({ "query": "A secret" })).await;

        failed.assert_problem(502, "model_error");
        assert_eq!(model.requests().len(), 1, "{model_name}");
    }
    assert!(
        elsewhere.requests().is_empty(),
        "{:?}",
        elsewhere.requests()
    );
}

#[tokio::test]
async fn a_stored_answer_has_a_size_limit() {
    let long = "\"".repeat(3_500_000);
    let calls = (0..2000).map(|number| {
        json!({
            "id": format!("call_{number}"), "type": "function",
            "function": { "name": "nothing", "arguments": json!({ "pad": "x".repeat(500) }).to_string() },
        })
    });
    let model = ModelServer::start([
        Reply::Message(json!({
            "role": "assistant", "content": null, "tool_calls": calls.collect::<Vec<_>>(),
        })),
        text(&long),
        text("short"),
    ])
    .await;
    let api = TestApi::with_settings(&model.settings()).await;

    let answer = api.chat(json!({ "query": "Hi" })).await;

    assert_eq!(answer.status, 200, "{}", answer.body["code"]);
    let response = answer.body["response"].as_str().unwrap();
    assert!(
        response.len() <= 256 * 1024 && response.ends_with('…'),
        "{}",
        response.len()
    );
    let calls = answer.body["function_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 32, "as many as are run for one answer");
    let session_id = answer.id("session_id");
    for answer in [
        api.history(session_id, "").await,
        api.load(session_id).await,
    ] {
        assert_eq!(answer.body["history"].as_array().unwrap().len(), 2);
        assert_eq!(answer.body["history"][1]["content"], response);
    }
}

#[tokio::test]
async fn questions_that_were_never_answered_are_joined_with_the_next() {
    let failure = Reply::Raw(401, "application/json", "{}".into());
    let model = ModelServer::start([failure, text("both")]).await;
    let api = TestApi::with_settings(&model.settings()).await;
    let failed = api.chat(json!({ "query": "one" })).await;
    api.chat(json!({ "query": "two", "session_id": failed.id("session_id") }))
        .await;

    let requests = model.requests();
    let messages = requests[1]["messages"].as_array().unwrap();
    assert_eq!(
        messages.len(),
        2,
        "the system prompt and one message: {messages:?}"
    );
    assert_eq!(messages[1]["role"], "user");
    assert_eq!(messages[1]["content"], "one\n\ntwo");
}

#[tokio::test]
async fn a_model_that_fails_is_a_bad_gateway_that_reveals_no_details() {
    let long_answer = json!({ "error": { "message": "secret words", "code": "model_not_found" } });
    let unexplained = json!({
        "model": "m", "choices": [{ "message": { "role": "assistant", "content": "" } }],
    });
    let cases = [
        (
            Reply::Raw(401, "application/json", long_answer.to_string()),
            "refuses the key",
        ),
        (
            Reply::Raw(429, "application/json", "{}".into()),
            "too many requests",
        ),
        (
            Reply::Raw(500, "text/html", "<h1>secret words</h1>".into()),
            "an error page",
        ),
        (
            Reply::Raw(200, "text/html", "<h1>secret words</h1>".into()),
            "a page that is no answer",
        ),
        (
            Reply::Raw(200, "application/json", "{\"choices\": [".into()),
            "truncated",
        ),
        (
            Reply::Raw(200, "application/json", "{}".into()),
            "no answer in it",
        ),
        (
            Reply::Raw(200, "application/json", unexplained.to_string()),
            "an empty answer without a reason",
        ),
        (
            Reply::Call("recommend_audio", json!({})),
            "calls functions forever",
        ),
    ];
    for (reply, reason) in cases {
        let model = ModelServer::start([reply]).await;
        let api = TestApi::with_settings(&model.settings()).await;
        let answer = api.chat(json!({ "query": "Hi" })).await;
        let detail = answer.assert_problem(502, "model_error");
        assert!(!detail.contains("secret"), "{reason}: {detail}");
        let history = api.history(answer.id("session_id"), "").await;
        assert_eq!(history.said(), [("user".into(), "Hi".into())], "{reason}");
        assert_eq!(
            history.body["history"][0]["message_id"],
            answer.body["message_id"]
        );
    }
}

#[tokio::test]
async fn a_model_that_cannot_be_reached_is_a_bad_gateway() {
    let settings = [("MODEL", "x"), ("MODEL_BASE_URL", "http://127.0.0.1:1/v1")];
    let api = TestApi::with_settings(&settings).await;
    api.chat(json!({ "query": "Hi" }))
        .await
        .assert_problem(502, "model_error");
}

#[tokio::test]
async fn a_model_that_takes_too_long_is_a_gateway_timeout() {
    let model = ModelServer::start([
        Reply::Late(Duration::from_secs(30), "too late".into()),
        text("in time"),
    ])
    .await;
    let mut settings = model.settings().to_vec();
    settings.push(("MODEL_TIMEOUT_SECONDS", "1"));
    let api = TestApi::with_settings(&settings).await;
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let body = json!({ "query": "Hi", "session_id": session_id, "message_id": message_id });
    let started = Instant::now();

    let answer = api.chat(body.clone()).await;

    let detail = answer.assert_problem(504, "model_timeout");
    assert!(detail.contains("1 s"), "{detail}");
    assert_eq!(
        (answer.id("session_id"), answer.id("message_id")),
        (session_id, message_id)
    );
    assert!(started.elapsed() < Duration::from_secs(10));
    let repeated = api.chat(body).await;
    assert_eq!(
        (repeated.status, &repeated.body["response"]),
        (200, &json!("in time"))
    );
}

#[tokio::test]
async fn characters_that_postgres_cannot_store_are_replaced_in_an_answer() {
    let model = ModelServer::start([
        Reply::Call("a\0b", json!({ "k\0": "v\0" })),
        text("zero\0width"),
    ])
    .await;
    let api = TestApi::with_settings(&model.settings()).await;

    let answer = api.chat(json!({ "query": "Hi" })).await;

    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["response"], "zero\u{fffd}width");
    let history = api.history(answer.id("session_id"), "").await;
    assert_eq!(history.body["history"][1]["content"], "zero\u{fffd}width");
    assert_eq!(
        history.body["history"][1]["function_calls"][0]["name"],
        "a\u{fffd}b"
    );
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named_and_nothing_takes_their_place() {
    let cases: [(&[(&str, &str)], &str); 15] = [
        (&[("MODEL", "mistral-large")], "no provider is known"),
        (&[("MODEL", "olama::llama3")], "no provider is known"),
        (&[("MODEL", "gpt-4o")], "OPENAI_API_KEY"),
        (&[("MODEL", "claude-sonnet-4-5")], "ANTHROPIC_API_KEY"),
        (
            &[("MODEL_BASE_URL", "http://localhost:1/v1")],
            "MODEL is not",
        ),
        (&[("MODEL_TIMEOUT_SECONDS", "0")], "MODEL_TIMEOUT_SECONDS"),
        (
            &[("MODEL_TIMEOUT_SECONDS", "soon")],
            "MODEL_TIMEOUT_SECONDS",
        ),
        (&[("CONTEXT_MESSAGES", "-1")], "CONTEXT_MESSAGES"),
        (&[("AUDIO_MIN_RELEVANCE", "1.5")], "AUDIO_MIN_RELEVANCE"),
        (&[("AUDIO_MAX_RECOMMENDED", "-1")], "AUDIO_MAX_RECOMMENDED"),
        (&[("TOOLS_FILE", "/nowhere.json")], "TOOLS_FILE"),
        (&[("MODEL_FALLBACKS", "gpt-4o")], "MODEL_FALLBACKS"),
        (
            &[("MODEL", "ollama::a"), ("MODEL_FALLBACKS", "built-in")],
            "MODEL_FALLBACKS",
        ),
        (&[("AUDIO_CATALOGUE", "/nowhere.json")], "AUDIO_CATALOGUE"),
        (
            &[("MODEL", "gpt-4o"), ("OPENAI_API_KEY", "  ")],
            "OPENAI_API_KEY",
        ),
    ];
    for (settings, expected) in cases {
        let settings: HashMap<_, _> = settings.iter().copied().collect();
        let read =
            AssistantConfig::read(|name| settings.get(name).map(|value| value.to_string())).await;
        let error = read.expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn the_provider_follows_from_the_name_of_the_model() {
    let cases = [
        (
            &[("MODEL", "gpt-4o"), ("OPENAI_API_KEY", "k")][..],
            "OpenAI",
        ),
        (
            &[("MODEL", "claude-sonnet-4-5"), ("ANTHROPIC_API_KEY", "k")],
            "Anthropic",
        ),
        (&[("MODEL", "ollama::llama3")], "Ollama"),
        (
            &[
                ("MODEL", "any"),
                ("MODEL_BASE_URL", "http://localhost:1/v1"),
            ],
            "http://localhost:1/v1/",
        ),
        (
            &[
                ("MODEL", "any"),
                (
                    "MODEL_BASE_URL",
                    "http://u:hunter2@localhost:1/v1?key=hunter2",
                ),
            ],
            "http://localhost:1/v1",
        ),
        (&[("MODEL", "built-in")], "built-in"),
        (&[], "built-in"),
    ];
    for (settings, expected) in cases {
        let settings: HashMap<_, _> = settings.iter().copied().collect();
        let config =
            AssistantConfig::read(|name| settings.get(name).map(|value| value.to_string()))
                .await
                .unwrap();
        let description = config.agent.models().description();
        assert!(description.contains(expected), "{description}");
        assert!(!description.contains("hunter2"), "{description}");
    }
}

#[tokio::test]
async fn other_providers_are_asked_in_their_own_protocol() {
    let cases = [
        ("anthropic::claude-sonnet-4-5", ("ANTHROPIC_API_KEY", "key")),
        ("ollama::llama3.2", ("UNUSED", "")),
    ];
    for (model, key) in cases {
        let server = ModelServer::start([text("Good day")]).await;
        let settings = [("MODEL", model), ("MODEL_BASE_URL", &server.base_url), key];
        let api = TestApi::with_settings(&settings).await;
        let answer = api.chat(json!({ "query": "Hello" })).await;
        assert_eq!(
            answer.body["response"], "Good day",
            "{model}: {}",
            answer.body
        );
        let usage = json!({ "input_tokens": 12, "output_tokens": 30 });
        assert_eq!(answer.body["usage"], usage, "{model}");
    }
}

#[tokio::test]
async fn bedrock_is_asked_with_a_signature_of_the_environments_credentials() {
    let server = ModelServer::start([text("Good day")]).await;
    let folder = tempfile::tempdir().unwrap();
    let database = postgres::migrated_database().await;
    let url = postgres::server().url(&database);
    // Credentials are read from the process's environment, so this needs its own process.
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("MODEL", "bedrock::anthropic.claude"),
        ("MODEL_BASE_URL", &server.base_url),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let local = LocalRun::start(folder.path(), &settings).await;
    let request = reqwest::Client::new()
        .post(format!("{}/chat", local.address))
        .json(&json!({ "query": "Hello" }));
    let answer: Value = Answer::over_http(request).await.unwrap().body;

    assert_eq!(answer["response"], "Good day", "{answer}");
    let authorization = server.authorization().unwrap();
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
        "{authorization}"
    );
    assert!(
        authorization.contains("/eu-central-1/bedrock/"),
        "{authorization}"
    );
    local.stop().await;

    let without_region: Vec<_> = settings
        .into_iter()
        .filter(|(name, _)| *name != "AWS_REGION")
        .collect();
    let ended = run(&[], folder.path(), &without_region).await;
    assert!(
        !ended.success && ended.complained.contains("AWS_REGION"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn bedrock_gets_the_results_of_its_calls_with_its_reasoning() {
    let reasoning = json!({ "reasoningContent": {
        "reasoningText": { "text": "They sleep badly.", "signature": "signed" },
    } });
    let call = json!({ "toolUse": {
        "toolUseId": "call-1", "name": "shop", "input": { "day": "Monday" },
    } });
    let answer = |content: Value| {
        let body = json!({
            "output": { "message": { "role": "assistant", "content": content } },
            "stopReason": "end_turn",
            "usage": { "inputTokens": 12, "outputTokens": 30, "totalTokens": 42 },
        });
        Reply::Raw(200, "application/json", body.to_string())
    };
    let server = ModelServer::start([
        answer(json!([reasoning, { "text": "Let me look." }, call])),
        answer(json!([{ "text": "Good " }, { "text": "night" }])),
        Reply::Raw(
            400,
            "application/json",
            r#"{"message":"Input is too long"}"#.into(),
        ),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let database = postgres::migrated_database().await;
    let url = postgres::server().url(&database);
    let tools = ToolServer::start().await;
    let declared = tools.declare("shop", "json", &json!({}));
    let profile = "arn:aws:bedrock:eu-central-1:1:inference-profile/eu.claude-v1:0";
    let model = format!("bedrock::{profile}");
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("MODEL", &model),
        ("MODEL_BASE_URL", &server.base_url),
        ("TOOLS_FILE", declared.path().to_str().unwrap()),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let local = LocalRun::start(folder.path(), &settings).await;
    let ask = || {
        let request = reqwest::Client::new()
            .post(format!("{}/chat", local.address))
            .json(&json!({ "query": "Hello" }));
        Answer::over_http(request)
    };
    let answered = ask().await.unwrap();
    let said = "Let me look.\n\nGood night";
    assert_eq!(answered.body["response"], said, "{}", answered.body);
    assert_eq!(answered.body["model"], profile);
    let usage = json!({ "input_tokens": 24, "output_tokens": 60 });
    assert_eq!(answered.body["usage"], usage);

    let requests = server.requests();
    let tool = &requests[0]["toolConfig"]["tools"][0]["toolSpec"];
    assert_eq!(tool["name"], "shop");
    assert_eq!(tool["inputSchema"]["json"]["type"], "object", "{tool}");
    assert!(requests[0]["system"][0]["text"].is_string());
    let messages = requests[1]["messages"].as_array().unwrap();
    let roles: Vec<&Value> = messages.iter().map(|message| &message["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert_eq!(
        messages[1]["content"],
        json!([reasoning, { "text": "Let me look." }, call])
    );
    let result = &messages[2]["content"][0]["toolResult"];
    assert_eq!(result["toolUseId"], "call-1");
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("9 to 5"), "{text}");

    let refused = ask().await.unwrap();
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (422, &json!("model_context_exceeded"))
    );
    local.stop().await;
}

/// A stand-in for Secrets Manager with one secret; returns its address.
async fn secrets_manager(text: &'static str) -> String {
    let answer = json!({ "Name": "model-key", "VersionId": "1", "SecretString": text }).to_string();
    let router = axum::Router::new().fallback(move || async move {
        ([("content-type", "application/x-amz-json-1.1")], answer)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn the_key_of_a_secret_is_used_where_the_provider_has_no_variable() {
    let database = postgres::migrated_database().await;
    let url = postgres::server().url(&database);
    let folder = tempfile::tempdir().unwrap();
    let cases = [(None, "Bearer from-secret"), (Some("own"), "Bearer own")];
    for (own_key, expected) in cases {
        let server = ModelServer::start([text("Good day")]).await;
        let secrets = secrets_manager(" from-secret\n").await;
        let mut settings = with_secret(&url, &secrets);
        settings.push(("MODEL_BASE_URL", &server.base_url));
        settings.extend(own_key.map(|key| ("OPENAI_API_KEY", key)));
        // AWS's configuration is read from the process's environment, so this needs its own process.
        let local = LocalRun::start(folder.path(), &settings).await;
        let request = reqwest::Client::new()
            .post(format!("{}/chat", local.address))
            .json(&json!({ "query": "Hello" }));
        let answer: Value = Answer::over_http(request).await.unwrap().body;
        assert_eq!(answer["response"], "Good day", "{answer}");
        assert_eq!(server.authorization().as_deref(), Some(expected));
        local.stop().await;
    }
}

#[tokio::test]
async fn a_secret_holds_one_key_for_the_first_model_or_several_by_name() {
    let database = postgres::migrated_database().await;
    let url = postgres::server().url(&database);
    let folder = tempfile::tempdir().unwrap();
    let keys = r#"{ "OPENAI_API_KEY": "for-openai", "GROQ_API_KEY": "for-groq" }"#;
    for (secret, first_key, second_key) in [
        (keys, "Bearer for-openai", "Bearer for-groq"),
        ("for-the-first", "Bearer for-the-first", "Bearer none"),
    ] {
        let first = ModelServer::start([Reply::Raw(401, "text/plain", String::new())]).await;
        let second = ModelServer::start([text("Good day")]).await;
        let secrets = secrets_manager(secret).await;
        let fallbacks = format!("groq::llama={}", second.base_url);
        let mut settings = with_secret(&url, &secrets);
        settings.push(("MODEL_BASE_URL", &first.base_url));
        settings.push(("MODEL_FALLBACKS", &fallbacks));
        let local = LocalRun::start(folder.path(), &settings).await;
        let request = reqwest::Client::new()
            .post(format!("{}/chat", local.address))
            .json(&json!({ "query": "Hello" }));
        let answer: Value = Answer::over_http(request).await.unwrap().body;
        assert_eq!(answer["response"], "Good day", "{answer}");
        assert_eq!(first.authorization().as_deref(), Some(first_key));
        assert_eq!(second.authorization().as_deref(), Some(second_key));
        local.stop().await;
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_fetched_is_an_error_at_startup() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("http://127.0.0.1:1".to_owned(), "cannot be asked"),
        (secrets_manager("{\"key\": \"canary\"}").await, "JSON"),
        (secrets_manager("  ").await, "empty"),
    ];
    for (secrets, expected) in cases {
        let settings = with_secret("postgresql://u:p@127.0.0.1:1/d", &secrets);
        let ended = run(&[], folder.path(), &settings).await;
        assert!(!ended.success, "{expected}");
        let said = &ended.complained;
        assert!(
            said.contains("MODEL_KEY_SECRET_ARN") && said.contains(expected),
            "{said}"
        );
        assert!(!said.contains("canary"), "{said}");
    }
}

/// Settings that take the model's key from a secret, in the Secrets Manager at this address.
fn with_secret<'a>(url: &'a str, secrets: &'a str) -> Vec<(&'a str, &'a str)> {
    let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:model-key";
    vec![
        ("DATABASE_URL", url),
        ("MODEL", "gpt-4o"),
        ("MODEL_KEY_SECRET_ARN", arn),
        ("AWS_ENDPOINT_URL", secrets),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]
}
