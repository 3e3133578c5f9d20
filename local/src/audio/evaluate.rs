//! `audio evaluate`: how good the search is, and which threshold suits it.

use std::collections::HashMap;
use std::env;
use std::path::Path;

use assistant::{AssistantConfig, Embeddings};
use shared::store::recordings::{self, Embedding, Given, Recording, Search};
use uuid::Uuid;

use super::judgement::{Judged, at_threshold, order};
use super::place::{Place, caller, embeddings, failed};
use super::queries::{self, Query};
use super::source::Source;
use super::table::{number, one_line, table, text};
use crate::error::LocalError;
use crate::progress::bar;

/// How many recordings are looked at for each query.
const LIMIT: i32 = 50;

/// The most recordings of a file: their words are made anew for each query.
const MAX_GIVEN: usize = 1_000;

/// The thresholds that are tried beside the configured one.
const THRESHOLDS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// The longest query and title that is printed, in characters.
const MAX_CHARACTERS: usize = 80;

/// The titles of what was found, for the list of misses.
type Titles = HashMap<Uuid, String>;

/// Evaluates the search in the catalogue, or in the recordings of a file.
pub(super) async fn evaluate(
    queries: &Path,
    recordings: Option<&Path>,
    shows_misses: bool,
) -> Result<(), LocalError> {
    let queries = queries::read(queries)?;
    let given = recordings.map(read_recordings).transpose()?;
    let threshold = AssistantConfig::min_relevance(|name| env::var(name).ok())
        .map_err(|error| LocalError::new(error.to_string()))?;
    let embeddings = match given {
        // Recordings of a file have no embeddings.
        Some(_) => None,
        None => embeddings().await?,
    };
    let place = Place::open().await?;
    println!("database  {}", place.description());
    let judged = judge(&place, embeddings.as_ref(), &queries, given.as_deref()).await;
    place.close().await;
    let (by_words, by_both, titles) = judged?;
    let need_one = queries.iter().filter(|query| query.audio_id.is_some());
    let need_one = need_one.count();
    println!(
        "queries   {}: {need_one} need a recording, {} need none",
        queries.len(),
        queries.len() - need_one
    );
    let both = by_both.as_deref();
    print_order(&by_words, both);
    print_thresholds("by words", &by_words, threshold);
    if let Some(by_both) = both {
        print_thresholds("by words and meaning", by_both, threshold);
    }
    if shows_misses {
        print_misses(both.unwrap_or(&by_words), &titles);
    }
    Ok(())
}

/// All recordings of a file; a bad line is an error.
fn read_recordings(file: &Path) -> Result<Vec<Recording>, LocalError> {
    let mut read = Vec::new();
    for line in Source::open(file)? {
        let line = line?;
        read.push(line.recording.map_err(|why| {
            LocalError::new(format!("{}, line {}: {why}", file.display(), line.number))
        })?);
    }
    if read.len() > MAX_GIVEN {
        return Err(LocalError::new(format!(
            "{} has more than {MAX_GIVEN} recordings; import them, and leave `--recordings` out",
            file.display()
        )));
    }
    Ok(read)
}

async fn judge<'a>(
    place: &Place,
    embeddings: Option<&Embeddings>,
    queries: &'a [Query],
    given: Option<&[Recording]>,
) -> Result<(Vec<Judged<'a>>, Option<Vec<Judged<'a>>>, Titles), LocalError> {
    let mut titles = Titles::new();
    let by_words = search(place, queries, &[], given, &mut titles).await?;
    let Some(embeddings) = embeddings else {
        return Ok((by_words, None, titles));
    };
    let texts: Vec<&str> = queries.iter().map(|query| query.query.as_str()).collect();
    let meanings = embeddings.of_queries(&texts).await;
    let meanings = meanings.map_err(failed("what the queries mean cannot be found out"))?;
    let by_both = search(place, queries, &meanings, given, &mut titles).await?;
    Ok((by_words, Some(by_both), titles))
}

/// Searches for every query, with its meaning if that is known.
async fn search<'a>(
    place: &Place,
    queries: &'a [Query],
    meanings: &[Embedding],
    given: Option<&[Recording]>,
    titles: &mut Titles,
) -> Result<Vec<Judged<'a>>, LocalError> {
    let length = u64::try_from(queries.len()).unwrap_or(0);
    let progress = bar(length, "{bar:40} {pos} of {len} queries, {eta} left");
    let mut judged = Vec::with_capacity(queries.len());
    for (index, query) in queries.iter().enumerate() {
        let search = Search {
            query: &query.query,
            context: query.context.as_deref(),
            embedding: meanings.get(index),
            given: given.map(|recordings| Given {
                recordings,
                only_if_empty: false,
            }),
            limit: LIMIT,
        };
        let found = recordings::search(&place.store, &caller(), &search).await;
        let found = found.map_err(failed("the recordings cannot be searched"))?;
        judged.push(Judged::new(query, &found));
        titles.extend(found.into_iter().map(|found| (found.audio_id, found.title)));
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(judged)
}

fn print_order(by_words: &[Judged<'_>], by_both: Option<&[Judged<'_>]>) {
    let orders: Vec<_> = [Some(by_words), by_both]
        .into_iter()
        .flatten()
        .map(order)
        .collect();
    let mut table = table([
        "search",
        "first hit right",
        "right one among three",
        "mean reciprocal rank",
    ]);
    for (by, order) in ["by words", "by words and meaning"].iter().zip(orders) {
        table.add_row([
            text(by),
            number(percent(order.first)),
            number(percent(order.among_three)),
            number(format!("{:.3}", order.mean_reciprocal_rank)),
        ]);
    }
    println!("\n{table}");
}

fn print_thresholds(by: &str, judged: &[Judged<'_>], configured: f64) {
    let mut thresholds = THRESHOLDS.to_vec();
    thresholds.retain(|threshold| (threshold - configured).abs() > 1e-9);
    thresholds.push(configured);
    thresholds.sort_by(f64::total_cmp);
    let mut table = table(["AUDIO_MIN_RELEVANCE", "right", "wrong", "missed", "false"]);
    for threshold in thresholds {
        let at = at_threshold(judged, threshold);
        let is_configured = (threshold - configured).abs() < 1e-9;
        let mark = if is_configured { "(set) " } else { "" };
        table.add_row([
            number(format!("{mark}{threshold}")),
            number(percent(at.right)),
            number(percent(at.wrong)),
            number(percent(at.missed)),
            number(percent(at.false_recommendations)),
        ]);
    }
    println!("\nWhat would be recommended, {by}:\n{table}");
}

fn print_misses(judged: &[Judged<'_>], titles: &Titles) {
    let title = |id: Option<Uuid>| {
        id.map_or_else(
            || "nothing".to_owned(),
            |id| match titles.get(&id) {
                Some(title) => one_line(title, MAX_CHARACTERS),
                None => id.to_string(),
            },
        )
    };
    println!();
    for missed in judged.iter().filter(|it| it.is_missed()) {
        println!(
            "missed    {}",
            one_line(&missed.query.query, MAX_CHARACTERS)
        );
        println!(
            "  first   {}",
            title(missed.found.first().map(|(id, _)| *id))
        );
        println!("  right   {}", title(missed.query.audio_id));
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
