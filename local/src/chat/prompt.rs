//! Where questions come from: lines edited at a terminal, or read from a file or a pipe.

use std::io::{self, IsTerminal, stdin};
use std::sync::mpsc::{Receiver, Sender, channel};

use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler, KeyEvent,
    Movement, RepeatCount,
};
use tokio::sync::mpsc;

use crate::error::LocalError;

/// Before each line.
const PROMPT: &str = "> ";

/// A line, or `None` at the end.
type Line = Result<Option<String>, LocalError>;

/// The prompt. Its lines are read in a thread of its own, because reading blocks; a thread that still waits for a
/// line does not keep the process from ending.
pub(super) struct Prompt {
    wanted: Sender<()>,
    lines: mpsc::UnboundedReceiver<Line>,
    /// Whether a person edits the lines.
    pub(super) is_terminal: bool,
}

impl Prompt {
    pub(super) fn new() -> Self {
        let (wanted, wanted_lines) = channel();
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || read_lines(&wanted_lines, &sender));
        Self {
            wanted,
            lines,
            is_terminal: stdin().is_terminal(),
        }
    }

    /// The next line that is not blank; `None` when there are no more.
    pub(super) async fn next(&mut self) -> Line {
        loop {
            if self.wanted.send(()).is_err() {
                return Ok(None);
            }
            match self.lines.recv().await {
                None | Some(Ok(None)) => return Ok(None),
                Some(Ok(Some(line))) if line.trim().is_empty() => {}
                Some(line) => return line,
            }
        }
    }
}

/// Reads a line whenever one is wanted.
fn read_lines(wanted: &Receiver<()>, lines: &mpsc::UnboundedSender<Line>) {
    let mut editor = match editor() {
        Ok(editor) => editor,
        Err(error) => {
            let _ = lines.send(Err(unreadable(&error)));
            return;
        }
    };
    while wanted.recv().is_ok() {
        let line = match editor.readline(PROMPT) {
            Ok(line) => Ok(Some(line)),
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
            Err(error) => Err(unreadable(&error)),
        };
        if lines.send(line).is_err() {
            return;
        }
    }
}

/// An editor that remembers the lines of this conversation, and none of another: they are private.
fn editor() -> rustyline::Result<Editor<(), MemHistory>> {
    let config = Config::builder().auto_add_history(true).build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history)?;
    editor.bind_sequence(
        KeyEvent::ctrl('C'),
        EventHandler::Conditional(Box::new(ClearOrEnd)),
    );
    Ok(editor)
}

/// Ctrl-C clears the line, and ends the conversation where there is none to clear.
struct ClearOrEnd;

impl ConditionalEventHandler for ClearOrEnd {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        Some(if context.line().is_empty() {
            Cmd::Interrupt
        } else {
            Cmd::Kill(Movement::WholeBuffer)
        })
    }
}

fn unreadable(error: &ReadlineError) -> LocalError {
    LocalError::new(match error {
        ReadlineError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            "the questions are not UTF-8".to_owned()
        }
        error => format!("cannot read the questions: {error}"),
    })
}
