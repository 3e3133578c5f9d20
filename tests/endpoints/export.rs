//! `GET /chat/export`: the sessions of a caller, to be taken along.

use axum::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use support::TestApi;
use support::api::Answer;

/// The query string that leads to the next page, if there is one.
fn next(page: &Answer) -> Option<String> {
    let link = page.headers.get("link")?.to_str().unwrap();
    let query = link
        .strip_prefix('<')
        .unwrap()
        .strip_suffix(">; rel=\"next\"");
    Some(query.unwrap().to_owned())
}

/// All pages of an export in JSON Lines, one after the other; how many lines each has.
async fn all_lines(api: &TestApi, query: &str) -> (Vec<Value>, Vec<usize>) {
    let (mut lines, mut pages, mut query) = (Vec::new(), Vec::new(), query.to_owned());
    loop {
        let page = api.export(&query).await;
        assert_eq!(page.status, 200, "{}", page.body);
        assert_eq!(page.headers["content-type"], "application/x-ndjson");
        let found = page.body.as_array().unwrap();
        pages.push(found.len());
        lines.extend(found.clone());
        match next(&page) {
            Some(next) => query = next,
            None => return (lines, pages),
        }
    }
}

#[tokio::test]
async fn every_stored_field_is_exported() {
    let api = TestApi::start().await;
    let session_id = api
        .session(&["An audio about sleep", "Grüße \"😀\"\n"])
        .await;
    let history = api.history(session_id, "").await.body["history"].clone();
    let answer = history[1]["message_id"].as_str().unwrap();
    api.feedback(
        session_id,
        answer,
        json!({ "rating": "up", "comment": "Good" }),
    )
    .await;
    let copy = api.fork(session_id, answer).await.id("session_id");
    let empty = api
        .request(Method::POST, "/chat/reset")
        .await
        .id("new_session_id");
    let history = api.history(session_id, "").await.body["history"].clone();

    let (lines, _) = all_lines(&api, "").await;

    let ids: Vec<Uuid> = lines
        .iter()
        .filter(|line| line["type"] == "session")
        .map(|line| line["session_id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(
        ids,
        [session_id, copy, empty],
        "in the order they were opened"
    );
    let mut session = api.find(session_id).await.body;
    session["type"] = json!("session");
    session["session_stats"] = api.status(session_id).await.body["session_stats"].clone();
    assert_eq!(lines[0], session);
    for (n, message) in history.as_array().unwrap().iter().enumerate() {
        let line = &lines[n + 1];
        for (member, value) in message.as_object().unwrap() {
            assert_eq!(line[member], *value, "{member}");
        }
        assert_eq!(
            (&line["type"], &line["seq"]),
            (&json!("message"), &json!(n + 1))
        );
        assert_eq!(line["session_id"], json!(session_id));
        assert_eq!(line["usage"].is_null(), n % 2 == 0, "{line}");
    }
    assert_eq!(lines[2]["reply_to_seq"], 1);
    assert_eq!(lines[2]["model"], "built-in");
    assert_eq!(lines[2]["finish_reason"], "stop");
    assert!(lines[2]["latency_ms"].is_number());
    assert_eq!(lines[6]["origin_message_id"], history[0]["message_id"]);
    assert!(!lines.iter().any(|line| line.get("owner").is_some()));
}

#[tokio::test]
async fn one_session_is_exported_alone_and_needs_no_permission() {
    let api = TestApi::with_settings(&[("ANONYMOUS_SEES_ALL", "false")]).await;
    let session_id = api.session(&["Hi"]).await;
    api.session(&["Another"]).await;

    let (lines, _) = all_lines(&api, &format!("?session_id={session_id}")).await;
    assert_eq!(lines.len(), 3);
    assert!(
        lines
            .iter()
            .all(|line| line["session_id"] == json!(session_id))
    );

    api.export("").await.assert_problem(403, "forbidden");
    api.export(&format!("?session_id={}", Uuid::now_v7()))
        .await
        .assert_problem(404, "session_not_found");
    let foreign =
        format!("update chat_sessions set owner = 'jwt:alice' where session_id = '{session_id}'");
    api.sql(&foreign).await;
    api.export(&format!("?session_id={session_id}"))
        .await
        .assert_problem(404, "session_not_found");
}

#[tokio::test]
async fn foreign_and_erased_sessions_are_not_exported() {
    let api = TestApi::start().await;
    let (mine, foreign, erased) = (
        api.session(&["Hi"]).await,
        api.session(&["Hi"]).await,
        api.session(&["Hi"]).await,
    );
    api.sql(&format!(
        "update chat_sessions set owner = 'jwt:alice' where session_id = '{foreign}'"
    ))
    .await;
    assert_eq!(api.erase(erased).await.status, 200);

    let (lines, _) = all_lines(&api, "").await;

    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["session_id"] == json!(mine)));
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap_also_inside_a_session() {
    let api = TestApi::start().await;
    let first = api.session(&["Hi"]).await;
    // 8 MB in one session, more in the JSON that Lambda carries, and 6,000 sessions with no message.
    let long = api.long_session(4000, 2000).await;
    api.sql("insert into chat_sessions (session_id) select gen_random_uuid() from generate_series(1, 6000)")
        .await;
    let last = api.session(&["\"\\\n".repeat(3000).as_str()]).await;

    let (lines, pages) = all_lines(&api, "").await;

    assert!(pages.len() >= 3, "{pages:?}");
    let id = |line: &Value| -> Uuid { line["session_id"].as_str().unwrap().parse().unwrap() };
    let sessions: Vec<Uuid> = lines
        .iter()
        .filter(|line| line["type"] == "session")
        .map(id)
        .collect();
    assert_eq!(sessions.len(), 6003);
    let mut different = sessions.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), 6003, "no session comes twice");
    let mut expected = (1..=4000).collect::<Vec<i64>>();
    let seqs = |session: Uuid| -> Vec<i64> {
        let messages = lines
            .iter()
            .filter(|line| line["type"] == "message" && id(line) == session);
        messages.map(|line| line["seq"].as_i64().unwrap()).collect()
    };
    assert_eq!(seqs(long), expected);
    expected.truncate(2);
    assert_eq!((seqs(first), seqs(last)), (expected.clone(), expected));
}

#[tokio::test]
async fn a_session_of_a_size_that_just_fits_or_does_not_is_complete() {
    let api = TestApi::start().await;
    for messages in [1, 2, 3, 5] {
        // Each about a page.
        let session_id = api.long_session(messages, 2_499_000).await;
        let (lines, pages) = all_lines(&api, &format!("?session_id={session_id}")).await;
        assert_eq!(lines.len(), messages + 1, "{pages:?}");
    }
}

#[tokio::test]
async fn people_get_markdown() {
    let api = TestApi::start().await;
    let session_id = api.session(&["An audio\nabout sleep"]).await;
    let history = api.history(session_id, "").await.body["history"].clone();

    let page = api
        .export(&format!("?format=markdown&session_id={session_id}"))
        .await;

    assert_eq!(page.headers["content-type"], "text/markdown; charset=utf-8");
    let text = page.body.as_str().unwrap();
    let question = format!(
        "# An audio about sleep\n\nSession {session_id}, opened {}\n\n## User, {}\n\nAn audio\nabout sleep\n\n## Assistant, ",
        api.find(session_id).await.body["created_at"]
            .as_str()
            .unwrap(),
        history[0]["timestamp"].as_str().unwrap(),
    );
    assert!(text.starts_with(&question), "{text}");
    assert!(
        text.contains(history[1]["content"].as_str().unwrap()),
        "{text}"
    );
    assert!(text.contains("Audio files: `[{"), "{text}");
    let pages = api.long_session(3000, 2000).await;
    let page = api
        .export(&format!("?format=markdown&session_id={pages}"))
        .await;
    assert!(next(&page).unwrap().contains("format=markdown"));
}

#[tokio::test]
async fn invalid_parameters_are_refused() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    for query in ["?format=csv", "?session_id=7", "?session_id="] {
        api.export(query)
            .await
            .assert_problem(400, "invalid_request");
    }
    let cursor = shared::http::cursor::encode_timed(7, session_id);
    let negative = shared::http::cursor::encode_export(7, session_id, -1);
    for cursor in ["", "x", &cursor, &negative] {
        api.export(&format!("?after={cursor}"))
            .await
            .assert_problem(400, "invalid_cursor");
    }
}
