//! Many callers at once, two of them the same person, who do everything that a caller can, while `maintain` erases
//! and fills the index for searching: nobody sees a word of another one, nothing fails, and the data stays whole.
//!
//! A longer run: `CROWD_SECONDS=60 cargo test --workspace crowd`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use support::TestApi;
use support::api::Answer;
use support::issuer::Issuer;
use support::maintain::maintain;

const CALLERS: usize = 10;

/// How long they go on, unless `CROWD_SECONDS` says otherwise.
const SECONDS: u64 = 4;

/// A caller, and the sessions it has seen.
struct Caller {
    api: TestApi,
    name: String,
    sessions: Vec<String>,
    /// What it does next is taken from here.
    state: u64,
    /// How many turns it took.
    turns: usize,
    /// How many messages it found.
    found: usize,
}

impl Caller {
    /// A number below `bound`, from Knuth's generator of the MMIX computer.
    fn choose(&mut self, bound: usize) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap() % bound
    }

    fn session(&mut self) -> String {
        if self.sessions.is_empty() {
            return Uuid::now_v7().to_string();
        }
        let n = self.choose(self.sessions.len());
        self.sessions[n].clone()
    }

    async fn step(&mut self) {
        let session = self.session();
        match self.choose(12) {
            0..=2 => {
                let session = match self.choose(3) {
                    0 => Uuid::now_v7().to_string(),
                    _ => session,
                };
                // A word that only this turn has.
                let word = format!("w{}x{}", self.turns, self.state);
                let query = format!("{} asks {word}", self.name);
                let turn = self
                    .api
                    .chat(json!({ "query": query, "session_id": session }))
                    .await;
                self.check(&turn, &[200, 404, 409]);
                if turn.status == 200 {
                    self.turns += 1;
                    // It is found at once, unless the other one of this person has erased it by now.
                    let more = format!("&role=user&session_id={session}");
                    let found = self.api.search(&word, &more).await;
                    self.check(&found, &[200, 404]);
                    if found.status == 200 {
                        let found = found.body["results"].as_array().unwrap().len();
                        assert_eq!(found, 1, "{query} in {session}");
                    }
                    if !self.sessions.contains(&session) {
                        self.sessions.push(session);
                    }
                }
            }
            3 => {
                let page = self.api.sessions("?limit=5&archived=all").await;
                self.check(&page, &[200]);
                for listed in page.body["sessions"].as_array().unwrap() {
                    let title = listed["title"].as_str().unwrap();
                    assert!(title.starts_with(&self.name), "{title}");
                    let id = listed["session_id"].as_str().unwrap().to_owned();
                    if !self.sessions.contains(&id) {
                        self.sessions.push(id);
                    }
                }
            }
            4 => {
                let change = json!({
                    "title": format!("{} renames", self.name),
                    "pinned": self.choose(2) == 0,
                    "archived": self.choose(2) == 0,
                });
                let changed = self.api.change(session, change).await;
                self.check(&changed, &[200, 404]);
            }
            5 => {
                let history = self.api.history(&session, "?limit=2&order=desc").await;
                self.check(&history, &[200, 404]);
                if let Some(answer) = history.body["history"].get(0) {
                    let id = answer["message_id"].as_str().unwrap();
                    let given = self
                        .api
                        .feedback(&session, id, json!({ "rating": "up" }))
                        .await;
                    self.check(&given, &[200, 400, 404]);
                }
            }
            6 => {
                let exported = self.api.export("").await;
                self.check(&exported, &[200]);
                for line in exported.body.as_array().unwrap() {
                    if line["role"] == "user" {
                        let content = line["content"].as_str().unwrap();
                        assert!(content.starts_with(&self.name), "{content}");
                    }
                }
            }
            7 => {
                let status = self.api.status(&session).await;
                self.check(&status, &[200, 404]);
                let found = self.api.find(&session).await;
                self.check(&found, &[200, 404]);
            }
            8 => {
                let history = self.api.history(&session, "?limit=1").await;
                if let Some(first) = history.body["history"].get(0) {
                    let copy = self
                        .api
                        .fork(&session, first["message_id"].as_str().unwrap())
                        .await;
                    self.check(&copy, &[200, 404]);
                }
            }
            9 => {
                let found = self.api.search("ask", "&limit=50&role=user").await;
                self.check(&found, &[200]);
                for hit in found.body["results"].as_array().unwrap() {
                    let snippet = hit["snippet"].as_str().unwrap();
                    assert!(snippet.starts_with(&self.name), "{snippet}");
                    self.found += 1;
                }
            }
            10 => {
                let other = format!("person {}", self.choose(CALLERS - 1));
                if !self.name.starts_with(&other.replace(' ', "-")) {
                    let found = self.api.search(&format!("\"{other}\""), "").await;
                    self.check(&found, &[200]);
                    assert_eq!(
                        found.body["results"],
                        json!([]),
                        "{} found {other}",
                        self.name
                    );
                }
            }
            _ => {
                let erased = self.api.erase(&session).await;
                self.check(&erased, &[200, 404]);
                // The other one of this person may not know yet.
                self.sessions.retain(|known| *known != session);
            }
        }
    }

    fn check(&self, answer: &Answer, expected: &[u16]) {
        assert!(
            expected.contains(&answer.status),
            "{}: {}",
            self.name,
            answer.body
        );
    }
}

#[tokio::test]
async fn many_callers_do_everything_at_once_and_see_only_their_own() {
    let issuer = Issuer::start().await;
    let settings = [&issuer.settings()[..], &[("DATABASE_CONNECTIONS", "8")]].concat();
    let api = TestApi::with_settings(&settings).await;
    let seconds = std::env::var("CROWD_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);

    let callers = (0..CALLERS).map(|n| {
        // The last is the first one's other self.
        let name = format!("person-{}.", n % (CALLERS - 1));
        let mut caller = Caller {
            api: api.with_token(issuer.token(&name)),
            name,
            sessions: Vec::new(),
            state: u64::try_from(n).unwrap(),
            turns: 0,
            found: 0,
        };
        async move {
            let mut steps = 0;
            while Instant::now() < until {
                caller.step().await;
                steps += 1;
            }
            (steps, caller.turns, caller.found)
        }
    });
    let maintaining = async {
        let (mut runs, mut indexed) = (0, 0);
        while Instant::now() < until {
            let report = maintain(&api, &[], json!({})).await;
            runs += 1;
            indexed += report["indexed"].as_i64().unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        (runs, indexed)
    };
    let (done, (runs, indexed)) =
        tokio::join!(futures_util::future::join_all(callers), maintaining);
    let (steps, turns, found) = done.iter().fold((0, 0, 0), |sum, one| {
        (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2)
    });
    println!("{steps} steps, {turns} turns, {found} found; {runs} runs, {indexed} indexed");

    // How many depends on the machine.
    assert!(steps > 2 * CALLERS, "{steps}");
    assert!(found > 0 && indexed > 0, "{found} found, {indexed} indexed");
    api.verify().await;
    let report = maintain(&api, &[], json!({})).await;
    assert_eq!(report["complete"], true, "{report}");
    for left in [
        "select count(*) from chat_erasures where finished_at is null",
        "select count(*) from chat_sessions where erased_at is not null",
        "select count(*) from chat_erasures join chat_sessions using (session_id)",
        "select (select count(*) from chat_messages) - (select count(*) from chat_search)",
    ] {
        assert_eq!(api.number(left).await, 0, "{left}");
    }
    assert!(api.number("select count(*) from chat_erasures").await > 0);
    api.verify().await;
    let foreign: Value = json!(
        api.number(
            "select count(*) from chat_sessions s join chat_messages m using (session_id)
         where m.role = 'user' and m.content not like replace(s.owner, 'jwt:', '') || '%'"
        )
        .await
    );
    assert_eq!(foreign, 0);
}
