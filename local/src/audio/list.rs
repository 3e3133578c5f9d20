//! `audio list`: the catalogue as a table, or as JSON Lines that `audio import` takes back.

use std::io::{self, BufWriter, Write, stdout};

use shared::store::recordings::{self, Recording};

use super::place::{Place, deadline, failed};
use super::table::{number, table, text};
use crate::error::LocalError;

/// How many recordings are read at a time.
const PAGE: i64 = 1_000;

/// How many are read at a time with their transcripts.
const WHOLE_PAGE: i64 = 50;

/// Prints a table of all recordings.
pub(super) async fn as_table() -> Result<(), LocalError> {
    let place = Place::open().await?;
    println!("database  {}", place.description());
    let printed = print_table(&place).await;
    place.close().await;
    printed
}

async fn print_table(place: &Place) -> Result<(), LocalError> {
    let mut table = table([
        "audio_id",
        "title",
        "language",
        "duration",
        "tags",
        "active",
        "embedding",
    ]);
    let (mut count, mut after) = (0, None);
    loop {
        let page = recordings::list(&place.store, deadline(), after, PAGE).await;
        let page = page.map_err(failed("the recordings cannot be read"))?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.recording.audio_id);
        count += page.len();
        for listed in &page {
            let recording = &listed.recording;
            table.add_row([
                text(&recording.audio_id.to_string()),
                text(&recording.title),
                text(recording.language.as_deref().unwrap_or("")),
                number(recording.duration_seconds.map(minutes).unwrap_or_default()),
                text(&recording.tags.join(", ")),
                text(if recording.is_active { "yes" } else { "no" }),
                text(listed.embedding_model.as_deref().unwrap_or("")),
            ]);
        }
    }
    if count > 0 {
        println!("{table}");
    }
    println!("listed    {count} recordings");
    Ok(())
}

/// A duration in minutes and seconds.
fn minutes(seconds: f64) -> String {
    // No recording is longer than what fits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let seconds = seconds.round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// Prints every recording whole, each on a line, and nothing else.
pub(super) async fn as_json() -> Result<(), LocalError> {
    let place = Place::open().await?;
    let printed = print_lines(&place).await;
    place.close().await;
    printed
}

async fn print_lines(place: &Place) -> Result<(), LocalError> {
    let mut after = None;
    let mut out = BufWriter::new(stdout().lock());
    loop {
        let page = recordings::whole(&place.store, deadline(), after, WHOLE_PAGE).await;
        let page = page.map_err(failed("the recordings cannot be read"))?;
        let Some(last) = page.last() else {
            return out.flush().map_err(failed("cannot write"));
        };
        after = Some(last.audio_id);
        for recording in &page {
            write_line(&mut out, recording).map_err(failed("cannot write"))?;
        }
    }
}

fn write_line(out: &mut impl Write, recording: &Recording) -> io::Result<()> {
    serde_json::to_writer(&mut *out, recording)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_minutes_and_seconds() {
        assert_eq!(minutes(0.0), "0:00");
        assert_eq!(minutes(59.6), "1:00");
        assert_eq!(minutes(3_725.0), "62:05");
    }
}
