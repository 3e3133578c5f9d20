//! The functions that a model calls, and what becomes of their results.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::TestApi;
use support::model_server::{ModelServer, Reply};
use support::tool_server::ToolServer;

/// The answer to a question at which the model calls the function `shop` once, the call as it is stored, and
/// what the model got.
async fn called(tools: &ToolServer, path: &str, more: &Value) -> (Value, String) {
    let file = tools.declare("shop", path, more);
    let call = Reply::Call("shop", json!({ "day": "Monday" }));
    let model = ModelServer::start([call, Reply::Text("Done".into())]).await;
    let mut settings = model.settings().to_vec();
    settings.push(("TOOLS_FILE", file.path().to_str().unwrap()));
    settings.push(("SHOP_KEY", "sesame"));
    let api = TestApi::with_settings(&settings).await;

    let answer = api.chat(json!({ "query": "When is it open?" })).await;

    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["response"], "Done");
    let history = api.history(answer.id("session_id"), "").await;
    let stored = history.body["history"][1]["function_calls"].clone();
    assert_eq!(stored, answer.body["function_calls"]);
    let requests = model.requests();
    let offered = &requests[0]["tools"][0]["function"];
    assert_eq!(offered["name"], "shop");
    assert_eq!(offered["parameters"]["required"], json!(["day"]));
    assert_eq!(requests[0]["tools"].as_array().unwrap().len(), 1);
    let got = requests[1]["messages"].as_array().unwrap().last().unwrap();
    (
        stored[0].clone(),
        got["content"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn a_function_of_the_installation_gets_the_arguments_and_its_result_goes_to_the_model() {
    let tools = ToolServer::start().await;
    let secret = json!({ "secret_header": { "name": "x-key", "variable": "SHOP_KEY" } });

    let (call, got) = called(&tools, "json", &secret).await;

    let arguments = json!({ "day": "Monday" });
    assert_eq!(
        tools.requests(),
        [(Some("sesame".to_owned()), arguments.clone())]
    );
    assert_eq!(
        (&call["name"], &call["arguments"]),
        (&json!("shop"), &arguments)
    );
    assert_eq!(call["result"], json!({ "open": "9 to 5" }));
    assert_eq!(call["error"], Value::Null);
    assert!(call["duration_ms"].as_u64().unwrap() < 5000, "{call}");
    let got: Value = serde_json::from_str(&got).unwrap();
    assert_eq!(got["result"], call["result"]);
    assert!(
        got["note"].as_str().unwrap().contains("data"),
        "marked as such"
    );
}

#[tokio::test]
async fn whatever_a_function_does_the_model_answers() {
    let tools = ToolServer::start().await;
    for (path, result, error) in [
        ("text", Some("Open all day"), None),
        ("large", Some("xxx"), None),
        ("refused", None, Some("400 Bad Request: `day` is missing")),
        ("failing", None, Some("the function answered 500")),
        ("late", None, Some("longer than 1 s")),
        ("redirect", None, Some("the function answered 307")),
        ("nowhere", None, Some("the function answered 404")),
    ] {
        let started = Instant::now();
        let (call, got) = called(&tools, path, &json!({ "timeout_seconds": 1 })).await;
        assert!(started.elapsed() < Duration::from_secs(15));
        let said = |name: &str, expected: Option<&str>| match expected {
            Some(expected) => call[name].as_str().unwrap().contains(expected),
            None => call[name].is_null(),
        };
        assert!(
            said("result", result) && said("error", error),
            "{path}: {call}"
        );
        assert!(!got.contains("canary"), "{got}");
        assert!(
            call.to_string().len() < 20_000 && got.len() < 20_000,
            "{path}"
        );
    }
    let mut tools_gone = ToolServer::start().await;
    tools_gone.url = "http://127.0.0.1:1".into();
    let (call, _) = called(&tools_gone, "json", &json!({})).await;
    assert_eq!(call["error"], "the function cannot be reached");
}

#[tokio::test]
async fn calls_that_make_no_sense_are_results_that_the_model_sees() {
    for (name, arguments, error) in [
        ("delete_everything", json!({}), "there is no such function"),
        ("search_audio_resources", json!({}), "`query` is missing"),
        (
            "search_audio_resources",
            json!({ "query": 7 }),
            "`query` must be a text",
        ),
        ("search_audio_resources", json!([1]), "`query` is missing"),
    ] {
        let call = Reply::Call(name, arguments);
        let model = ModelServer::start([call, Reply::Text("Done".into())]).await;
        let api = TestApi::with_settings(&model.settings()).await;
        let answer = api.chat(json!({ "query": "Hi" })).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["function_calls"][0]["error"], error);
        assert_eq!(answer.body["function_calls"][0]["result"], Value::Null);
        assert_eq!(answer.body["audio_files"], json!([]));
        let requests = model.requests();
        let got = requests[1]["messages"].as_array().unwrap().last().unwrap();
        assert!(got["content"].as_str().unwrap().contains(error), "{got}");
    }
}

#[tokio::test]
async fn a_model_gets_five_rounds_and_is_told_which_is_the_last() {
    let call = || Reply::Call("look_up", json!({}));
    let mut replies: Vec<Reply> = (0..5).map(|_| call()).collect();
    replies.push(Reply::Text("Done".into()));
    let model = ModelServer::start(replies).await;
    let api = TestApi::with_settings(&model.settings()).await;

    let answer = api.chat(json!({ "query": "Hi" })).await;

    assert_eq!(answer.body["response"], "Done", "{}", answer.body);
    let got = |request: &Value| {
        let messages = request["messages"].as_array().unwrap();
        messages.last().unwrap()["content"].to_string()
    };
    let requests = model.requests();
    assert_eq!(requests.len(), 6);
    for (round, request) in requests.iter().enumerate() {
        assert_eq!(got(request).contains("Answer now"), round == 5, "{round}");
    }
}
