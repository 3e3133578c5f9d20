//! Conversations of other programs, rewritten as an export of ours: what ChatGPT exports
//! (`conversations.json`), what LibreChat exports, messages of OpenAI's threads and items of its
//! conversations as its API lists them, and rows of a table of langchain-postgres.
//!
//! Here every answer has one question. So what the assistant said in several messages is one answer, what it
//! said before any question cannot be kept, and of a conversation that branches one branch is taken: the one
//! that was shown last. Messages of systems and tools are left out.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use openssl::sha::sha256;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::{Value, json};
use shared::time::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::{Builder, Uuid};

use crate::error::LocalError;

/// How much of a file tells what it is.
const BEGINNING: usize = 64;

/// What was rewritten.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub conversations: usize,
    /// Answers before any question.
    pub left_out: usize,
    /// Things in the file that are no conversation.
    pub unknown: usize,
}

/// A conversation of another program.
struct Conversation {
    id: String,
    title: Option<String>,
    said: Vec<Said>,
}

/// A message of it.
#[derive(Debug)]
struct Said {
    id: String,
    is_users: bool,
    text: String,
    at: Option<OffsetDateTime>,
    model: Option<String>,
}

/// Whether a file was not written by us.
///
/// # Errors
/// When it cannot be read.
pub(super) fn is_foreign(file: &Path) -> Result<bool, LocalError> {
    let cannot = |error| LocalError::new(format!("cannot read {}: {error}", file.display()));
    let mut beginning = Vec::new();
    let opened = File::open(file).map_err(cannot)?;
    BufReader::new(opened)
        .take(BEGINNING as u64)
        .read_to_end(&mut beginning)
        .map_err(cannot)?;
    let beginning = String::from_utf8_lossy(&beginning);
    let beginning: String = beginning
        .chars()
        .filter(|one| !one.is_whitespace())
        .collect();
    let is_json = beginning.starts_with(['[', '{']);
    let is_ours = ["session", "message"]
        .iter()
        .any(|kind| beginning.starts_with(&format!("{{\"type\":\"{kind}\",\"session_id\"")));
    Ok(is_json && !is_ours)
}

/// Rewrites the conversations in `from` as an export to `to`, one at a time.
///
/// # Errors
/// When a file cannot be read or written, or is not JSON.
pub(super) fn rewrite(from: &Path, to: &Path) -> Result<Rewritten, LocalError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        LocalError::new(format!("cannot read {}: {error}", from.display()))
    };
    let mut source = File::open(from).map_err(|error| unreadable(&error))?;
    let target = File::create(to)
        .map_err(|error| LocalError::new(format!("cannot write {}: {error}", to.display())))?;
    let mut rewriter = Rewriter {
        output: BufWriter::new(target),
        rewritten: Rewritten::default(),
        row_session: None,
        failure: None,
    };
    let mut first = [0];
    loop {
        let read = source
            .read(&mut first)
            .map_err(|error| unreadable(&error))?;
        if read == 0 || !first[0].is_ascii_whitespace() {
            break;
        }
    }
    source
        .seek(SeekFrom::Start(0))
        .map_err(|error| unreadable(&error))?;
    let reader = BufReader::new(source);
    // The parser's text can quote the file.
    let parsed = if first[0] == b'[' {
        let mut values = serde_json::Deserializer::from_reader(reader);
        values.deserialize_seq(&mut rewriter)
    } else {
        serde_json::Deserializer::from_reader(reader)
            .into_iter::<Value>()
            .try_for_each(|value| {
                rewriter.take(value?);
                Ok(())
            })
    };
    parsed.map_err(|error: serde_json::Error| {
        unreadable(&format!(
            "not JSON at line {} column {}",
            error.line(),
            error.column()
        ))
    })?;
    rewriter.end_rows();
    let flushed = rewriter.output.flush();
    if let Some(error) = rewriter.failure.or(flushed.err()) {
        return Err(LocalError::new(format!(
            "cannot write {}: {error}",
            to.display()
        )));
    }
    Ok(rewriter.rewritten)
}

struct Rewriter {
    output: BufWriter<File>,
    rewritten: Rewritten,
    /// The session whose rows are being read; those of a session follow each other.
    row_session: Option<Conversation>,
    failure: Option<std::io::Error>,
}

impl<'de> Visitor<'de> for &mut Rewriter {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while let Some(value) = values.next_element()? {
            self.take(value);
        }
        Ok(())
    }
}

impl Rewriter {
    fn take(&mut self, value: Value) {
        if value["message"].is_object() && value["session_id"].is_string() {
            return self.take_row(&value);
        }
        let found = if value["mapping"].is_object() {
            Some(of_chatgpt(&value))
        } else if value["conversationId"].is_string() {
            Some(of_librechat(&value))
        } else if value["object"] == "list" {
            of_openai(&value)
        } else {
            None
        };
        match found {
            Some(conversation) => self.write(conversation),
            None => self.rewritten.unknown += 1,
        }
    }

    /// Takes a row of langchain-postgres.
    fn take_row(&mut self, row: &Value) {
        let id = text(&row["session_id"]);
        if self
            .row_session
            .as_ref()
            .is_none_or(|session| session.id != id)
        {
            self.end_rows();
            self.row_session = Some(Conversation {
                id: id.clone(),
                title: None,
                said: Vec::new(),
            });
        }
        let (message, place) = (&row["message"], row["id"].to_string());
        let is_users = match message["type"].as_str() {
            Some("human") => true,
            Some("ai") => false,
            _ => return,
        };
        if let Some(session) = &mut self.row_session {
            session.said.push(Said {
                id: format!("{id}/{place}"),
                is_users,
                text: parts(&message["data"]["content"]),
                at: row["created_at"].as_str().and_then(parse_time),
                model: some_text(&message["data"]["response_metadata"]["model_name"]),
            });
        }
    }

    fn end_rows(&mut self) {
        if let Some(session) = self.row_session.take() {
            self.write(session);
        }
    }

    fn write(&mut self, conversation: Conversation) {
        let (lines, left_out) = conversation.lines();
        self.rewritten.left_out += left_out;
        self.rewritten.conversations += 1;
        for line in lines {
            if let Err(error) = writeln!(self.output, "{line}") {
                self.failure.get_or_insert(error);
            }
        }
    }
}

impl Conversation {
    /// Its lines, and how many of its messages are not in them.
    fn lines(self) -> (Vec<String>, usize) {
        let session_id = id("session", &self.id);
        let (mut kept, mut left_out): (Vec<Said>, usize) = (Vec::new(), 0);
        for said in self.said {
            if said.text.trim().is_empty() {
                continue;
            }
            match kept.last_mut() {
                None if !said.is_users => left_out += 1,
                Some(last) if !last.is_users && !said.is_users => {
                    last.text.push_str("\n\n");
                    last.text.push_str(&said.text);
                }
                _ => kept.push(said),
            }
        }

        let mut at = kept
            .iter()
            .find_map(|said| said.at)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let session = json!({
            "type": "session",
            "session_id": session_id,
            "title": self.title.map(|title| without_nul(&title)),
            "created_at": Timestamp(at),
        });
        let mut lines = vec![session.to_string()];
        for (index, said) in kept.iter().enumerate() {
            // Times do not run backwards, and a message without one follows the one before it.
            at = at.max(said.at.unwrap_or(at));
            let message = json!({
                "type": "message",
                "session_id": session_id,
                "seq": index + 1,
                "reply_to_seq": (!said.is_users).then_some(index),
                "role": if said.is_users { "user" } else { "assistant" },
                "content": without_nul(&said.text),
                "message_id": id("message", &said.id),
                "timestamp": Timestamp(at),
                "model": said.model.as_deref().map(without_nul),
            });
            lines.push(message.to_string());
        }
        (lines, left_out)
    }
}

/// A UUID as it is; of any other id a digest, which is the same each time.
fn id(kind: &str, text: &str) -> Uuid {
    Uuid::try_parse(text).unwrap_or_else(|_| {
        let digest = sha256(format!("{kind}\0{text}").as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Builder::from_custom_bytes(bytes).into_uuid()
    })
}

fn of_chatgpt(value: &Value) -> Conversation {
    let mapping = &value["mapping"];
    // From the message that was shown last to the first one.
    let (mut said, mut node) = (Vec::new(), &value["current_node"]);
    let most = mapping.as_object().map_or(0, serde_json::Map::len);
    for _ in 0..most {
        let Some(entry) = node.as_str().and_then(|name| mapping.get(name)) else {
            break;
        };
        let message = &entry["message"];
        let is_users = message["author"]["role"] == "user";
        let is_assistants = message["author"]["role"] == "assistant"
            && matches!(message["recipient"].as_str(), None | Some("all"));
        let is_hidden = message["metadata"]["is_visually_hidden_from_conversation"] == true;
        let kind = message["content"]["content_type"].as_str();
        if (is_users || is_assistants)
            && !is_hidden
            && matches!(kind, Some("text" | "multimodal_text" | "code"))
        {
            let content = &message["content"];
            said.push(Said {
                id: text(&message["id"]),
                is_users,
                text: parts(if content["parts"].is_array() {
                    &content["parts"]
                } else {
                    &content["text"]
                }),
                at: message["create_time"].as_f64().and_then(from_seconds),
                model: some_text(&message["metadata"]["model_slug"]),
            });
        }
        node = &entry["parent"];
    }
    said.reverse();
    Conversation {
        id: some_text(&value["conversation_id"]).unwrap_or_else(|| text(&value["id"])),
        title: some_text(&value["title"]),
        said,
    }
}

fn of_librechat(value: &Value) -> Conversation {
    let mut said = Vec::new();
    let mut add = |message: &Value| {
        let content = &message["content"];
        said.push((
            text(&message["parentMessageId"]),
            Said {
                id: text(&message["messageId"]),
                is_users: message["isCreatedByUser"] == true,
                text: match message["text"].as_str() {
                    Some(text) if !text.is_empty() => text.to_owned(),
                    _ => parts(content),
                },
                at: message["createdAt"].as_str().and_then(parse_time),
                model: some_text(&message["model"]),
            },
        ));
    };
    match (&value["messages"], &value["messagesTree"]) {
        (Value::Array(messages), _) => messages.iter().for_each(&mut add),
        (_, Value::Array(tree)) => {
            // The last child is the branch that was begun last.
            let mut children = tree;
            while let Some(message) = children.last() {
                add(message);
                match &message["children"] {
                    Value::Array(next) => children = next,
                    _ => break,
                }
            }
        }
        _ => {}
    }
    Conversation {
        id: text(&value["conversationId"]),
        title: some_text(&value["title"]),
        said: last_branch(said),
    }
}

/// Of messages with their parents, those that lead to the last one; all of them if they are not linked.
fn last_branch(mut messages: Vec<(String, Said)>) -> Vec<Said> {
    let is_linked = messages
        .windows(2)
        .any(|pair| messages.iter().any(|(_, said)| said.id == pair[1].0));
    let mut branch = Vec::new();
    if !is_linked {
        return messages.into_iter().map(|(_, said)| said).collect();
    }
    let mut wanted = messages.last().map(|(_, said)| said.id.clone());
    while let Some(name) = wanted {
        let Some(place) = messages.iter().rposition(|(_, said)| said.id == name) else {
            break;
        };
        let (parent, said) = messages.swap_remove(place);
        branch.push(said);
        wanted = Some(parent);
    }
    branch.reverse();
    branch
}

fn of_openai(value: &Value) -> Option<Conversation> {
    let items = value["data"].as_array()?;
    let mut said = Vec::new();
    for item in items {
        let is_message = item["object"] == "thread.message" || item["type"] == "message";
        let is_users = match item["role"].as_str() {
            Some("user") => true,
            Some("assistant") => false,
            _ => continue,
        };
        if is_message {
            said.push(Said {
                id: text(&item["id"]),
                is_users,
                text: parts(&item["content"]),
                at: item["created_at"].as_f64().and_then(from_seconds),
                model: None,
            });
        }
    }
    let first = said.first()?;
    let id = items.iter().find_map(|item| some_text(&item["thread_id"]));
    let id = id.unwrap_or_else(|| first.id.clone());
    // Threads are listed with the latest message first, unless they were asked for in order.
    let last = said.last()?;
    if first.at > last.at {
        said.reverse();
    }
    Some(Conversation {
        id,
        title: None,
        said,
    })
}

/// The text of content, which is a string or a list of strings and objects with a text.
fn parts(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let texts: Vec<String> = items
                .iter()
                .map(parts)
                .filter(|text| !text.is_empty())
                .collect();
            texts.join("\n")
        }
        Value::Object(item) => match item.get("text") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Object(text)) => text.get("value").map(self::text).unwrap_or_default(),
            _ => String::new(),
        },
        _ => String::new(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn some_text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// PostgreSQL stores no U+0000.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn from_seconds(seconds: f64) -> Option<OffsetDateTime> {
    // In microseconds, as we store it; the cast loses nothing for times of this era.
    let microseconds = (seconds * 1e6).round() as i128;
    OffsetDateTime::from_unix_timestamp_nanos(microseconds * 1000).ok()
}

fn parse_time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rewrites a file, and returns who said what in each conversation.
    fn rewritten(content: &str) -> (Rewritten, Vec<Vec<(String, String)>>) {
        let folder = std::env::temp_dir().join(Uuid::new_v4().to_string());
        std::fs::create_dir(&folder).unwrap();
        let (from, to) = (folder.join("from"), folder.join("to"));
        std::fs::write(&from, content).unwrap();
        assert!(is_foreign(&from).unwrap(), "{content}");
        let counts = rewrite(&from, &to).unwrap();
        assert!(!is_foreign(&to).unwrap());
        let mut sessions = Vec::new();
        for line in std::fs::read_to_string(&to).unwrap().lines() {
            super::super::line::Line::read(line.as_bytes()).unwrap();
            let line: Value = serde_json::from_str(line).unwrap();
            match sessions.last_mut() {
                Some(said) if line["type"] == "message" => {
                    Vec::push(said, (text(&line["role"]), text(&line["content"])));
                }
                _ => sessions.push(Vec::new()),
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
        (counts, sessions)
    }

    fn said(lines: &[(&str, &str)]) -> Vec<(String, String)> {
        lines
            .iter()
            .map(|(role, text)| ((*role).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn of_chatgpt_the_branch_that_was_shown_is_taken() {
        let (counts, sessions) = rewritten(include_str!("testdata/chatgpt.json"));
        assert_eq!(
            (counts.conversations, counts.left_out, counts.unknown),
            (2, 1, 0)
        );
        let first = said(&[
            ("user", "How do I fall asleep?"),
            ("assistant", "Let me look.\n\nGo to bed at the same time."),
            ("user", "And a picture?\nOf this"),
        ]);
        assert_eq!(
            sessions,
            [first, said(&[("user", "Hi"), ("assistant", "Hello")])]
        );
    }

    #[test]
    fn of_librechat_both_forms_are_read() {
        let expected = said(&[
            ("user", "One"),
            ("assistant", "Second answer"),
            ("user", "Two"),
        ]);
        for file in [
            include_str!("testdata/librechat.json"),
            include_str!("testdata/librechat-tree.json"),
        ] {
            let (counts, sessions) = rewritten(file);
            assert_eq!((counts.conversations, counts.left_out), (1, 0));
            assert_eq!(sessions, std::slice::from_ref(&expected));
        }
    }

    #[test]
    fn of_openai_threads_and_conversations_are_in_order() {
        let expected = said(&[("user", "Hi"), ("assistant", "Hello"), ("user", "And?")]);
        let thread = include_str!("testdata/openai-thread.json");
        let conversation = include_str!("testdata/openai-conversation.json");
        for file in [thread, conversation] {
            assert_eq!(rewritten(file).1, std::slice::from_ref(&expected));
        }
        // Several, one after the other.
        let both = format!("{thread}\n{conversation}");
        assert_eq!(rewritten(&both).1, [expected.clone(), expected]);
    }

    #[test]
    fn of_langchain_rows_of_a_session_follow_each_other() {
        let (counts, sessions) = rewritten(include_str!("testdata/langchain.jsonl"));
        assert_eq!((counts.conversations, counts.left_out), (2, 1));
        assert_eq!(
            sessions,
            [
                said(&[("user", "bark"), ("assistant", "woof\u{fffd}")]),
                said(&[("user", "Hello")])
            ]
        );
    }

    #[test]
    fn ids_are_the_same_each_time() {
        assert_eq!(id("session", "thread_1"), id("session", "thread_1"));
        assert_ne!(id("session", "thread_1"), id("message", "thread_1"));
        let uuid = "01980000-0000-7000-8000-00000000000a";
        assert_eq!(id("session", uuid).to_string(), uuid);
    }
}
