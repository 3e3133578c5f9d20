//! An export for people.

use std::fmt::Write;

use shared::store::export::{ExportedMessage, ExportedSession, Item};

/// A session begins with its title as a heading, and each message with who wrote it and when. What was said
/// is left as it is: the assistant writes Markdown itself.
pub(crate) fn part(item: &Item<'_>) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = match item {
        Item::Session(session) => write_session(&mut text, session),
        Item::Message(message) => write_message(&mut text, message),
    };
    text
}

fn write_session(text: &mut String, exported: &ExportedSession) -> std::fmt::Result {
    let session = &exported.session;
    let title = session.title.as_deref().unwrap_or("Untitled");
    // A heading is one line.
    let title: Vec<&str> = title.split_whitespace().collect();
    writeln!(text, "# {}\n", title.join(" "))?;
    writeln!(
        text,
        "Session {}, opened {}\n",
        session.session_id, session.created_at
    )
}

fn write_message(text: &mut String, exported: &ExportedMessage<'_>) -> std::fmt::Result {
    let message = &exported.message;
    let who = if message.role == "user" {
        "User"
    } else {
        "Assistant"
    };
    writeln!(text, "## {who}, {}\n", message.timestamp)?;
    writeln!(text, "{}\n", message.content)?;
    if let Some(audio_files) = message.audio_files {
        writeln!(text, "Audio files: `{}`\n", audio_files.get())?;
    }
    Ok(())
}
