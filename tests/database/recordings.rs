//! The catalogue of recordings: what a search finds and how it ranks, and that its words stay counted.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use shared::caller::{Caller, Kind, Owner, Permissions};
use shared::database::{Database, DatabaseConfig};
use shared::store::Store;
use shared::store::recordings::{self, Embedded, Embedding, Found, Given, Put, Recording, Search};
use tokio::time::Instant;
use uuid::Uuid;

use support::{TestApi, postgres};

/// Where a server that does not offer pgvector is a failure.
const NEEDS_PGVECTOR: &str = "TESTS_NEED_PGVECTOR";

/// Numbers of an embedding in these tests.
const DIMENSIONS: usize = 64;

fn store_at(url: &str) -> Store {
    let config = DatabaseConfig::parse(url).unwrap();
    Store::new(Arc::new(Database::new(config)))
}

/// A catalogue of these recordings, put by the role of the functions.
struct Catalogue {
    api: TestApi,
    store: Store,
}

impl Catalogue {
    async fn of(recordings: &[Recording]) -> Self {
        let api = TestApi::start().await;
        let store = store_at(&postgres::app_url(&api.database));
        let catalogue = Self { api, store };
        catalogue.put(recordings).await;
        catalogue
    }

    async fn put(&self, recordings: &[Recording]) -> Put {
        recordings::put(&self.store, deadline(), recordings)
            .await
            .unwrap()
    }

    async fn search(&self, search: Search<'_>) -> Vec<Found> {
        let found = recordings::search(&self.store, &caller(), &search).await;
        found.unwrap()
    }

    /// What is found by words alone.
    async fn find(&self, query: &str) -> Vec<Found> {
        self.search(by_words(query)).await
    }

    /// The titles of what is found.
    async fn titles(&self, query: &str) -> Vec<String> {
        titles(&self.find(query).await)
    }

    /// The relevance of the only recording that is found.
    async fn relevance(&self, query: &str) -> f64 {
        let found = self.find(query).await;
        assert_eq!(found.len(), 1, "{query}: {found:?}");
        found[0].relevance
    }

    /// Asserts that every word is counted as often as it is there.
    async fn verify(&self) {
        self.api.verify().await;
    }
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn caller() -> Caller {
    Caller {
        owner: Owner::new(Kind::Jwt, "alice"),
        permissions: Permissions::default(),
        deadline: Instant::now() + Duration::from_secs(29),
    }
}

fn by_words(query: &str) -> Search<'_> {
    Search {
        query,
        context: None,
        embedding: None,
        given: None,
        limit: 10,
    }
}

fn titles(found: &[Found]) -> Vec<String> {
    found.iter().map(|found| found.title.clone()).collect()
}

/// A recording in a language.
fn recording(language: &str, title: &str) -> Recording {
    Recording {
        audio_id: Uuid::new_v4(),
        filename: format!("{title}.mp3"),
        location: None,
        title: title.to_owned(),
        summary: None,
        transcript: None,
        language: (!language.is_empty()).then(|| language.to_owned()),
        duration_seconds: Some(60.5),
        tags: Vec::new(),
        metadata: Some(json!({ "speaker": "A. Nonymous", "year": 2026 })),
        is_active: true,
    }
}

/// Recordings about other things, so that a word that one of the others has is rare.
fn others(language: &str, count: usize) -> Vec<Recording> {
    (0..count)
        .map(|n| recording(language, &format!("Zzz{n} qqq{n}")))
        .collect()
}

/// An embedding with a direction of its own.
fn direction(n: usize) -> Vec<f32> {
    let mut vector = vec![0.01; DIMENSIONS];
    vector[n % DIMENSIONS] = 3.0;
    vector[(n / DIMENSIONS) % DIMENSIONS] -= 1.0;
    vector
}

fn embedding(model: &str, vector: Vec<f32>) -> Embedding {
    Embedding {
        model: model.to_owned(),
        vector,
    }
}

/// Gives every recording the embedding that a function makes of its title.
async fn embed(store: &Store, model: &str, of: impl Fn(&str) -> Vec<f32>) -> i64 {
    let mut after = None;
    let mut changed = 0;
    loop {
        let page = recordings::without_embedding(store, deadline(), model, after, 300).await;
        let page = page.unwrap();
        let Some(last) = page.last() else {
            return changed;
        };
        after = Some(last.audio_id);
        let embedded: Vec<_> = page
            .iter()
            .map(|it| Embedded {
                audio_id: it.audio_id,
                updated_at: it.updated_at,
                vector: of(&it.title),
            })
            .collect();
        changed += recordings::set_embeddings(store, deadline(), model, &embedded)
            .await
            .unwrap();
    }
}

/// Creates an extension in a schema, if the server offers it.
// A test that can do only a part of its work says so.
#[allow(clippy::print_stderr)]
async fn create_extension(api: &TestApi, name: &str, schema: &str) -> bool {
    let offered = format!("select count(*) from pg_available_extensions where name = '{name}'");
    if api.number(&offered).await == 0 {
        assert!(
            name != "vector" || std::env::var_os(NEEDS_PGVECTOR).is_none(),
            "the server does not offer pgvector"
        );
        eprintln!("not tested: this server does not offer the extension {name}");
        return false;
    }
    let create = format!(
        "create schema if not exists {schema}; grant usage on schema {schema} to public;
         create extension {name} schema {schema}"
    );
    api.sql(&create).await;
    true
}

#[tokio::test]
async fn each_recording_is_found_by_the_words_of_its_language() {
    let mut all = others("en", 5);
    all.extend([
        recording("en-GB", "Sleeping deeply"),
        recording("de-AT", "Gut schlafen für Müde"),
        recording("es", "Meditación guiada"),
        recording("ja", "眠りの音楽"),
        recording("", "Yoga Nidra"),
        recording("xx", "Whatever klingon"),
    ]);
    let catalogue = Catalogue::of(&all).await;

    for (query, title) in [
        ("I want to sleep, deep", "Sleeping deeply"),
        ("Schlafende", "Gut schlafen für Müde"),
        ("MUDE", "Gut schlafen für Müde"),
        ("meditaciones", "Meditación guiada"),
        ("meditacion", "Meditación guiada"),
        ("音楽", "眠りの音楽"),
        ("nidra", "Yoga Nidra"),
        ("klingon", "Whatever klingon"),
    ] {
        assert_eq!(catalogue.titles(query).await[0], title, "{query}");
    }
    // Stop words of the language are no words, contractions among them.
    for query in ["", "  ", "!?", "für", "I'm", "don't", "won't we've"] {
        assert!(catalogue.find(query).await.is_empty(), "{query}");
    }
    catalogue.verify().await;
}

#[tokio::test]
async fn a_word_counts_most_in_the_title_then_in_tags_summary_and_transcript() {
    let mut all = others("en", 20);
    let mut in_tags = recording("en", "Two");
    in_tags.tags = vec!["needle".into()];
    let mut in_summary = recording("en", "Three");
    in_summary.summary = Some("A needle.".into());
    let mut often = recording("en", "Four");
    often.transcript = Some("Needle, needle, needle. Or needle!".into());
    let mut once = recording("en", "Five");
    once.transcript = Some("A needle.".into());
    all.extend([
        once,
        often,
        in_summary,
        in_tags,
        recording("en", "One needle"),
    ]);
    let catalogue = Catalogue::of(&all).await;

    let found = catalogue.find("needles").await;

    assert_eq!(
        titles(&found),
        ["One needle", "Two", "Three", "Four", "Five"]
    );
    let relevance: Vec<_> = found.iter().map(|found| found.relevance).collect();
    assert!((relevance[0] - 1.0).abs() < 1e-6, "{relevance:?}");
    assert!(relevance.is_sorted_by(|a, b| a > b), "{relevance:?}");
    assert!(relevance[4] > 0.2, "{relevance:?}");
    assert_eq!(found[0].matched, ["needles"]);
    assert_eq!(found[3].words.unwrap().rank, 4);
    assert!(found[0].meaning.is_none());
}

#[tokio::test]
async fn relevance_is_the_share_of_the_querys_weight() {
    let mut all = others("en", 50);
    all.extend((0..20).map(|n| recording("en", &format!("Common number{n}"))));
    all.push(recording("en", "Rare"));
    let catalogue = Catalogue::of(&all).await;

    let found = catalogue.find("rare common").await;
    assert_eq!(found[0].title, "Rare");
    // A rare word weighs more than a common one, and all of it together is 1.
    let (rare, common) = (found[0].relevance, found[1].relevance);
    assert!(rare > 0.6 && (rare + common - 1.0).abs() < 1e-6);

    // What no recording has lowers the share.
    assert!((catalogue.relevance("rare").await - 1.0).abs() < 1e-6);
    let with_unknown = catalogue.relevance("rare unheard").await;
    assert!((0.4..0.8).contains(&with_unknown), "{with_unknown}");
    assert!(catalogue.find("unheard").await.is_empty());
    let long = "unheard ".repeat(5_000);
    assert!(catalogue.find(&long).await.is_empty());
}

#[tokio::test]
async fn the_context_changes_the_order_and_finds_nothing() {
    let mut all = others("en", 20);
    all.extend(
        ["Calm sea", "Calm forest", "Calm mountain", "Desert"].map(|it| recording("en", it)),
    );
    let catalogue = Catalogue::of(&all).await;

    let without = catalogue.find("calm").await;
    for (context, first) in [
        ("a walk in the forest", "Calm forest"),
        ("in the mountains", "Calm mountain"),
        ("sea", "Calm sea"),
    ] {
        let with = catalogue
            .search(Search {
                context: Some(context),
                ..by_words("calm")
            })
            .await;
        assert_eq!(with[0].title, first);
        assert_eq!(with.len(), 3);
        assert!((with[0].relevance - without[0].relevance).abs() < 1e-9);
    }
    let only_context = Search {
        context: Some("desert"),
        ..by_words("unheard")
    };
    assert!(catalogue.search(only_context).await.is_empty());
}

#[tokio::test]
async fn a_compound_is_found_by_its_parts() {
    let mut all = others("de", 10);
    all.extend(
        ["Angst vor dem Flug", "Flug über die Alpen", "Angst"].map(|it| recording("de", it)),
    );
    let catalogue = Catalogue::of(&all).await;

    let found = catalogue.find("Flugangst").await;

    assert_eq!(found[0].title, "Angst vor dem Flug");
    assert!((0.8..1.0).contains(&found[0].relevance));
    assert!(found[1].relevance < 0.6);
    assert_eq!(found.len(), 3);
}

#[tokio::test]
async fn a_misspelt_word_is_corrected_where_trigrams_are_there() {
    let mut all = others("en", 10);
    all.push(recording("en", "Meditation"));
    let catalogue = Catalogue::of(&all).await;
    assert!(catalogue.find("mediattion").await.is_empty());

    if !create_extension(&catalogue.api, "pg_trgm", "\"Ext\"").await {
        return;
    }
    let owner = store_at(&postgres::owner_url(&catalogue.api.database));
    recordings::index(&owner, deadline()).await.unwrap();

    let found = catalogue.find("mediattion").await;
    assert_eq!(titles(&found), ["Meditation"]);
    assert_eq!(found[0].matched, ["mediattion"]);
    assert!((0.5..0.9).contains(&found[0].relevance));
    // What is right is not corrected, nor is a word of nothing similar.
    assert!((catalogue.relevance("meditation").await - 1.0).abs() < 1e-6);
    assert!(catalogue.find("gardening").await.is_empty());
    let given = [recording("en", "Concentration")];
    let found = catalogue
        .search(Search {
            given: Some(Given {
                recordings: &given,
                only_if_empty: false,
            }),
            ..by_words("concentartion")
        })
        .await;
    assert_eq!(titles(&found), ["Concentration"]);
}

#[tokio::test]
async fn an_inactive_recording_is_never_found_and_still_known() {
    let mut hidden = recording("en", "Hidden needle");
    hidden.location = Some("s3://bucket/hidden.mp3".into());
    let mut all = vec![hidden.clone(), recording("en", "Needle")];
    let catalogue = Catalogue::of(&all).await;
    embed(&catalogue.store, "m", |_| direction(1)).await;
    assert_eq!(catalogue.titles("needle").await.len(), 2);

    all[0].is_active = false;
    let put = catalogue.put(&all).await;
    assert_eq!(
        put,
        Put {
            added: 0,
            changed: 1
        }
    );

    let near = embedding("m", direction(1));
    let found = catalogue
        .search(Search {
            embedding: Some(&near),
            ..by_words("hidden needle")
        })
        .await;
    assert_eq!(titles(&found), ["Needle"]);
    let ids = [hidden.audio_id, Uuid::new_v4()];
    let known = recordings::known(&catalogue.store, &caller(), &ids).await;
    assert_eq!(known.unwrap(), [(hidden.audio_id, hidden.location.clone())]);
    catalogue.verify().await;
}

#[tokio::test]
async fn given_recordings_are_searched_without_being_stored() {
    let catalogue = Catalogue::of(&[]).await;
    let mut given = others("en", 10);
    given.push(recording("en", "Given needle"));
    given.push(recording("de", "Eine Nadel"));
    let mut inactive = recording("en", "Inactive needle");
    inactive.is_active = false;
    given.push(inactive);
    let search = |query, only_if_empty| Search {
        given: Some(Given {
            recordings: &given,
            only_if_empty,
        }),
        ..by_words(query)
    };

    for only_if_empty in [true, false] {
        let found = catalogue.search(search("needles", only_if_empty)).await;
        assert_eq!(titles(&found), ["Given needle"]);
        assert_eq!(found[0].tags, Vec::<String>::new());
    }
    let in_german = catalogue.search(search("Nadel", true)).await;
    assert_eq!(titles(&in_german), ["Eine Nadel"]);
    let stored = "select count(*) from audio_resources";
    assert_eq!(catalogue.api.number(stored).await, 0);

    // By the same measure as if they were stored.
    let before = catalogue.search(search("given unheard", false)).await;
    catalogue.put(&given).await;
    let after = catalogue.find("given unheard").await;
    assert!((before[0].relevance - after[0].relevance).abs() < 1e-9);
    catalogue.put(&[recording("en", "Stored needle")]).await;
    let stored = catalogue.search(search("stored", true)).await;
    assert_eq!(titles(&stored), ["Stored needle"]);
    assert!(catalogue.search(search("stored", false)).await.is_empty());
}

#[tokio::test]
async fn recordings_are_found_by_meaning_with_and_without_pgvector() {
    let all: Vec<_> = (0..1_200)
        .map(|n| recording("en", &format!("Number n{n}")))
        .collect();
    let catalogue = Catalogue::of(&all).await;
    let number = |title: &str| {
        title
            .trim_start_matches("Number n")
            .parse::<usize>()
            .unwrap()
    };
    let embedded = embed(&catalogue.store, "m", |title| direction(number(title))).await;
    assert_eq!(embedded, 1_200);
    assert_eq!(embed(&catalogue.store, "m", |_| direction(0)).await, 0);

    let near = embedding("m", direction(777));
    let search = Search {
        embedding: Some(&near),
        ..by_words("n5 n777")
    };
    let mut answers = Vec::new();
    for has_pgvector in [false, true] {
        if has_pgvector {
            if !create_extension(&catalogue.api, "vector", "extensions").await {
                return;
            }
            let owner = store_at(&postgres::owner_url(&catalogue.api.database));
            // It is harmless again, and for a role that may not.
            for store in [&owner, &owner, &catalogue.store] {
                recordings::index(store, deadline()).await.unwrap();
            }
            let index = "select count(*) from pg_indexes
                where indexname ~ '^audio_resources_meaning_' and indexdef ~ 'hnsw'";
            assert_eq!(catalogue.api.number(index).await, 1);
        }
        let found = catalogue.search(search).await;
        // First in both lists; then those that are first or second in one of them.
        assert_eq!(found[0].title, "Number n777");
        assert!((found[0].relevance - 1.0).abs() < 1e-4);
        assert_eq!(found[0].meaning.unwrap().rank, 1);
        assert!(found[0].words.is_some());
        let by_words = found.iter().find(|it| it.title == "Number n5").unwrap();
        assert!(by_words.meaning.is_none());
        // Its relevance is its cosine all the same.
        assert!(by_words.relevance < 0.3, "{by_words:?}");
        let cosines: Vec<_> = found.iter().filter_map(|it| it.meaning).collect();
        assert!(cosines.is_sorted_by(|a, b| a.score >= b.score - 1e-6 || a.rank > b.rank));
        answers.push(found[0].clone());
    }
    assert_eq!(answers[0].title, answers[1].title);
}

#[tokio::test]
async fn only_embeddings_of_the_same_model_and_length_are_compared() {
    let one = recording("en", "One");
    let catalogue = Catalogue::of(&[one.clone(), recording("en", "Two")]).await;
    let of = |title: &str| direction(title.len());
    embed(&catalogue.store, "m", of).await;

    let short = vec![1.0; 3];
    for (model, vector, finds) in [
        ("m", direction(3), true),
        ("other", direction(3), false),
        ("m", short, false),
        ("m", vec![0.0; DIMENSIONS], false),
        ("m", Vec::new(), false),
    ] {
        let near = embedding(model, vector);
        let found = catalogue
            .search(Search {
                embedding: Some(&near),
                ..by_words("unheard")
            })
            .await;
        assert_eq!(!found.is_empty(), finds, "{near:?}");
    }

    // What changes is no longer what the embedding was made of.
    let renamed = Recording {
        title: "Another one".into(),
        ..one.clone()
    };
    let page = recordings::without_embedding(&catalogue.store, deadline(), "m", None, 10);
    assert!(page.await.unwrap().is_empty());
    let page = recordings::without_embedding(&catalogue.store, deadline(), "n", None, 10);
    let late = page.await.unwrap();
    catalogue.put(&[renamed]).await;
    let page = recordings::without_embedding(&catalogue.store, deadline(), "m", None, 10);
    assert_eq!(page.await.unwrap().len(), 1);
    let late: Vec<_> = late
        .iter()
        .map(|it| Embedded {
            audio_id: it.audio_id,
            updated_at: it.updated_at,
            vector: direction(1),
        })
        .collect();
    let stored = recordings::set_embeddings(&catalogue.store, deadline(), "n", &late).await;
    assert_eq!(stored.unwrap(), 1, "of the one that is as it was");
    // A new location leaves the embedding as it is.
    let moved = Recording {
        title: "Another one".into(),
        location: Some("https://example.com/one.mp3".into()),
        ..one
    };
    let page = recordings::without_embedding(&catalogue.store, deadline(), "o", None, 10);
    assert_eq!(page.await.unwrap().len(), 2);
    embed(&catalogue.store, "o", of).await;
    catalogue.put(&[moved]).await;
    let page = recordings::without_embedding(&catalogue.store, deadline(), "o", None, 10);
    assert!(page.await.unwrap().is_empty());
}

#[tokio::test]
async fn putting_is_repeatable_and_says_what_it_did() {
    let mut all: Vec<_> = (0..30)
        .map(|n| recording("en", &format!("Number n{n}")))
        .collect();
    all[3].tags = vec!["with \"quotes\", {braces} and \\".into(), "ü".into()];
    let catalogue = Catalogue::of(&[]).await;
    let changed = async |all: &[Recording]| {
        recordings::changed(&catalogue.store, deadline(), all)
            .await
            .unwrap()
    };
    assert_eq!(changed(&all).await.len(), 30);

    assert_eq!(
        catalogue.put(&all).await,
        Put {
            added: 30,
            changed: 0
        }
    );
    assert!(changed(&all).await.is_empty());
    assert_eq!(catalogue.put(&all).await, Put::default());

    all[7].metadata = None;
    all[9].duration_seconds = None;
    assert_eq!(changed(&all).await, [7, 9]);
    let put = catalogue.put(&all).await;
    assert_eq!(
        put,
        Put {
            added: 0,
            changed: 2
        }
    );
    // What somebody changed by hand is brought back.
    catalogue
        .api
        .sql("update audio_resources set title = 'By hand' where title = 'Number n11'")
        .await;
    assert_eq!(changed(&all).await, [11]);
    catalogue.put(&all).await;
    // Of two with the same id the last one counts.
    let twice = [
        Recording {
            title: "First".into(),
            ..all[0].clone()
        },
        all[0].clone(),
    ];
    assert_eq!(catalogue.put(&twice).await, Put::default());

    let mut listed = Vec::new();
    loop {
        let after = listed
            .last()
            .map(|it: &recordings::Listed| it.recording.audio_id);
        let page = recordings::list(&catalogue.store, deadline(), after, 7).await;
        let page = page.unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    all.sort_by_key(|it| it.audio_id);
    let stored: Vec<_> = listed.into_iter().map(|it| it.recording).collect();
    assert_eq!(stored, all);
    catalogue.verify().await;
}

#[tokio::test]
async fn the_words_stay_counted_through_every_change() {
    let mut all: Vec<_> = (0..40)
        .map(|n| recording(["en", "de"][n % 2], &format!("Sleep schlafen n{n}")))
        .collect();
    let catalogue = Catalogue::of(&all).await;
    catalogue.verify().await;
    let maintain = store_at(&postgres::maintain_url(&catalogue.api.database));

    for (n, it) in all.iter_mut().enumerate() {
        match n % 4 {
            0 => it.title = "Something else".into(),
            1 => it.is_active = false,
            2 => it.language = Some("fr".into()),
            _ => it.transcript = Some("Sleep, sleep, and nothing else.".into()),
        }
    }
    catalogue.put(&all).await;
    catalogue.verify().await;
    let ids: Vec<_> = all.iter().take(10).map(|it| it.audio_id).collect();
    let removed = recordings::remove(&maintain, deadline(), &ids).await;
    assert_eq!(removed.unwrap(), 10);
    let again = recordings::remove(&maintain, deadline(), &ids).await;
    assert_eq!(again.unwrap(), 0);
    catalogue.verify().await;

    catalogue
        .api
        .sql("update audio_words set recordings = recordings + 1 where word = 'sleep'")
        .await;
    let config = DatabaseConfig::parse(&postgres::server().url(&catalogue.api.database));
    let violations = local::verify::violations(&config.unwrap()).await.unwrap();
    assert!(violations.iter().all(|it| it.invariant == "words"));
    assert!(!violations.is_empty());
}

#[tokio::test]
async fn imports_at_the_same_time_do_not_lock_each_other_out() {
    let all: Vec<_> = (0..100)
        .map(|n| recording("en", &format!("Sleep calm n{} n{}", n % 50, n % 7)))
        .collect();
    let catalogue = Catalogue::of(&all).await;
    let url = postgres::app_url(&catalogue.api.database);
    // So many words that two imports are likely to count them at the same time.
    let transcript: String = (0..2_000).map(|n| format!("word{n} ")).collect();
    // Half of them change the same recordings in other orders; the others add some with the same words.
    let imports: Vec<_> = (0..6_usize)
        .map(|import| {
            let mut all = all.clone();
            all.rotate_left(import * 13);
            for it in &mut all {
                it.summary = Some(format!("Import{import} sleep"));
                it.transcript = Some(transcript.clone());
                if import % 2 == 1 {
                    it.audio_id = Uuid::new_v4();
                }
            }
            let store = store_at(&url);
            tokio::spawn(async move {
                for batch in all.chunks(20) {
                    recordings::put(&store, deadline(), batch).await.unwrap();
                }
            })
        })
        .collect();
    for import in imports {
        import.await.unwrap();
    }
    let deadlocks = format!(
        "select deadlocks from pg_stat_database where datname = '{}'",
        catalogue.api.database
    );
    assert_eq!(catalogue.api.number(&deadlocks).await, 0);
    catalogue.verify().await;
}

#[tokio::test]
async fn the_role_of_the_functions_imports_and_searches_and_does_not_delete() {
    let one = recording("en", "Needle");
    let catalogue = Catalogue::of(std::slice::from_ref(&one)).await;
    assert_eq!(catalogue.titles("needle").await, ["Needle"]);

    let refused = recordings::remove(&catalogue.store, deadline(), &[one.audio_id]).await;

    let message = format!("{:?}", refused.unwrap_err());
    assert!(message.contains("42501"), "{message}");
    assert_eq!(catalogue.titles("needle").await, ["Needle"]);
}

#[tokio::test]
async fn the_longest_texts_are_stored_and_searched_as_far_as_an_index_holds_them() {
    let mut long = recording("en", "Long");
    let begins = format!("beginning {}", "wordy ".repeat(5_000));
    let filler: String = (10_000..40_000).map(|n| format!("w{n} ")).collect();
    let ends = " ending";
    let room = recordings::MAX_TRANSCRIPT_CHARACTERS - begins.len() - ends.len();
    long.transcript = Some(format!("{begins}{}{ends}", &filler[..room]));
    let mut wide = recording("", "Wide");
    // Each character becomes eighteen.
    wide.transcript = Some("\u{FDFA}".repeat(recordings::MAX_TRANSCRIPT_CHARACTERS));
    let mut one_word = recording("el", "Word");
    one_word.transcript = Some("ώ".repeat(recordings::MAX_TRANSCRIPT_CHARACTERS));
    let catalogue = Catalogue::of(&[long, wide, one_word]).await;

    assert_eq!(catalogue.titles("beginning").await, ["Long"]);
    assert!(catalogue.find("ending").await.is_empty());
    catalogue.verify().await;
}
