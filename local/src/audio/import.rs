//! `audio import`: recordings from a file into the catalogue. It can be repeated: what is the same stays as it
//! is.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use assistant::Embeddings;
use assistant::catalogue::{Imported, Importer, embed_missing};
use indicatif::ProgressBar;
use shared::store::recordings;
use tokio::time::Instant;

use super::place::{Place, embeddings, failed};
use super::source::Source;
use super::table::one_line;
use crate::error::LocalError;
use crate::progress::{bar, shown};

/// How many lines that cannot be imported are printed.
const PRINTED: usize = 20;

/// How many names of unknown members are printed, and how much of each.
const PRINTED_NAMES: usize = 10;
const MAX_NAME: usize = 40;

/// Timeout for the indexes: one of a hundred thousand embeddings takes minutes.
const INDEX_TIMEOUT: Duration = Duration::from_secs(3600);

/// What could not be used of a file.
#[derive(Debug, Default)]
struct Remarks {
    rejected: usize,
    /// The names of members that mean nothing here, and how many recordings have them.
    unknown: BTreeMap<String, usize>,
}

/// Imports a file.
pub(super) async fn import(file: &Path) -> Result<(), LocalError> {
    let source = Source::open(file)?;
    let embeddings = embeddings().await?;
    let place = Place::open().await?;
    println!("database  {}", place.description());
    let done = import_into(&place, source, embeddings.as_ref()).await;
    place.close().await;
    match done? {
        0 => Ok(()),
        1 => Err(LocalError::new("1 line was not imported")),
        rejected => Err(LocalError::new(format!(
            "{rejected} lines were not imported"
        ))),
    }
}

/// Returns how many lines were rejected.
async fn import_into(
    place: &Place,
    source: Source,
    embeddings: Option<&Embeddings>,
) -> Result<usize, LocalError> {
    let stopped = failed("the import stopped; repeat it to go on");
    let mut remarks = Remarks::default();
    let progress = bar(
        source.length,
        "{bar:40} {binary_bytes} of {binary_total_bytes}, {eta} left",
    );
    let imported = store(place, source, &mut remarks, &progress).await;
    progress.finish_and_clear();
    let imported = imported?;
    let embedded = match embeddings {
        Some(embeddings) => Some(embed(place, embeddings).await),
        None => None,
    };
    shown(
        "bringing the indexes up to date",
        recordings::index(&place.store, Instant::now() + INDEX_TIMEOUT),
    )
    .await
    .map_err(stopped)?;
    remarks.tell_unknown();
    println!(
        "imported  {} added, {} changed, {} unchanged, {} rejected",
        imported.added, imported.changed, imported.unchanged, remarks.rejected
    );
    if let (Some(embedded), Some(embeddings)) = (embedded, embeddings) {
        println!("embedded  {} by {}", embedded?, embeddings.name());
    }
    Ok(remarks.rejected)
}

async fn store(
    place: &Place,
    source: Source,
    remarks: &mut Remarks,
    progress: &ProgressBar,
) -> Result<Imported, LocalError> {
    let stopped = failed("the import stopped; repeat it to go on");
    let mut importer = Importer::new(&place.store, None);
    for line in source {
        let line = line?;
        progress.set_position(line.end);
        match line.recording {
            Ok(recording) => {
                remarks.count_unknown(line.unknown);
                importer.add(recording).await.map_err(&stopped)?;
            }
            Err(why) => {
                let number = line.number;
                remarks.reject(|| {
                    progress.suspend(|| println!("rejected  line {number}: {why}"));
                });
            }
        }
    }
    importer.finish().await.map_err(&stopped)
}

/// Has the model say what those recordings mean of which that is not known.
async fn embed(place: &Place, embeddings: &Embeddings) -> Result<i64, LocalError> {
    let progress = ProgressBar::no_length();
    progress.set_message("asking what the recordings mean");
    let embedded = embed_missing(&place.store, embeddings, None, |count| {
        progress.inc(u64::try_from(count).unwrap_or(0));
    });
    let embedded = embedded.await;
    progress.finish_and_clear();
    embedded.map_err(failed(
        "the recordings are imported, but not what they mean; repeat the import to go on",
    ))
}

impl Remarks {
    fn reject(&mut self, print: impl FnOnce()) {
        self.rejected += 1;
        if self.rejected <= PRINTED {
            print();
        }
    }

    fn count_unknown(&mut self, names: Vec<String>) {
        for name in names {
            *self.unknown.entry(name).or_default() += 1;
        }
    }

    fn tell_unknown(&self) {
        if self.rejected > PRINTED {
            println!("rejected  … and {} more", self.rejected - PRINTED);
        }
        if self.unknown.is_empty() {
            return;
        }
        let names = self.unknown.iter().take(PRINTED_NAMES);
        let names: Vec<String> = names
            .map(|(name, count)| format!("{} ({count})", one_line(name, MAX_NAME)))
            .collect();
        let more = if self.unknown.len() > PRINTED_NAMES {
            ", …"
        } else {
            ""
        };
        println!(
            "kept      in `metadata`, because they mean nothing here: {}{more}",
            names.join(", ")
        );
    }
}
