//! `cargo run -- chat`: a conversation in the terminal, with a deployed API or one inside this process.
//!
//! Standard output gets the answers and nothing else; what is said about them goes to standard error.

mod client;
mod events;
mod failure;
mod interrupts;
mod patience;
mod prompt;
mod sheet;
mod turn;

use std::env;
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;
use shared::ids::{new_id, parse_id};
use shared::settings;
use tokio::sync::SetOnce;
use tokio::time::sleep;
use uuid::Uuid;

use client::{Client, is_loopback};
use events::{Answer, Events, Started};
use interrupts::Interrupts;
use prompt::Prompt;
use sheet::printable;
use turn::{End, Turn};

use crate::error::LocalError;
use crate::in_process::InProcess;

/// The variable with the token of the caller.
const TOKEN: &str = "DAISSY_TOKEN";

/// How many messages of a session are shown when it goes on.
const SHOWN_MESSAGES: usize = 4;

/// How often the server is told to stop an answer, until it has ended: a turn that was interrupted meanwhile and
/// begun again has to be told again.
const STOP_INTERVAL: Duration = Duration::from_secs(1);

/// What the conversation goes on with, and where.
#[derive(Debug, Default)]
pub(crate) struct Options {
    session: Option<String>,
    url: Option<String>,
}

impl Options {
    /// Reads the arguments after the command; `None` if they are not such.
    pub(crate) fn read(arguments: &[&str]) -> Option<Self> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let option = match *argument {
                "--session" => &mut options.session,
                "--url" => &mut options.url,
                _ => return None,
            };
            if option.replace((*rest.next()?).to_owned()).is_some() {
                return None;
            }
        }
        Some(options)
    }
}

/// Holds a conversation until there are no more questions.
pub(crate) async fn chat(options: Options) -> Result<(), LocalError> {
    let session_id = options.session.as_deref().map(session).transpose()?;
    let token = settings::text(|name| env::var(name).ok(), TOKEN);
    let address = options.url.as_deref().map(address).transpose()?;
    let Some(address) = address else {
        let mut api = InProcess::start().await?;
        let client = address_of(&api).and_then(|address| Client::new(address, token.as_deref()));
        let ended = match client {
            Ok(client) => tokio::select! {
                ended = converse(client, session_id, "") => ended,
                error = api.database.keep_up() => Err(error),
            },
            Err(error) => Err(error),
        };
        api.close().await;
        return ended;
    };
    if token.is_some() && address.scheme() == "http" && !is_loopback(&address) {
        eprintln!("warning: the token and the conversation are sent unencrypted; use https");
    }
    let how = format!(" --url {address}");
    let client = Client::new(address, token.as_deref())?;
    converse(client, session_id, &how).await
}

/// Holds a conversation with the API of `client`; `how` are the arguments that lead there again.
async fn converse(client: Client, session_id: Option<Uuid>, how: &str) -> Result<(), LocalError> {
    let in_progress = reach(&client, session_id).await?;
    let mut conversation = Conversation {
        client,
        session_id,
        interrupts: Interrupts::catch()?,
        unanswered: 0,
    };
    if let Some(session_id) = session_id {
        conversation.show_last(session_id).await;
    }
    if let Some(events) = in_progress {
        let turn = Turn::in_progress(session_id);
        conversation.take(turn, Some(events)).await?;
    }
    let mut prompt = Prompt::new();
    if prompt.is_terminal {
        eprintln!("Ctrl-C stops an answer, Ctrl-D ends the conversation.");
    }
    while let Some(query) = conversation.question(&mut prompt).await? {
        let turn = Turn::with(conversation.session_id, query);
        conversation.take(turn, None).await?;
    }
    if let Some(session_id) = conversation.session_id {
        eprintln!("Go on with: cargo run -- chat --session {session_id}{how}");
    }
    match conversation.unanswered {
        // A person has seen it; a script has not.
        count if count > 0 && !prompt.is_terminal => {
            Err(LocalError::new(format!("{count} question(s) not answered")))
        }
        _ => Ok(()),
    }
}

/// Finds out whether the API can be used, because nobody should have to type a question first, and whether the
/// session exists. Returns the events of the turn that is in progress in it, if there is one.
async fn reach(client: &Client, session_id: Option<Uuid>) -> Result<Option<Events>, LocalError> {
    // A session that does not exist is as good for a test of the connection.
    let asked = client.resume(session_id.unwrap_or_else(new_id), None, None);
    match asked.await {
        Ok(in_progress) => Ok(in_progress),
        Err(failure) if failure.is_session_not_found() && session_id.is_none() => Ok(None),
        Err(failure) => Err(LocalError::new(failure.detail)),
    }
}

/// A conversation.
struct Conversation {
    client: Client,
    session_id: Option<Uuid>,
    interrupts: Interrupts,
    unanswered: usize,
}

impl Conversation {
    /// Shows the end of the conversation so far. Where streams have an address of their own, the history is at
    /// another one; then nothing is shown.
    async fn show_last(&self, session_id: Uuid) {
        let said = self.client.last_messages(session_id, SHOWN_MESSAGES).await;
        for message in said.unwrap_or_default() {
            let sign = if message.role == "user" { "> " } else { "" };
            eprintln!("{sign}{}", printable(&message.content));
        }
    }

    /// The next question. Where a terminal is edited, Ctrl-C is a key; elsewhere it ends the conversation.
    async fn question(&mut self, prompt: &mut Prompt) -> Result<Option<String>, LocalError> {
        if prompt.is_terminal {
            return prompt.next().await;
        }
        tokio::select! {
            line = prompt.next() => line,
            () = self.interrupts.next() => Ok(None),
        }
    }

    /// Takes a turn to its end. The first Ctrl-C stops the answer, the second one stops waiting for that.
    async fn take(&mut self, mut turn: Turn, events: Option<Events>) -> Result<(), LocalError> {
        let started = SetOnce::new();
        self.interrupts.forget();
        let end = tokio::select! {
            biased;
            end = turn.take(&self.client, events, &started) => Some(end),
            () = stop(&self.client, &mut self.interrupts, &started) => None,
        };
        self.session_id = self
            .session_id
            .or(started.get().map(|turn| turn.session_id));
        match end {
            Some(Ok(End::Answered(answer))) => remark(&answer),
            Some(Ok(End::Failed(failure))) => {
                self.unanswered += 1;
                eprintln!("error: {}", failure.detail);
            }
            Some(Err(error)) => {
                return Err(LocalError::new(format!("cannot write the answer: {error}")));
            }
            None => {
                self.unanswered += 1;
                eprintln!("\nThe answer was left alone; it may still be stored in the session.");
            }
        }
        Ok(())
    }
}

/// Stops the turn once there is an interrupt. Returns only with the next one.
async fn stop(client: &Client, interrupts: &mut Interrupts, started: &SetOnce<Started>) {
    interrupts.next().await;
    let stopping = async {
        let turn = started.wait().await;
        loop {
            let stopped = client.stop(turn.session_id, turn.message_id).await;
            if let Err(failure) = stopped
                && !failure.is_temporary
            {
                eprintln!("\nerror: {}", failure.detail);
                return std::future::pending().await;
            }
            sleep(STOP_INTERVAL).await;
        }
    };
    tokio::select! {
        () = stopping => {}
        () = interrupts.next() => {}
    }
}

/// Says what an answer has beside its text.
fn remark(answer: &Answer) {
    for recording in &answer.audio_files {
        eprintln!("  ♪ {}", printable(&described(recording)));
    }
    match answer.finish_reason.as_deref() {
        None | Some("stop") => {}
        Some(reason) => eprintln!("  (ended early: {})", printable(reason)),
    }
}

/// A recording in a line.
fn described(recording: &Value) -> String {
    let text = |name| recording[name].as_str().map(str::to_owned);
    let parts = [text("title"), text("file_path")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        recording.to_string()
    } else {
        parts.join(", ")
    }
}

fn session(text: &str) -> Result<Uuid, LocalError> {
    parse_id(text).ok_or_else(|| LocalError::new("--session needs the id of a session, a UUID"))
}

/// The address of an API: http or https, with a path if it has a stage, and nothing else.
fn address(text: &str) -> Result<Url, LocalError> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .filter(|url| url.username().is_empty() && url.password().is_none())
        .filter(|url| url.query().is_none() && url.fragment().is_none())
        .ok_or_else(|| {
            LocalError::new("--url needs the address of an API, such as https://api.example/prod")
        })
}

fn address_of(api: &InProcess) -> Result<Url, LocalError> {
    address(&api.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_any_order_and_each_once() {
        let read = |arguments: &[&str]| {
            let options = Options::read(arguments)?;
            Some((options.session, options.url))
        };
        let both = Some((Some("s".to_owned()), Some("u".to_owned())));
        assert_eq!(read(&["--session", "s", "--url", "u"]), both);
        assert_eq!(read(&["--url", "u", "--session", "s"]), both);
        assert_eq!(read(&[]), Some((None, None)));
        for arguments in [
            &["--session"][..],
            &["--url", "u", "--url", "u"],
            &["--token", "t"],
            &["Hello"],
        ] {
            assert_eq!(read(arguments), None, "{arguments:?}");
        }
    }

    #[test]
    fn an_address_has_a_host_and_perhaps_a_stage_but_no_password() {
        for text in [
            "https://api.example",
            "https://api.example/prod/",
            "http://[::1]:8000",
        ] {
            assert!(address(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "api.example",
            "localhost:8000",
            "ftp://api.example",
            "https://",
            "https://alice:hunter2@api.example",
            "https://api.example/?a=b",
            "https://api.example/#a",
        ] {
            let error = address(text).unwrap_err().to_string();
            assert!(error.contains("--url"), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn a_recording_is_described_by_what_is_known_of_it() {
        let whole = serde_json::json!({ "title": "Sleep", "file_path": "s.mp3", "summary": "…" });
        assert_eq!(described(&whole), "Sleep, s.mp3");
        let other = serde_json::json!({ "id": 7 });
        assert_eq!(described(&other), r#"{"id":7}"#);
    }
}
