//! Many concurrent callers: no turn is lost, duplicated or out of order, and no caller waits forever.
//!
//! `TURNS=8000 cargo test --workspace concurrency` runs the full load; the default is a tenth of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use support::TestApi;

const CALLERS: usize = 64;

/// The environments, each with its own connection, that share the callers' requests.
const ENVIRONMENTS: usize = 16;

/// The lease of a turn with the default settings. A request may wait for a lock, but never that long.
const LEASE: Duration = Duration::from_secs(30);

fn turns() -> usize {
    std::env::var("TURNS").map_or(800, |turns| turns.parse().expect("TURNS is a number"))
}

/// 64 callers take this many turns on sessions that `session` chooses, and retry each until it is
/// answered.
async fn load(
    turns: usize,
    session: impl Fn(usize) -> Uuid + Send + Sync + 'static,
) -> Arc<TestApi> {
    let api = Arc::new(TestApi::in_environments(ENVIRONMENTS).await);
    let (session, next) = (Arc::new(session), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (api, session, next) = (Arc::clone(&api), Arc::clone(&session), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let turn = next.fetch_add(1, Ordering::SeqCst);
                    if turn >= turns {
                        return;
                    }
                    let body = json!({
                        "query": format!("turn {turn}"),
                        "session_id": session(turn),
                        "message_id": Uuid::now_v7(),
                    });
                    loop {
                        let started = Instant::now();
                        let answer = api.chat(body.clone()).await;
                        assert!(started.elapsed() < LEASE, "{:?}", started.elapsed());
                        if answer.status == 200 {
                            break;
                        }
                        answer.assert_problem(409, "session_busy");
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    api
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_one_session_take_turns() {
    let session_id = Uuid::now_v7();
    let api = load(turns(), move |_| session_id).await;

    api.verify().await;
    let messages = i64::try_from(2 * turns()).unwrap();
    assert_eq!(
        api.status(session_id).await.body["conversation_length"],
        messages
    );
    // Each answer directly follows its question.
    let apart = "select count(*) from chat_messages where reply_to_seq <> seq - 1";
    assert_eq!(api.number(apart).await, 0);
    let mixed = "
        select count(*)
        from chat_messages answer
        join chat_messages question
            on question.session_id = answer.session_id and question.seq = answer.reply_to_seq
        where position('“' || question.content || '”' in answer.content) = 0";
    assert_eq!(api.number(mixed).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_many_sessions_do_not_disturb_each_other() {
    let sessions: Vec<Uuid> = (0..turns().div_ceil(8)).map(|_| Uuid::now_v7()).collect();
    let count = i64::try_from(sessions.len()).unwrap();
    let api = load(turns(), move |turn| sessions[turn % sessions.len()]).await;

    api.verify().await;
    assert_eq!(
        api.number("select count(*) from chat_sessions").await,
        count
    );
    let messages = api.number("select count(*) from chat_messages").await;
    assert_eq!(messages, i64::try_from(2 * turns()).unwrap());
}
