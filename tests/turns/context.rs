//! The context window: what of a conversation a model is sent.

use serde_json::{Value, json};
use support::TestApi;
use support::model_server::{ModelServer, Reply};
use uuid::Uuid;

/// The default of `CONTEXT_TOKENS`.
const WINDOW: i64 = 8_000;

/// The messages in a request to the model, but for the system prompt.
fn shown(request: &Value) -> Vec<String> {
    let messages = request["messages"].as_array().unwrap().iter();
    messages
        .filter(|message| message["role"] != "system")
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect()
}

/// Turns of a session, each with one of these questions.
async fn converse(api: &TestApi, questions: &[String]) -> (Uuid, Vec<Value>) {
    let session_id = Uuid::now_v7();
    let mut answers = Vec::new();
    for question in questions {
        let turn = json!({ "query": question, "session_id": session_id });
        let answer = api.chat(turn).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answers.push(answer.body);
    }
    (session_id, answers)
}

#[tokio::test]
async fn eleven_turns_of_the_longest_questions_never_make_a_provider_refuse() {
    let english = "I have been thinking about my week at work, and I sleep badly. ";
    let russian = "Я думаю о своей работе и плохо сплю по ночам. ";
    let chinese = "我一直在想这周的工作，晚上睡得不好。";
    for (sentence, answer) in [
        (english, "It may help to write it down. ".repeat(30)),
        (russian, "Попробуйте записать это перед сном. ".repeat(30)),
        (chinese, "睡前把它写下来可能会有帮助。".repeat(30)),
    ] {
        let model = ModelServer::start([Reply::Within(WINDOW, answer)]).await;
        let api = TestApi::with_settings(&model.settings()).await;
        let question: String = sentence.chars().cycle().take(32_000).collect();
        converse(&api, &vec![question; 11]).await;
        // One that was refused would have been sent again.
        assert_eq!(model.requests().len(), 11);
    }
}

#[tokio::test]
async fn a_question_that_is_larger_than_the_window_is_shortened_for_the_model_only() {
    let model = ModelServer::start([Reply::Within(WINDOW, "Fine".into())]).await;
    let api = TestApi::with_settings(&model.settings()).await;
    let question = format!("Begin {} end?", "words ".repeat(5_300));

    let (session_id, _) = converse(&api, std::slice::from_ref(&question)).await;

    let sent = shown(&model.requests()[0]);
    assert!(sent[0].starts_with("Begin ") && sent[0].ends_with(" end?"));
    assert!(sent[0].contains("[The middle of this message was left out"));
    assert!(sent[0].len() < question.len());
    let history = api.history(session_id, "").await;
    assert_eq!(history.body["history"][0]["content"], question);
    let context = &history.body["history"][1]["metadata"]["context"];
    assert_eq!(
        context,
        &json!({ "messages": 0, "left_out": 0, "shortened": 1 })
    );
}

#[tokio::test]
async fn the_newest_messages_are_shown_in_their_order_and_the_record_says_what_is_left_out() {
    let model = ModelServer::start([Reply::Within(1_000, "a".repeat(300))]).await;
    let mut settings = model.settings().to_vec();
    settings.extend([("CONTEXT_TOKENS", "1000"), ("SYSTEM_PROMPT", "Be brief.")]);
    let api = TestApi::with_settings(&settings).await;
    let questions: Vec<String> = (0..6).map(|n| n.to_string().repeat(600)).collect();

    let (session_id, _) = converse(&api, &questions).await;

    let requests = model.requests();
    assert_eq!(requests.len(), 6);
    let firsts = |request: &Value| -> String {
        let texts = shown(request);
        texts
            .iter()
            .filter_map(|text| text.chars().next())
            .collect()
    };
    assert_eq!(firsts(&requests[0]), "0");
    assert_eq!(firsts(&requests[1]), "0a1");
    let last = firsts(&requests[5]);
    assert!(last.ends_with("4a5") && last.len() < 11, "{last}");
    let left_out = 10 - (last.len() - 1);
    let history = api.history(session_id, "").await;
    assert_eq!(
        history.body["history"][1]["metadata"],
        Value::Null,
        "all was shown"
    );
    assert_eq!(
        history.body["history"][11]["metadata"]["context"],
        json!({ "messages": last.len() - 1, "left_out": left_out, "shortened": 0 })
    );
}

#[tokio::test]
async fn an_answer_that_could_never_be_shown_whole_is_shown_in_part() {
    let long = format!("Begin {} end.", "words ".repeat(3_000));
    let model = ModelServer::start([
        Reply::Within(1_000, long.clone()),
        Reply::Within(1_000, "Fine".into()),
    ])
    .await;
    let mut settings = model.settings().to_vec();
    settings.extend([("CONTEXT_TOKENS", "1000"), ("SYSTEM_PROMPT", "Be brief.")]);
    let api = TestApi::with_settings(&settings).await;

    let (session_id, _) = converse(&api, &["One".into(), "Two".into()]).await;

    assert_eq!(model.requests().len(), 2);
    let history = api.history(session_id, "").await;
    assert_eq!(history.body["history"][1]["content"], long);
    let context = &history.body["history"][3]["metadata"]["context"];
    assert_eq!(
        context["left_out"].as_i64().unwrap() + context["messages"].as_i64().unwrap(),
        2
    );
}

#[tokio::test]
async fn results_of_calls_stay_and_earlier_messages_make_room_for_them() {
    let call = Reply::Call("look_up", json!({ "about": "x".repeat(1_200) }));
    let model = ModelServer::start([
        Reply::Within(1_000, "a".repeat(300)),
        call,
        Reply::Within(1_000, "Fine".into()),
    ])
    .await;
    let mut settings = model.settings().to_vec();
    settings.extend([("CONTEXT_TOKENS", "1000"), ("SYSTEM_PROMPT", "Be brief.")]);
    let api = TestApi::with_settings(&settings).await;

    converse(&api, &["1".repeat(900), "2".repeat(300)]).await;

    let requests = model.requests();
    let roles = |request: &Value| -> Vec<String> {
        let messages = request["messages"].as_array().unwrap().iter();
        messages
            .map(|message| message["role"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(roles(&requests[1]), ["system", "user", "assistant", "user"]);
    assert_eq!(roles(&requests[2]), ["system", "user", "assistant", "tool"]);
    assert!(
        requests[2]["messages"][1]["content"]
            .as_str()
            .unwrap()
            .starts_with('2')
    );
}

#[tokio::test]
async fn without_room_for_messages_only_the_question_is_sent() {
    let model = ModelServer::start([Reply::Text("Fine".into())]).await;
    let mut settings = model.settings().to_vec();
    settings.push(("CONTEXT_MESSAGES", "0"));
    let api = TestApi::with_settings(&settings).await;
    converse(&api, &["One".into(), "Two".into()]).await;
    assert_eq!(shown(&model.requests()[1]), ["Two"]);
}
