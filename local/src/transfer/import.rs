//! `import`: the sessions of an export into the database. Each is stored whole or not at all, and one that is
//! there already stays as it is, so an import can be repeated and broken off.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use indicatif::ProgressBar;
use shared::caller::Owner;
use shared::database::Connection;

use super::export::with_suffix;
use super::foreign::{Rewritten, is_foreign, rewrite};
use super::line::Line;
use super::session::{Failure, Importing, Outcome, roll_back};
use crate::database::LocalDatabase;
use crate::error::LocalError;
use crate::progress::bar;

/// The longest line, in bytes. The largest message takes less than a hundredth of it.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// How many problems are printed; the rest is in the file of rejected lines.
const PRINTED: usize = 20;

/// What an import did.
#[derive(Debug, Default)]
struct Tally {
    imported: usize,
    known: usize,
    erased: usize,
    rejected: usize,
}

/// Imports `file`. Sessions whose lines name no owner get `owner`.
pub(crate) async fn import(file: &Path, owner: Option<&str>) -> Result<(), LocalError> {
    if owner.is_some_and(|key| Owner::parse(key).is_none()) {
        return Err(LocalError::new(
            "--owner must be an owner as the database stores it, such as jwt:alice",
        ));
    }
    let rewritten = with_suffix(file, "jsonl");
    let file = if is_foreign(file)? {
        let Rewritten {
            conversations,
            left_out,
            unknown,
        } = rewrite(file, &rewritten)?;
        println!(
            "rewritten {conversations} conversations of another program to {}; left out: {left_out} \
             answers before any question, {unknown} things that are no conversation",
            rewritten.display()
        );
        rewritten.as_path()
    } else {
        file
    };
    let mut source = Source::open(file)?;
    let database = LocalDatabase::open_or_join().await?;
    println!("database  {}", database.description);
    let imported = match database.migrate().await {
        Ok(_) => read(&database, &mut source, owner).await,
        Err(error) => Err(error),
    };
    database.close().await;
    let tally = imported?;
    println!(
        "imported  {} sessions; {} were there already, {} were erased before",
        tally.imported, tally.known, tally.erased
    );
    if tally.rejected == 0 {
        return Ok(());
    }
    Err(LocalError::new(format!(
        "{} sessions or lines were not imported; they are in {}",
        tally.rejected,
        source.rejected_file().display()
    )))
}

async fn read(
    database: &LocalDatabase,
    source: &mut Source,
    owner: Option<&str>,
) -> Result<Tally, LocalError> {
    let failed =
        |error| LocalError::new(format!("the import stopped: {error}; repeat it to go on"));
    let connection = Connection::open(&database.config).await.map_err(failed)?;
    let mut tally = Tally::default();
    let mut importing: Option<Importing<'_>> = None;
    // Whether the lines up to the next session belong to one that was rejected.
    let mut is_skipping = false;
    loop {
        let line = source.next_line()?;
        // A session ends where the next one begins.
        let begins = match &line {
            None | Some(Ok(Line::Session(_))) => true,
            Some(Ok(Line::Message(_))) => false,
            Some(Err(_)) => source.looks_like_a_session(),
        };
        let step = match (line, importing.as_mut()) {
            (line, _) if begins => {
                let ended = match importing.take() {
                    None => Ok(None),
                    Some(session) => session.finish().await.map(Some),
                };
                match ended {
                    Ok(outcome) => tally.count(outcome),
                    Err(Failure::Rejected(why)) => source.reject_session(&mut tally, &why)?,
                    Err(Failure::Database(error)) => return Err(failed(error)),
                }
                roll_back(&connection).await.map_err(failed)?;
                source.begin_session();
                is_skipping = false;
                match line {
                    Some(Ok(Line::Session(session))) => {
                        let begun = Importing::begin(&connection, *session, owner).await;
                        begun.map(|session| importing = Some(session))
                    }
                    Some(Err(why)) => Err(Failure::Rejected(why)),
                    _ => {
                        source.finish();
                        return Ok(tally);
                    }
                }
            }
            (Some(Ok(Line::Message(message))), Some(session)) => session.add(*message).await,
            (Some(Err(why)), Some(_)) => Err(Failure::Rejected(why)),
            (Some(_), None) if is_skipping => Ok(source.keep_line()?),
            (Some(Err(why)), None) => Err(Failure::Rejected(why)),
            (_, None) => Err(Failure::Rejected("comes before any session".into())),
            // Begun above.
            (_, Some(_)) => Ok(()),
        };
        match step {
            Ok(()) => {}
            Err(Failure::Database(error)) => return Err(failed(error)),
            Err(Failure::Rejected(why)) => {
                importing = None;
                roll_back(&connection).await.map_err(failed)?;
                source.reject(&mut tally, &why)?;
                is_skipping = true;
            }
        }
    }
}

impl Tally {
    fn count(&mut self, outcome: Option<Outcome>) {
        match outcome {
            None => {}
            Some(Outcome::Imported) => self.imported += 1,
            Some(Outcome::Known) => self.known += 1,
            Some(Outcome::Erased) => self.erased += 1,
        }
    }
}

/// The file, and what is rejected of it.
struct Source {
    file: std::path::PathBuf,
    reader: BufReader<File>,
    /// The file again, to copy rejected lines from.
    again: File,
    progress: ProgressBar,
    number: usize,
    line: Vec<u8>,
    /// Where the current line ends, and where the session's first line begins and which it is.
    offset: u64,
    session_offset: u64,
    session_number: usize,
    rejected: Option<File>,
    printed: usize,
}

impl Source {
    fn open(file: &Path) -> Result<Self, LocalError> {
        let cannot = |error| LocalError::new(format!("cannot read {}: {error}", file.display()));
        let opened = File::open(file).map_err(cannot)?;
        let length = opened.metadata().map_err(cannot)?.len();
        Ok(Self {
            file: file.to_owned(),
            reader: BufReader::new(opened),
            again: File::open(file).map_err(cannot)?,
            progress: bar(
                length,
                "{bar:40} {binary_bytes} of {binary_total_bytes}, {eta} left",
            ),
            number: 0,
            line: Vec::new(),
            offset: 0,
            session_offset: 0,
            session_number: 0,
            rejected: None,
            printed: 0,
        })
    }

    /// The next line that is not blank; `None` at the end.
    fn next_line(&mut self) -> Result<Option<Result<Line, String>>, LocalError> {
        loop {
            self.line.clear();
            let read = (&mut self.reader)
                .take(MAX_LINE)
                .read_until(b'\n', &mut self.line);
            let read = read.map_err(|error| {
                LocalError::new(format!("cannot read {}: {error}", self.file.display()))
            })?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.offset += u64::try_from(read).unwrap_or(0);
            self.progress.set_position(self.offset);
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(Line::read(self.line.trim_ascii())));
            }
        }
    }

    /// Remembers that a session begins with the current line.
    fn begin_session(&mut self) {
        self.session_offset = self.offset - u64::try_from(self.line.len()).unwrap_or(0);
        self.session_number = self.number;
    }

    /// Whether the current line, which cannot be read, was written for a session.
    fn looks_like_a_session(&self) -> bool {
        self.line.starts_with(br#"{"type":"session""#)
    }

    fn finish(&self) {
        self.progress.finish_and_clear();
    }

    fn rejected_file(&self) -> std::path::PathBuf {
        with_suffix(&self.file, "rejected")
    }

    /// Rejects the current line, with what came before it in its session.
    fn reject(&mut self, tally: &mut Tally, why: &str) -> Result<(), LocalError> {
        self.tell(tally, self.number, why);
        self.copy_rejected(self.session_offset, self.offset)
    }

    /// Rejects the session that ended before the current line.
    fn reject_session(&mut self, tally: &mut Tally, why: &str) -> Result<(), LocalError> {
        self.tell(tally, self.session_number, why);
        let end = self.offset - u64::try_from(self.line.len()).unwrap_or(0);
        self.copy_rejected(self.session_offset, end)
    }

    /// Keeps the current line, of a session that was rejected.
    fn keep_line(&mut self) -> Result<(), LocalError> {
        let begin = self.offset - u64::try_from(self.line.len()).unwrap_or(0);
        self.copy_rejected(begin, self.offset)
    }

    fn tell(&mut self, tally: &mut Tally, number: usize, why: &str) {
        tally.rejected += 1;
        self.printed += 1;
        if self.printed <= PRINTED {
            self.progress
                .suspend(|| println!("rejected  line {number}: {why}"));
        }
    }

    fn copy_rejected(&mut self, begin: u64, end: u64) -> Result<(), LocalError> {
        let path = self.rejected_file();
        let cannot = |error: std::io::Error| {
            LocalError::new(format!("cannot write {}: {error}", path.display()))
        };
        if self.rejected.is_none() {
            self.rejected = Some(File::create(&path).map_err(cannot)?);
        }
        let Some(output) = &mut self.rejected else {
            return Ok(());
        };
        self.again.seek(SeekFrom::Start(begin)).map_err(cannot)?;
        let mut lines = (&mut self.again).take(end - begin);
        std::io::copy(&mut lines, output).map_err(cannot)?;
        output.flush().map_err(cannot)
    }
}
