//! Searching a catalogue of recordings by words, and by meaning without an extension; and importing into it.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};

use super::Stage;
use crate::database::RECORDINGS;
use crate::progress;
use crate::report::{Report, Wanted};
use crate::sample::Sample;
use crate::statements::{PUT_RECORDINGS, SEARCH_RECORDINGS};

/// How long a search by words may take, in milliseconds.
const WANTED_MEDIAN: Wanted = Wanted::AtMost(10.0);
const WANTED_P99: Wanted = Wanted::AtMost(50.0);

/// How long a search may take that compares all embeddings of a catalogue.
const WANTED_BY_MEANING: Wanted = Wanted::AtMost(150.0);

/// The most recordings whose embeddings are compared without pgvector, and the numbers of each.
const EMBEDDED: usize = 10_000;
const DIMENSIONS: usize = 1_536;

/// Different words; the n-th is used once in n times.
const WORDS: usize = 50_000;

/// Different transcripts, of 150 to 300 words.
const TRANSCRIPTS: usize = 10_000;

/// Recordings in a batch of an import, and batches.
const BATCH: usize = 100;
const BATCHES: usize = 5;

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) {
    let recordings = stage.effort.recordings;
    progress::step(format!("filling a catalogue with {recordings} recordings"));
    stage.database.create_today(RECORDINGS).await;
    stage.database.run(RECORDINGS, &catalogue(recordings)).await;
    stage.database.run(RECORDINGS, "vacuum (analyze)").await;

    let (client, connection) = tokio_postgres::connect(&stage.database.url(RECORDINGS), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    progress::step("searches by words");
    by_words(stage, &client, report).await;
    progress::step("imports");
    imports(stage, &client, report).await;
    progress::step("searches by meaning");
    by_meaning(stage, &client, report).await;
}

/// Queries of 3 to 8 words, drawn like those of the recordings; a third of them also have a word that no
/// recording has.
async fn by_words(stage: &Stage, client: &Client, report: &mut Report) {
    let queries = format!(
        "select bench_text(3 + n % 6, n) || case n % 3 when 0 then ' nobody' else '' end as query
         from generate_series(1, {}) n",
        stage.effort.times
    );
    let admin = stage.database.connect(RECORDINGS).await;
    let rows = admin.query_typed(&queries, &[]).await.unwrap();
    let mut sample = Sample::default();
    let mut found = 0;
    for row in &rows {
        let query: String = row.get("query");
        found += search(client, &mut sample, &query, None).await;
    }
    assert!(found > rows.len(), "nearly every query finds something");
    report.add(
        "search by words, median",
        sample.median_ms(),
        "ms",
        None,
        Some(WANTED_MEDIAN),
    );
    report.add(
        "search by words, p99",
        sample.percentile_ms(99),
        "ms",
        None,
        Some(WANTED_P99),
    );
}

/// Searches by the embedding of a recording, among as many as are compared without an index.
async fn by_meaning(stage: &Stage, client: &Client, report: &mut Report) {
    let embedded = EMBEDDED.min(stage.effort.recordings);
    let embed = format!(
        "update audio_resources r
         set embedding = array(
                 select (random() - 0.5 + sin(e.place * i))::real
                 from generate_series(1, {DIMENSIONS}) i
             ),
             embedding_model = 'bench'
         from (
             select audio_id, row_number() over () % 50 as place
             from (select audio_id from audio_resources limit {embedded}) e
         ) e
         where r.audio_id = e.audio_id;
         analyze audio_resources"
    );
    stage.database.run(RECORDINGS, &embed).await;
    let admin = stage.database.connect(RECORDINGS).await;
    let some = format!(
        "select embedding from audio_resources where embedding is not null limit {}",
        stage.effort.times.min(50)
    );
    let mut sample = Sample::default();
    for row in admin.query_typed(&some, &[]).await.unwrap() {
        let embedding: Vec<f32> = row.get("embedding");
        let found = search(client, &mut sample, "nobody", Some(&embedding)).await;
        assert!(found > 0, "a recording is near itself");
    }
    let what = format!("search by meaning, {embedded} embeddings without pgvector, median");
    report.add(
        &what,
        sample.median_ms(),
        "ms",
        None,
        Some(WANTED_BY_MEANING),
    );
}

/// Searches; returns how many recordings were found.
async fn search(
    client: &Client,
    sample: &mut Sample,
    query: &str,
    embedding: Option<&[f32]>,
) -> usize {
    let model = embedding.map(|_| "bench");
    let none: Option<&str> = None;
    let no_recordings: Option<serde_json::Value> = None;
    let parameters: [(&(dyn ToSql + Sync), Type); 7] = [
        (&query, Type::TEXT),
        (&none, Type::TEXT),
        (&embedding, Type::FLOAT4_ARRAY),
        (&model, Type::TEXT),
        (&no_recordings, Type::JSONB),
        (&false, Type::BOOL),
        (&3_i32, Type::INT4),
    ];
    let found = sample.time(client.query_typed(SEARCH_RECORDINGS.sql, &parameters));
    found.await.unwrap().len()
}

/// Batches of new recordings, which are then in the index.
async fn imports(stage: &Stage, client: &Client, report: &mut Report) {
    let admin = stage.database.connect(RECORDINGS).await;
    let batch = format!(
        "select jsonb_agg(jsonb_build_object(
             'audio_id', gen_random_uuid(), 'filename', n || '.mp3', 'title', bench_text(5, n),
             'summary', bench_text(25, n), 'transcript', bench_text(150 + n % 151, n), 'language', 'en',
             'tags', string_to_array(bench_text(3, n), ' '), 'is_active', true, 'digest', '\\x00'
         ))::text as batch
         from generate_series(1, {BATCH}) n"
    );
    let put = PUT_RECORDINGS.sql.replace("$1", "$1::text::jsonb");
    let mut sample = Sample::default();
    for _ in 0..BATCHES {
        let row = admin.query_typed_one(&batch, &[]).await.unwrap();
        let batch: String = row.get("batch");
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&batch, Type::TEXT)];
        let done = sample.time(client.query_typed_one(&put, &parameters)).await;
        assert_eq!(done.unwrap().get::<_, i64>("added"), BATCH as i64);
    }
    let per_second = BATCH as f64 / (sample.median_ms() / 1e3);
    report.add("recordings imported", per_second, "per s", None, None);
}

/// Statements that fill the catalogue. The greatest indexes are made at the end, in a third of the time.
fn catalogue(recordings: usize) -> String {
    format!(
        "create function bench_word(n integer) returns text language sql immutable as $$
            select translate(substr(md5(n::text), 1, 3 + n * 7 % 6), '0123456789', 'ghijklmnop')
        $$;
        create function bench_text(words integer, seed integer) returns text language sql volatile as $$
            select string_agg(bench_word(floor({WORDS} ^ random())::integer), ' ')
            from generate_series(1, words)
            where seed > 0
        $$;
        create table bench_transcripts as
        select n, bench_text(150 + n % 151, n) as transcript
        from generate_series(1, least({TRANSCRIPTS}, {recordings})) n;
        create index on bench_transcripts (n);
        analyze bench_transcripts;
        create table bench_indexes as
        select indexname, indexdef
        from pg_indexes
        where tablename = 'audio_resources' and indexdef ~* 'using gin';
        do $$
        declare index record;
        begin
            for index in select * from bench_indexes loop
                execute format('drop index %I', index.indexname);
            end loop;
        end
        $$;
        insert into audio_resources (
            audio_id, filename, title, tags, summary, transcript, language
        )
        select
            gen_random_uuid(), r.n || '.mp3', bench_text(5, r.n), string_to_array(bench_text(3, r.n), ' '),
            bench_text(25, r.n), t.transcript, 'en'
        from generate_series(1, {recordings}) r (n)
        join bench_transcripts t on t.n = 1 + r.n % least({TRANSCRIPTS}, {recordings});
        do $$
        declare index record;
        begin
            for index in select * from bench_indexes loop
                execute index.indexdef;
            end loop;
        end
        $$"
    )
}
