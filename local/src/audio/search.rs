//! `audio search`: what a search finds, and why.

use assistant::Embeddings;
use shared::store::recordings::{self, Found, Ranked, Search};

use super::place::{Place, caller, embeddings, failed};
use super::table::{number, table, text};
use crate::error::LocalError;

/// Searches as the assistant does.
pub(super) async fn search(
    query: &str,
    context: Option<&str>,
    limit: i32,
) -> Result<(), LocalError> {
    let embeddings = embeddings().await?;
    let place = Place::open().await?;
    println!("database  {}", place.description());
    let found = find(&place, embeddings.as_ref(), query, context, limit).await;
    place.close().await;
    let (found, by) = found?;
    if found.is_empty() {
        println!("found     nothing, {by}");
        return Ok(());
    }
    let mut table = table([
        "relevance",
        "title",
        "words",
        "meaning",
        "matched",
        "audio_id",
    ]);
    for found in &found {
        table.add_row([
            number(format!("{:.3}", found.relevance)),
            text(&found.title),
            text(&ranked(found.words)),
            text(&ranked(found.meaning)),
            text(&found.matched.join(", ")),
            text(&found.audio_id.to_string()),
        ]);
    }
    println!("{table}");
    println!("found     {}, {by}", found.len());
    Ok(())
}

/// What is found, and by what.
async fn find(
    place: &Place,
    embeddings: Option<&Embeddings>,
    query: &str,
    context: Option<&str>,
    limit: i32,
) -> Result<(Vec<Found>, String), LocalError> {
    let embedding = match embeddings {
        Some(embeddings) => embeddings.of_query(query).await,
        None => None,
    };
    let search = Search {
        query,
        context,
        embedding: embedding.as_ref(),
        given: None,
        limit,
    };
    let found = recordings::search(&place.store, &caller(), &search).await;
    let found = found.map_err(failed("the recordings cannot be searched"))?;
    let by = match &embedding {
        Some(embedding) => format!("by words and by meaning ({})", embedding.model),
        None => "by words".to_owned(),
    };
    Ok((found, by))
}

/// A measure and the rank by it.
fn ranked(ranked: Option<Ranked>) -> String {
    ranked.map_or_else(String::new, |ranked| {
        format!("{:.3} (#{})", ranked.score, ranked.rank)
    })
}
