//! `cargo run -- chat`: a conversation in the terminal, whatever breaks on the way.

use std::net::SocketAddr;
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use support::api::Answer;
use support::conversation::Conversation;
use support::issuer::Issuer;
use support::local_run::LocalRun;

/// A question whose answer takes the built-in model more than a second: it sends a word at a time.
const LONG: &str =
    "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n";

/// Words from the middle of its answer.
const MIDDLE: &str = "You said: “a b c";

/// The session that the conversation names at its end.
fn session(complained: &str) -> &str {
    let named = complained.split("--session ").nth(1).expect(complained);
    named.split_whitespace().next().unwrap()
}

async fn get(url: &str) -> Value {
    let request = reqwest::Client::new().get(url);
    Answer::over_http(request).await.unwrap().body
}

/// The messages of a session, as the server holds them.
async fn history(address: &str, session: &str) -> Vec<String> {
    let body = get(&format!("{address}/chat/history/{session}")).await;
    let said = body["history"].as_array().unwrap().iter();
    said.map(|message| message["content"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_conversation_needs_nothing_else_and_goes_on_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Conversation::begin(&[], folder.path(), &[]);
    first.types("I am Ada").await;
    first.types("").await;
    first.types("Any recording about sleep?").await;
    let ended = first.end().await;
    assert!(ended.success, "{ended:?}");
    let answers: Vec<&str> = ended.printed.lines().collect();
    assert_eq!(answers.len(), 2, "answers and nothing else: {ended:?}");
    assert!(answers[0].contains("You said: “I am Ada”."), "{ended:?}");
    assert!(
        answers[1].contains("Before that you said: “I am Ada”"),
        "{ended:?}"
    );
    assert!(ended.complained.contains("  ♪ "), "{ended:?}");
    assert!(ended.complained.contains(".mp3\n"), "{ended:?}");

    let session = session(&ended.complained);
    let mut later = Conversation::begin(&["--session", session], folder.path(), &[]);
    later.types("Who am I?").await;
    let ended = later.end().await;

    assert!(ended.success, "{ended:?}");
    for shown in ["> I am Ada\n", "> Any recording about sleep?\n", answers[1]] {
        assert!(ended.complained.contains(shown), "{shown}: {ended:?}");
    }
    let earliest = "the earliest message I can see is: “I am Ada”";
    assert!(ended.printed.contains(earliest), "{ended:?}");
}

#[tokio::test]
async fn it_joins_the_instance_that_is_running() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &[]).await;
    let mut conversation = Conversation::begin(&[], folder.path(), &[]);
    conversation.types("Hi").await;
    let ended = conversation.end().await;
    assert!(ended.success, "{ended:?}");
    let said = history(&local.address, session(&ended.complained)).await;
    assert_eq!(said, ["Hi", ended.printed.trim_end()]);
    local.stop().await;
}

#[tokio::test]
async fn a_broken_connection_is_taken_up_without_a_gap_and_without_asking_again() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &[("RUST_LOG", "info")]).await;
    let way = Way::to(&local.address).await;
    let mut conversation = Conversation::begin(&["--url", &way.address], folder.path(), &[]);
    conversation.types(LONG).await;
    conversation.prints(MIDDLE).await;
    way.cut.notify_waiters();
    let ended = conversation.end().await;

    assert!(ended.success, "{ended:?}");
    let said = history(&local.address, session(&ended.complained)).await;
    assert_eq!(said, [LONG, ended.printed.trim_end()]);
    let goes_on = format!("--url {}/", way.address);
    assert!(ended.complained.contains(&goes_on), "{ended:?}");
    let logged = local.complaints().text();
    let requests = |route: &str| logged.matches(route).count();
    assert_eq!(
        requests(r#"route="/chat/stream" method="POST""#),
        1,
        "{logged}"
    );
    assert!(
        requests(r#"route="/chat/stream/{session_id}" method="GET""#) > 1,
        "{logged}"
    );
    local.stop().await;
}

#[tokio::test]
async fn the_answer_of_a_server_that_dies_and_comes_back_is_printed_whole() {
    let folder = tempfile::tempdir().unwrap();
    let dead_after = ("STREAM_DEAD_AFTER_SECONDS", "2");
    let local = LocalRun::start(folder.path(), &[dead_after]).await;
    let address = local.address.clone();
    let mut conversation = Conversation::begin(&["--url", &address], folder.path(), &[]);
    conversation.types(LONG).await;
    conversation.prints(MIDDLE).await;
    local.signal(Signal::KILL);
    local.ended().await;
    let port = address.rsplit(':').next().unwrap();
    let local = LocalRun::start(folder.path(), &[dead_after, ("PORT", port)]).await;
    conversation.types("Still there?").await;
    let ended = conversation.end().await;

    assert!(ended.success, "{ended:?}");
    let said = history(&address, session(&ended.complained)).await;
    let answers: Vec<&str> = ended.printed.lines().collect();
    assert_eq!(said, [LONG, answers[0], "Still there?", answers[1]]);
    local.stop().await;
}

#[tokio::test]
async fn an_interrupt_stops_the_answer_and_not_the_conversation() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &[]).await;
    let mut conversation = Conversation::begin(&["--url", &local.address], folder.path(), &[]);
    // The answer to the second one quotes the first, so it takes longer than stopping does.
    for _ in 0..2 {
        conversation.types(LONG).await;
    }
    conversation.prints("Before that you said").await;
    conversation.interrupt();
    conversation.complains("(ended early: stopped)").await;
    conversation.types("And now?").await;
    conversation.prints("“And now?”").await;
    let ended = conversation.end().await;

    assert!(ended.success, "{ended:?}");
    let said = history(&local.address, session(&ended.complained)).await;
    let answers: Vec<&str> = ended.printed.lines().collect();
    assert_eq!(answers.len(), 3, "{ended:?}");
    assert_eq!(said[3].trim_end(), answers[1].trim_end(), "what was stored");
    assert!(
        !answers[1].ends_with("”."),
        "it did not come to its end: {ended:?}"
    );
    assert_eq!(said[5], answers[2]);

    // Where nothing is being answered it ends the conversation.
    let mut conversation = Conversation::begin(&["--url", &local.address], folder.path(), &[]);
    conversation.types("Hi").await;
    conversation.prints("“Hi”.\n").await;
    conversation.interrupt();
    conversation.complains("--session").await;
    local.stop().await;
}

#[tokio::test]
async fn a_question_that_is_refused_is_reported_and_the_conversation_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &[]).await;
    let mut conversation = Conversation::begin(&["--url", &local.address], folder.path(), &[]);
    conversation.types(&"x".repeat(32_001)).await;
    conversation.types("Short enough").await;
    let ended = conversation.end().await;

    assert!(!ended.success, "a script has to know: {ended:?}");
    for expected in [
        "error: `query` is longer than",
        "1 question(s) not answered",
    ] {
        assert!(ended.complained.contains(expected), "{expected}: {ended:?}");
    }
    assert!(ended.printed.contains("“Short enough”"), "{ended:?}");
    local.stop().await;
}

#[tokio::test]
async fn the_token_is_sent_and_never_printed() {
    let issuer = Issuer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &issuer.settings()).await;
    let token = issuer.token("alice");
    let settings = [("DAISSY_TOKEN", &*token), ("RUST_LOG", "debug")];
    let mut conversation =
        Conversation::begin(&["--url", &local.address], folder.path(), &settings);
    conversation.types("Hi").await;
    let ended = conversation.end().await;
    assert!(ended.success && ended.printed.contains("“Hi”"), "{ended:?}");
    let secret = token.rsplit('.').next().unwrap();
    assert!(!format!("{ended:?}").contains(secret), "{ended:?}");

    for (name, value) in [("RUST_LOG", "warn"), ("DAISSY_TOKEN", "hunter2")] {
        let arguments = ["--url", &local.address];
        let refused = Conversation::begin(&arguments, folder.path(), &[(name, value)])
            .end()
            .await;
        assert!(!refused.success, "{refused:?}");
        assert!(refused.complained.contains("error: "), "{refused:?}");
        assert!(!refused.complained.contains("hunter2"), "{refused:?}");
    }
    local.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_said_before_a_question_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &[]).await;
    let elsewhere = format!("{}/elsewhere", local.address);
    let nobody = "0198c0de-0000-7000-8000-00000000abcd";
    let cases: [(&[&str], &str); 6] = [
        (
            &["--url", "http://127.0.0.1:1"],
            "127.0.0.1 cannot be reached: Connection refused",
        ),
        (&["--url", "localhost:8000"], "--url needs the address"),
        (
            &["--url", "http://u:hunter2@localhost"],
            "--url needs the address",
        ),
        (&["--url", &elsewhere], "error: There is no route"),
        (&["--session", "mine"], "--session needs the id"),
        (&["--url", &local.address, "--session", nobody], nobody),
    ];
    for (arguments, expected) in cases {
        let ended = Conversation::begin(arguments, folder.path(), &[])
            .end()
            .await;
        assert!(!ended.success, "{arguments:?}: {ended:?}");
        assert!(ended.complained.starts_with("error: "), "{ended:?}");
        assert!(
            ended.complained.contains(expected),
            "{arguments:?}: {ended:?}"
        );
        assert!(!ended.complained.contains("hunter2"), "{ended:?}");
    }
    assert_eq!(
        sessions(&local.address).await,
        0,
        "asking whether it is there leaves nothing"
    );
    local.stop().await;
}

async fn sessions(address: &str) -> usize {
    let body = get(&format!("{address}/chat/sessions")).await;
    body["sessions"].as_array().unwrap().len()
}

/// The way to a server, which can be cut.
struct Way {
    address: String,
    /// Breaks every connection.
    cut: Arc<Notify>,
}

impl Way {
    async fn to(address: &str) -> Self {
        let server: SocketAddr = address.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let cut = Arc::new(Notify::new());
        let is_cut = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let is_cut = Arc::clone(&is_cut);
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        () = is_cut.notified() => {}
                    }
                });
            }
        });
        Self { address, cut }
    }
}
