//! Random sequences of all operations on the real API, compared with a model of the contract that fits
//! on a page: repeated calls, concurrent turns, failing models, functions that die in the middle of a
//! turn, connections that are cut.
//!
//! A failure prints the shortest sequence that shows it. A longer run:
//! `PROPTEST_CASES=1000 cargo test --workspace model_based`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use serde_json::{Value, json};
use shared::caller::{Caller, Permissions};
use shared::database::{Database, DatabaseConfig};
use shared::store::Store;
use shared::store::turns::{self, ContextLimits, Lease, Question, TurnStart};
use tokio::time::Instant;
use uuid::Uuid;

use support::maintain::maintain;
use support::model_server::{ModelServer, Reply};
use support::proxy::{Fault, Proxy};
use support::{TestApi, postgres};

/// How many sequences a default run tries.
const CASES: u32 = 30;

/// The environments, each with its own connection, that share the requests.
const ENVIRONMENTS: usize = 3;

/// The texts of messages; few, so that they repeat.
const QUERIES: [&str; 3] = ["one", "two", "three"];

/// How many session ids and message ids a client has chosen in advance.
const CHOSEN_SESSIONS: usize = 3;
const CHOSEN_MESSAGES: usize = 5;

/// A message of a client: its session, its id, its query, as indices. Those of sessions wrap around.
#[derive(Debug, Clone, Copy)]
struct Say {
    session: usize,
    message: usize,
    query: usize,
}

#[derive(Debug, Clone)]
enum Op {
    Chat {
        say: Say,
        model_fails: bool,
        is_streamed: bool,
    },
    ChatWithoutIds {
        query: usize,
    },
    ChatWithoutSession {
        message: usize,
        query: usize,
    },
    TogetherInOneSession {
        session: usize,
        said: Vec<(usize, usize)>,
    },
    DieInTheMiddle(Say),
    LeasesEnd,
    History {
        session: usize,
    },
    Status {
        session: usize,
    },
    Load {
        session: usize,
    },
    Fork {
        session: usize,
        at: usize,
    },
    Reset {
        session: usize,
    },
    ResetNothing,
    Change {
        session: usize,
        change: Change,
    },
    Feedback {
        session: usize,
        at: usize,
        rating: Option<&'static str>,
    },
    Erase {
        session: usize,
    },
    List {
        archived: &'static str,
        pinned: bool,
        limit: usize,
    },
    Search {
        query: usize,
        session: Option<usize>,
        limit: usize,
    },
    Export {
        session: Option<usize>,
    },
    /// Deletes what was erased, and fills the index for searching.
    Maintain,
    CutConnections,
}

/// What a caller changes in a session; what is `None` is left out.
#[derive(Debug, Clone, Copy)]
struct Change {
    title: Option<Option<&'static str>>,
    pinned: Option<bool>,
    archived: Option<bool>,
    metadata: Option<Option<u8>>,
}

/// An operation, and perhaps a connection fault after this many messages on the wire.
#[derive(Debug, Clone)]
struct Step {
    op: Op,
    fault: Option<(usize, bool)>,
}

fn step() -> impl Strategy<Value = Step> {
    let session = || 0..8_usize;
    let say = || {
        (session(), 0..CHOSEN_MESSAGES, 0..QUERIES.len()).prop_map(|(session, message, query)| {
            Say {
                session,
                message,
                query,
            }
        })
    };
    let said = proptest::collection::vec((0..CHOSEN_MESSAGES, 0..QUERIES.len()), 2..5);
    let rating = prop::sample::select(vec![Some("up"), Some("down"), None]);
    let archived = prop::sample::select(vec!["false", "true", "all"]);
    let op = prop_oneof![
        8 => (say(), any::<bool>(), any::<bool>()).prop_map(|(say, model_fails, is_streamed)| {
            Op::Chat { say, model_fails, is_streamed }
        }),
        2 => (0..QUERIES.len()).prop_map(|query| Op::ChatWithoutIds { query }),
        3 => (0..CHOSEN_MESSAGES, 0..QUERIES.len())
            .prop_map(|(message, query)| Op::ChatWithoutSession { message, query }),
        3 => (session(), said)
            .prop_map(|(session, said)| Op::TogetherInOneSession { session, said }),
        2 => say().prop_map(Op::DieInTheMiddle),
        2 => Just(Op::LeasesEnd),
        1 => session().prop_map(|session| Op::History { session }),
        1 => session().prop_map(|session| Op::Status { session }),
        3 => session().prop_map(|session| Op::Load { session }),
        3 => (session(), 0..9_usize).prop_map(|(session, at)| Op::Fork { session, at }),
        2 => session().prop_map(|session| Op::Reset { session }),
        1 => Just(Op::ResetNothing),
        3 => (session(), change()).prop_map(|(session, change)| Op::Change { session, change }),
        2 => (session(), 0..9_usize, rating)
            .prop_map(|(session, at, rating)| Op::Feedback { session, at, rating }),
        3 => session().prop_map(|session| Op::Erase { session }),
        2 => (archived, any::<bool>(), 1..4_usize)
            .prop_map(|(archived, pinned, limit)| Op::List { archived, pinned, limit }),
        3 => (0..QUERIES.len(), prop::option::of(session()), 1..4_usize)
            .prop_map(|(query, session, limit)| Op::Search { query, session, limit }),
        1 => prop::option::of(session()).prop_map(|session| Op::Export { session }),
        2 => Just(Op::Maintain),
        1 => Just(Op::CutConnections),
    ];
    let fault = prop_oneof![2 => Just(None), 1 => (0..24_usize, any::<bool>()).prop_map(Some)];
    (op, fault).prop_map(|(op, fault)| Step { op, fault })
}

fn change() -> impl Strategy<Value = Change> {
    let title = prop::option::of(prop::option::of(prop::sample::select(vec!["A", "Ü"])));
    let flag = || prop::option::of(any::<bool>());
    let metadata = prop::option::of(prop::option::of(any::<u8>()));
    (title, flag(), flag(), metadata).prop_map(|(title, pinned, archived, metadata)| Change {
        title,
        pinned,
        archived,
        metadata,
    })
}

/// The contract in memory.
#[derive(Debug, Default)]
struct Truth {
    sessions: BTreeMap<Uuid, Session>,
    erased: BTreeSet<Uuid>,
    /// Counts what is use of a session.
    uses: usize,
}

#[derive(Debug, Default, Clone)]
struct Session {
    messages: Vec<Message>,
    is_closed: bool,
    is_leased: bool,
    /// The first question, and the caller's own.
    title: Option<String>,
    own_title: Option<String>,
    is_pinned: bool,
    is_archived: bool,
    metadata: Option<Value>,
    /// When it was last used, as a count.
    used: usize,
}

#[derive(Debug, Clone)]
struct Message {
    id: Uuid,
    /// For an answer, the position of its question.
    answers: Option<usize>,
    content: String,
    rating: Option<&'static str>,
}

/// The expected result of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The model is asked; its answer gets this position.
    Asked(usize),
    /// The answer at this position is returned.
    Replayed(usize),
    Refused(&'static str),
}

impl Truth {
    fn outcome(&self, session_id: Uuid, message_id: Uuid, query: &str) -> Outcome {
        if self.erased.contains(&session_id) {
            return Outcome::Refused("session_not_found");
        }
        let empty = Session::default();
        let session = self.sessions.get(&session_id).unwrap_or(&empty);
        let known = session
            .messages
            .iter()
            .position(|message| message.id == message_id);
        let place = match known {
            Some(place) => {
                let message = &session.messages[place];
                if message.answers.is_some() || message.content != query {
                    return Outcome::Refused("message_id_reused");
                }
                let answer = session
                    .messages
                    .iter()
                    .position(|one| one.answers == Some(place));
                if let Some(answer) = answer {
                    return Outcome::Replayed(answer);
                }
                session.messages.len()
            }
            None => session.messages.len() + 1,
        };
        match session {
            Session {
                is_closed: true, ..
            } => Outcome::Refused("session_inactive"),
            Session {
                is_leased: true, ..
            } => Outcome::Refused("session_busy"),
            _ => Outcome::Asked(place),
        }
    }

    /// Stores a question if it is new; returns its position.
    fn ask(&mut self, session_id: Uuid, message_id: Uuid, query: &str) -> usize {
        self.uses += 1;
        let session = self.sessions.entry(session_id).or_default();
        let messages = &mut session.messages;
        let known = messages.iter().position(|message| message.id == message_id);
        known.unwrap_or_else(|| {
            session.used = self.uses;
            session.title.get_or_insert_with(|| query.into());
            messages.push(Message {
                id: message_id,
                answers: None,
                content: query.into(),
                rating: None,
            });
            messages.len() - 1
        })
    }

    fn answer(&mut self, session_id: Uuid, question: usize, response_id: Uuid) {
        self.uses += 1;
        let session = self.sessions.get_mut(&session_id).unwrap();
        session.used = self.uses;
        let content = format!("answer to {}", session.messages[question].content);
        session.messages.push(Message {
            id: response_id,
            answers: Some(question),
            content,
            rating: None,
        });
    }

    /// The sessions in a list, in its order.
    fn listed(&self, archived: &str, pinned: bool) -> Vec<Uuid> {
        let mut listed: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| !session.messages.is_empty())
            .filter(|(_, session)| archived == "all" || session.is_archived == (archived == "true"))
            .filter(|(_, session)| session.is_pinned || !pinned)
            .collect();
        listed.sort_by_key(|(_, session)| std::cmp::Reverse(session.used));
        listed.into_iter().map(|(id, _)| *id).collect()
    }
}

/// The API, the model of the contract, and the ids in use.
struct World {
    api: TestApi,
    proxy: Proxy,
    model: ModelServer,
    /// For functions that die: it has its own connection.
    store: Store,
    truth: Truth,
    sessions: Vec<Uuid>,
    messages: Vec<Uuid>,
}

impl World {
    async fn new() -> Self {
        let name = postgres::migrated_database().await;
        let url = postgres::app_url(&name);
        let proxy = Proxy::start(postgres::app_port()).await;
        let model = ModelServer::start([Reply::Echo]).await;
        let through = proxy.through(&url);
        let mut settings = model.settings().to_vec();
        // Leases end when a sequence says so.
        settings.push(("STREAM_DEAD_AFTER_SECONDS", "600"));
        let api = TestApi::on_in_environments(name, &through, &settings, ENVIRONMENTS).await;
        let database = Database::new(DatabaseConfig::parse(&url).unwrap());
        let store = Store::new(Arc::new(database));
        let ids = |count| (0..count).map(|_| Uuid::now_v7()).collect();
        let (sessions, messages) = (ids(CHOSEN_SESSIONS), ids(CHOSEN_MESSAGES));
        Self {
            api,
            proxy,
            model,
            store,
            truth: Truth::default(),
            sessions,
            messages,
        }
    }

    fn session(&self, index: usize) -> Uuid {
        self.sessions[index % self.sessions.len()]
    }

    fn body(&self, say: Say) -> (Uuid, Uuid, &'static str, Value) {
        let (session_id, message_id) = (self.session(say.session), self.messages[say.message]);
        let query = QUERIES[say.query];
        let body = json!({ "query": query, "session_id": session_id, "message_id": message_id });
        (session_id, message_id, query, body)
    }

    async fn step(&mut self, step: &Step) {
        if let Some((messages, truncate)) = step.fault {
            let fault = if truncate {
                Fault::Truncate
            } else {
                Fault::Cut
            };
            self.proxy.fail_after(messages, fault);
        }
        match &step.op {
            Op::Chat {
                say,
                model_fails,
                is_streamed,
            } => self.chat(*say, *model_fails, *is_streamed).await,
            Op::ChatWithoutIds { query } => self.chat_without_ids(QUERIES[*query]).await,
            Op::ChatWithoutSession { message, query } => {
                self.chat_without_session(self.messages[*message], QUERIES[*query])
                    .await;
            }
            Op::TogetherInOneSession { session, said } => self.together(*session, said).await,
            Op::DieInTheMiddle(say) => self.die_in_the_middle(*say).await,
            Op::LeasesEnd => self.leases_end().await,
            Op::History { session } => self.compare_history(self.session(*session)).await,
            Op::Status { session } => self.compare_status(self.session(*session)).await,
            Op::Load { session } => self.load(self.session(*session)).await,
            Op::Fork { session, at } => self.fork(self.session(*session), *at).await,
            Op::Reset { session } => self.reset(self.session(*session)).await,
            Op::ResetNothing => {
                let path = "/chat/reset";
                let answer = self.api.request(axum::http::Method::POST, path).await;
                self.opened(answer.id("new_session_id"), Session::default());
            }
            Op::Change { session, change } => self.change(self.session(*session), *change).await,
            Op::Feedback {
                session,
                at,
                rating,
            } => self.feedback(self.session(*session), *at, *rating).await,
            Op::Erase { session } => self.erase(self.session(*session)).await,
            Op::List {
                archived,
                pinned,
                limit,
            } => self.compare_list(archived, *pinned, *limit).await,
            Op::Search {
                query,
                session,
                limit,
            } => {
                let session_id = session.map(|session| self.session(session));
                self.compare_search(QUERIES[*query], session_id, *limit)
                    .await;
            }
            Op::Export { session } => {
                let session_id = session.map(|session| self.session(session));
                self.compare_export(session_id).await;
            }
            Op::Maintain => {
                maintain(&self.api, &[], json!({ "action": "run" })).await;
            }
            Op::CutConnections => self.api.cut_connections().await,
        }
        self.proxy.disarm();
    }

    async fn chat(&mut self, say: Say, model_fails: bool, is_streamed: bool) {
        let (session_id, message_id, query, body) = self.body(say);
        let outcome = self.truth.outcome(session_id, message_id, query);
        self.model.fail(model_fails);
        let answer = if is_streamed {
            self.api.streamed_turn(body).await
        } else {
            self.api.chat(body).await
        };
        self.model.fail(false);
        match outcome {
            Outcome::Asked(_) if model_fails => {
                answer.assert_problem(502, "model_error");
                self.truth.ask(session_id, message_id, query);
            }
            _ => self.check_turn(session_id, message_id, query, &answer),
        }
    }

    /// Compares the answer of a turn whose model works, and records it.
    fn check_turn(
        &mut self,
        session_id: Uuid,
        message_id: Uuid,
        query: &str,
        answer: &support::api::Answer,
    ) {
        match self.truth.outcome(session_id, message_id, query) {
            Outcome::Refused(code) => {
                let status = if code == "session_not_found" {
                    404
                } else {
                    409
                };
                answer.assert_problem(status, code);
            }
            Outcome::Replayed(place) => {
                assert_eq!(answer.status, 200, "{}", answer.body);
                assert_eq!(answer.headers["idempotent-replayed"], "true");
                let stored = &self.truth.sessions[&session_id].messages[place];
                assert_eq!(answer.id("response_id"), stored.id);
                assert_eq!(answer.body["response"], stored.content);
                assert_eq!(answer.body["conversation_length"], place + 1);
            }
            Outcome::Asked(place) => {
                assert_eq!(answer.status, 200, "{}", answer.body);
                assert!(!answer.headers.contains_key("idempotent-replayed"));
                assert_eq!(answer.body["response"], format!("answer to {query}"));
                assert_eq!(answer.body["conversation_length"], place + 1);
                let question = self.truth.ask(session_id, message_id, query);
                self.truth
                    .answer(session_id, question, answer.id("response_id"));
            }
        }
    }

    async fn chat_without_ids(&mut self, query: &str) {
        let answer = self.api.chat(json!({ "query": query })).await;
        assert_eq!(answer.body["conversation_length"], 2, "{}", answer.body);
        let session_id = answer.id("session_id");
        let question = self.truth.ask(session_id, answer.id("message_id"), query);
        self.truth
            .answer(session_id, question, answer.id("response_id"));
        self.sessions.push(session_id);
    }

    /// A call that names its message and no session, however often it is repeated.
    async fn chat_without_session(&mut self, message_id: Uuid, query: &'static str) {
        let session_id = nobody().session_of(message_id);
        let body = json!({ "query": query, "message_id": message_id });
        let answer = self.api.chat(body).await;
        if answer.status == 200 {
            assert_eq!(answer.id("session_id"), session_id);
        }
        self.check_turn(session_id, message_id, query, &answer);
        if !self.sessions.contains(&session_id) {
            self.sessions.push(session_id);
        }
    }

    /// Several concurrent callers in one session: those that are admitted act as if one after the other,
    /// the rest are told to wait or what is wrong with their call.
    async fn together(&mut self, session: usize, said: &[(usize, usize)]) {
        let calls: Vec<_> = said
            .iter()
            .map(|&(message, query)| {
                self.body(Say {
                    session,
                    message,
                    query,
                })
            })
            .collect();
        let before = self.truth.sessions.get(&self.session(session)).cloned();
        let could_run = calls.iter().any(|(session_id, message_id, query, _)| {
            matches!(
                self.truth.outcome(*session_id, *message_id, query),
                Outcome::Asked(_)
            )
        });
        let answers = calls.iter().map(|(.., body)| self.api.chat(body.clone()));
        let mut answers: Vec<_> = calls
            .iter()
            .zip(futures_util::future::join_all(answers).await)
            .collect();

        // First the turns that ran, in their order; then the replayed ones.
        let is_busy = |body: &Value| body["code"] == "session_busy";
        answers.sort_by_key(|(_, answer)| {
            let replayed = answer.headers.contains_key("idempotent-replayed");
            let length = answer.body["conversation_length"].as_u64();
            (answer.status != 200, replayed, length)
        });
        let ran = answers.iter().any(|(_, answer)| answer.status == 200);
        assert!(
            ran || !could_run,
            "no call was admitted: {before:?} {answers:?}"
        );
        for ((session_id, message_id, query, _), answer) in answers {
            if is_busy(&answer.body) {
                let was_leased = before.as_ref().is_some_and(|session| session.is_leased);
                assert!(ran || was_leased, "busy with nothing: {before:?}");
            } else {
                self.check_turn(*session_id, *message_id, query, &answer);
            }
        }
    }

    /// A function that begins a turn and never finishes it.
    async fn die_in_the_middle(&mut self, say: Say) {
        let (session_id, message_id, query, _) = self.body(say);
        let caller = nobody();
        let question = Question {
            session_id,
            message_id,
            content: query.into(),
            audio_files: None,
            metadata: None,
        };
        let lease = Lease {
            lease_id: Uuid::now_v7(),
            duration: Duration::from_secs(600),
            // Both block the session.
            is_streamed: say.query == 0,
            dead_after: Duration::from_secs(600),
        };
        let context = ContextLimits {
            messages: 20,
            tokens: 10_000.0,
        };
        let begun = turns::begin(&self.store, &caller, &question, lease, context).await;
        match (self.truth.outcome(session_id, message_id, query), begun) {
            (Outcome::Asked(place), Ok(TurnStart::Started(turn))) => {
                let question = self.truth.ask(session_id, message_id, query);
                assert!(question < place);
                assert_eq!(turn.question_seq, i64::try_from(question + 1).unwrap());
                let session = self.truth.sessions.get_mut(&session_id).unwrap();
                let context: Vec<_> = turn
                    .context
                    .into_iter()
                    .map(|message| message.content)
                    .collect();
                let expected: Vec<_> = session.messages[..question]
                    .iter()
                    .map(|message| message.content.clone())
                    .collect();
                assert_eq!(context, expected[expected.len().saturating_sub(20)..]);
                session.is_leased = true;
            }
            (Outcome::Replayed(place), Ok(TurnStart::Replayed(answer))) => {
                assert_eq!(answer.seq, i64::try_from(place + 1).unwrap());
                let stored = &self.truth.sessions[&session_id].messages[place];
                assert_eq!(answer.response_id, stored.id);
            }
            (Outcome::Refused(code), Err(problem)) => assert_eq!(problem.code(), code),
            (expected, begun) => panic!("expected {expected:?}, got {begun:?}"),
        }
    }

    async fn leases_end(&mut self) {
        self.api
            .sql(
                "update chat_sessions set lease_until = clock_timestamp()
                 where lease_until is not null",
            )
            .await;
        for session in self.truth.sessions.values_mut() {
            session.is_leased = false;
        }
    }

    async fn load(&mut self, session_id: Uuid) {
        let answer = self.api.load(session_id).await;
        let Some(session) = self.truth.sessions.get_mut(&session_id) else {
            answer.assert_problem(404, "session_not_found");
            return;
        };
        session.is_closed = false;
        assert_eq!(answer.body["conversation_length"], session.messages.len());
        let last_ten = session.messages.len().saturating_sub(10);
        assert_said(&answer.body["history"], &session.messages[last_ten..]);
    }

    async fn fork(&mut self, session_id: Uuid, at: usize) {
        let Some(session) = self.truth.sessions.get(&session_id).cloned() else {
            let answer = self.api.fork(session_id, Uuid::now_v7()).await;
            answer.assert_problem(404, "session_not_found");
            return;
        };
        let Some(point) = session.messages.get(at).map(|message| message.id) else {
            let answer = self.api.fork(session_id, Uuid::now_v7()).await;
            answer.assert_problem(404, "message_not_found");
            return;
        };
        let answer = self.api.fork(session_id, point).await;
        let copy_id = answer.id("session_id");
        assert_eq!(answer.body["conversation_length"], at + 1);
        let stored = self.api.history(copy_id, "").await;
        let ids = stored.body["history"].as_array().unwrap().iter();
        let ids = ids.map(|message| message["message_id"].as_str().unwrap().parse().unwrap());
        let messages = session.messages[..=at]
            .iter()
            .zip(ids)
            .map(|(message, id)| Message {
                id,
                rating: None,
                ..message.clone()
            })
            .collect();
        self.truth.uses += 1;
        let copy = Session {
            messages,
            title: session.title,
            own_title: session.own_title,
            used: self.truth.uses,
            ..Session::default()
        };
        self.opened(copy_id, copy);
    }

    async fn change(&mut self, session_id: Uuid, change: Change) {
        let mut body = serde_json::Map::new();
        if let Some(title) = change.title {
            body.insert("title".into(), json!(title));
        }
        if let Some(pinned) = change.pinned {
            body.insert("pinned".into(), json!(pinned));
        }
        if let Some(archived) = change.archived {
            body.insert("archived".into(), json!(archived));
        }
        if let Some(metadata) = change.metadata {
            let metadata = metadata.map(|number| json!({ "n": number }));
            body.insert("metadata".into(), json!(metadata));
        }
        let answer = self.api.change(session_id, Value::Object(body)).await;
        let Some(session) = self.truth.sessions.get_mut(&session_id) else {
            answer.assert_problem(404, "session_not_found");
            return;
        };
        if let Some(title) = change.title {
            session.own_title = title.map(str::to_owned);
        }
        if let Some(metadata) = change.metadata {
            session.metadata = metadata.map(|number| json!({ "n": number }));
        }
        session.is_pinned = change.pinned.unwrap_or(session.is_pinned);
        session.is_archived = change.archived.unwrap_or(session.is_archived);
        assert_is(&answer.body, session);
    }

    async fn feedback(&mut self, session_id: Uuid, at: usize, rating: Option<&'static str>) {
        let exists = self.truth.sessions.contains_key(&session_id);
        let session = self.truth.sessions.get_mut(&session_id);
        let message = session.and_then(|session| session.messages.get_mut(at));
        let message_id = message
            .as_ref()
            .map_or_else(Uuid::now_v7, |message| message.id);
        let body = json!({ "rating": rating });
        let answer = self.api.feedback(session_id, message_id, body).await;
        match message {
            Some(message) if message.answers.is_some() => {
                assert_eq!(answer.status, 200, "{}", answer.body);
                message.rating = rating;
            }
            Some(_) => {
                answer.assert_problem(400, "invalid_request");
            }
            None if exists => {
                answer.assert_problem(404, "message_not_found");
            }
            None => {
                answer.assert_problem(404, "session_not_found");
            }
        }
    }

    async fn erase(&mut self, session_id: Uuid) {
        let answer = self.api.erase(session_id).await;
        match self.truth.sessions.remove(&session_id) {
            None => {
                answer.assert_problem(404, "session_not_found");
            }
            Some(session) => {
                assert_eq!(answer.body["erased_messages"], session.messages.len());
                self.truth.erased.insert(session_id);
            }
        }
    }

    /// Reads a list by pages.
    async fn compare_list(&self, archived: &str, pinned: bool, limit: usize) {
        let mut query = format!("?limit={limit}&archived={archived}");
        if pinned {
            query.push_str("&pinned=true");
        }
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.api.sessions(&format!("{query}{cursor}")).await;
            for session in page.body["sessions"].as_array().unwrap() {
                let session_id: Uuid = session["session_id"].as_str().unwrap().parse().unwrap();
                assert_is(session, &self.truth.sessions[&session_id]);
                listed.push(session_id);
            }
            let Some(next) = page.body["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&after={next}");
        }
        assert_eq!(listed, self.truth.listed(archived, pinned));
    }

    /// Reads what is found by pages, among all sessions or in one.
    async fn compare_search(&self, query: &str, session_id: Option<Uuid>, limit: usize) {
        let mut more = format!("&limit={limit}");
        if let Some(session_id) = session_id {
            more.push_str(&format!("&session_id={session_id}"));
        }
        let (mut found, mut times, mut cursor) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = self.api.search(query, &format!("{more}{cursor}")).await;
            if session_id.is_some_and(|session_id| !self.truth.sessions.contains_key(&session_id)) {
                page.assert_problem(404, "session_not_found");
                return;
            }
            for result in page.body["results"].as_array().unwrap() {
                let id =
                    |member: &str| -> Uuid { result[member].as_str().unwrap().parse().unwrap() };
                found.push((id("session_id"), id("message_id")));
                times.push(result["timestamp"].as_str().unwrap().to_owned());
            }
            let Some(next) = page.body["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&after={next}");
        }
        assert!(
            times.is_sorted_by(|newer, older| newer >= older),
            "{times:?}"
        );
        found.sort_unstable();
        let sessions = self.truth.sessions.iter();
        let mut expected: Vec<_> = sessions
            .filter(|(id, _)| session_id.is_none_or(|session_id| session_id == **id))
            .flat_map(|(id, session)| session.messages.iter().map(move |message| (*id, message)))
            .filter(|(_, message)| message.content.split(' ').any(|word| word == query))
            .map(|(id, message)| (id, message.id))
            .collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{query}");
    }

    /// Reads everything, or one session, as its owner takes it along.
    async fn compare_export(&self, session_id: Option<Uuid>) {
        let query = session_id.map_or(String::new(), |id| format!("?session_id={id}"));
        let exported = self.api.export(&query).await;
        if session_id.is_some_and(|session_id| !self.truth.sessions.contains_key(&session_id)) {
            exported.assert_problem(404, "session_not_found");
            return;
        }
        let lines = exported.body.as_array().unwrap();
        let mut found: Vec<Uuid> = Vec::new();
        for session in lines.chunk_by(|_, next| next["type"] == "message") {
            let session_id: Uuid = session[0]["session_id"].as_str().unwrap().parse().unwrap();
            let expected = &self.truth.sessions[&session_id];
            assert_is(&session[0], expected);
            assert_said(&json!(session[1..]), &expected.messages);
            found.push(session_id);
        }
        found.sort_unstable();
        let expected: Vec<Uuid> = match session_id {
            Some(session_id) => vec![session_id],
            None => self.truth.sessions.keys().copied().collect(),
        };
        assert_eq!(found, expected);
    }

    async fn reset(&mut self, session_id: Uuid) {
        let answer = self.api.reset(session_id).await;
        match self.truth.sessions.get_mut(&session_id) {
            None => {
                answer.assert_problem(404, "session_not_found");
            }
            Some(session) => {
                session.is_closed = true;
                self.opened(answer.id("new_session_id"), Session::default());
            }
        }
    }

    fn opened(&mut self, session_id: Uuid, session: Session) {
        assert!(self.truth.sessions.insert(session_id, session).is_none());
        self.sessions.push(session_id);
    }

    async fn compare_history(&self, session_id: Uuid) {
        let answer = self.api.history(session_id, "").await;
        let Some(session) = self.truth.sessions.get(&session_id) else {
            answer.assert_problem(404, "session_not_found");
            return;
        };
        assert_eq!(answer.body["message_count"], session.messages.len());
        assert_said(&answer.body["history"], &session.messages);
    }

    async fn compare_status(&self, session_id: Uuid) {
        let answer = self.api.status(session_id).await;
        let Some(session) = self.truth.sessions.get(&session_id) else {
            answer.assert_problem(404, "session_not_found");
            return;
        };
        let expected = match session {
            Session {
                is_closed: true, ..
            } => "inactive",
            Session { messages, .. } if messages.is_empty() => "new_session",
            _ => "active",
        };
        assert_eq!(answer.body["status"], expected);
        let answers = session
            .messages
            .iter()
            .filter(|one| one.answers.is_some())
            .count();
        let stats = &answer.body["session_stats"];
        assert_eq!(stats["assistant_messages"], answers);
        assert_eq!(stats["user_messages"], session.messages.len() - answers);
        assert_eq!(
            (&stats["input_tokens"], &stats["output_tokens"]),
            (&json!(12 * answers), &json!(30 * answers))
        );
    }

    /// Compares all stored data.
    async fn compare(&self) {
        self.api.verify().await;
        for session_id in &self.sessions {
            self.compare_history(*session_id).await;
            self.compare_status(*session_id).await;
        }
        self.compare_list("all", false, 100).await;
        for query in QUERIES {
            self.compare_search(query, None, 3).await;
        }
        self.compare_export(None).await;
        let stored = "select count(*) from chat_sessions where erased_at is null";
        let stored = self.api.number(stored).await;
        assert_eq!(stored, i64::try_from(self.truth.sessions.len()).unwrap());
    }
}

/// A caller without an authorizer.
fn nobody() -> Caller {
    Caller {
        owner: None,
        permissions: Permissions::default(),
        deadline: Instant::now() + Duration::from_secs(29),
    }
}

/// Asserts that a session in a list, or alone, is as it should be.
fn assert_is(found: &Value, session: &Session) {
    let found = json!([
        found["title"],
        found["pinned"],
        found["archived"],
        found["metadata"],
        found["message_count"],
        found["status"] == "inactive",
    ]);
    let expected = json!([
        session.own_title.as_ref().or(session.title.as_ref()),
        session.is_pinned,
        session.is_archived,
        session.metadata,
        session.messages.len(),
        session.is_closed,
    ]);
    assert_eq!(found, expected);
}

fn assert_said(history: &Value, messages: &[Message]) {
    let said: Vec<Value> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            let rating = &message["feedback"]["rating"];
            json!([
                message["role"],
                message["content"],
                message["message_id"],
                rating
            ])
        })
        .collect();
    let expected: Vec<Value> = messages
        .iter()
        .map(|message| {
            let role = if message.answers.is_some() {
                "assistant"
            } else {
                "user"
            };
            json!([role, message.content, message.id, message.rating])
        })
        .collect();
    assert_eq!(said, expected);
}

#[test]
fn any_sequence_of_operations_follows_the_contract() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cases = std::env::var("PROPTEST_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&proptest::collection::vec(step(), 1..25), |steps| {
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.step(step).await;
            }
            world.compare().await;
        });
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, steps)) => {
            panic!("{reason}\nthe shortest sequence: {steps:#?}")
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}
