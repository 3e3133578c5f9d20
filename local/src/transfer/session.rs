//! A session that is imported: whole, in one transaction, or not at all.

use std::collections::BTreeSet;

use serde_json::Value;
use shared::database::{Connection, DatabaseError};
use shared::store::derived::{characters, digest, json_bytes, title};
use time::OffsetDateTime;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::line::{MessageLine, Moment, Role, SessionLine};

/// How many messages are sent together, and how many bytes of text.
const MAX_BATCH: usize = 500;
const MAX_BATCH_BYTES: usize = 2_000_000;

/// Opens the session, if its id is unused; says why not otherwise. $1 session_id, $2 owner, $3 created_at,
/// $4 updated_at, $5 is_active, $6 is_pinned, $7 is_archived, $8 metadata, $9 and $10 session and message it
/// is a copy of
const OPEN: &str = "
    with opened as (
        insert into public.chat_sessions (
            session_id, owner, created_at, updated_at, is_active, is_pinned, is_archived, metadata,
            forked_from_session_id, forked_from_message_id, forked_seq
        )
        select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, case when $9 is not null then 1 end
        where not exists (select from public.chat_erasures where session_id = $1)
        on conflict (session_id) do nothing
        returning session_id
    )
    select
        exists (select from opened) as opened,
        exists (select from public.chat_erasures where session_id = $1) as erased,
        s.message_count,
        s.owner is not distinct from $2 as has_same_owner,
        (
            select m.message_id
            from public.chat_messages m
            where m.session_id = s.session_id
              and m.seq = s.message_count
        ) as last_message_id
    from (select) nothing
    left join public.chat_sessions s on s.session_id = $1 and s.erased_at is null";

/// Adds messages, and returns the size of the history with them. $1 session_id, $2 its size before, $3 and up
/// a list for each column
const ADD: &str = "
    with added as (
        insert into public.chat_messages (
            session_id, seq, reply_to_seq, message_id, timestamp, role, content, content_digest,
            characters, json_bytes_through, audio_files, audio_file_count, function_calls, metadata,
            model, input_tokens, cached_input_tokens, output_tokens, finish_reason, latency_ms,
            first_token_ms, origin_message_id
        )
        select
            $1, seq, reply_to_seq, message_id, timestamp, role, content, content_digest, characters,
            $2 + sum(
                json_bytes
                + coalesce(octet_length(audio_files::text), 0)
                + coalesce(octet_length(function_calls::text), 0)
                + coalesce(octet_length(metadata::text), 0)
            ) over (order by seq),
            audio_files, coalesce(jsonb_array_length(audio_files), 0), function_calls, metadata,
            model, input_tokens, cached_input_tokens, output_tokens, finish_reason, latency_ms,
            first_token_ms, origin_message_id
        from unnest(
            $3::bigint[], $4::bigint[], $5::uuid[], $6::timestamptz[], $7::text[], $8::text[],
            $9::bytea[], $10::integer[], $11::bigint[], $12::jsonb[], $13::jsonb[], $14::jsonb[],
            $15::text[], $16::bigint[], $17::bigint[], $18::bigint[], $19::text[], $20::integer[],
            $21::integer[], $22::uuid[]
        ) as line (
            seq, reply_to_seq, message_id, timestamp, role, content, content_digest, characters,
            json_bytes, audio_files, function_calls, metadata, model, input_tokens,
            cached_input_tokens, output_tokens, finish_reason, latency_ms, first_token_ms,
            origin_message_id
        )
        returning json_bytes_through
    )
    select max(json_bytes_through) from added";

/// Adds feedback. $1 session_id, $2 positions, $3 ratings, $4 comments
const ADD_FEEDBACK: &str = "
    insert into public.chat_feedback (session_id, seq, rating, comment)
    select $1, seq, rating, comment
    from unnest($2::bigint[], $3::text[], $4::text[]) as given (seq, rating, comment)";

/// Counts what was added. $1 session_id, $2 title, $3 the caller's own title, $4 forked_seq
const COUNT: &str = "
    update public.chat_sessions s
    set message_count = counted.message_count,
        user_messages = counted.user_messages,
        assistant_messages = counted.assistant_messages,
        audio_files_provided = counted.audio_files_provided,
        input_tokens = counted.input_tokens,
        output_tokens = counted.output_tokens,
        json_bytes = counted.json_bytes,
        first_message_time = counted.first_message_time,
        last_message_time = counted.last_message_time,
        title = $2,
        own_title = $3,
        forked_seq = $4
    from (
        select
            count(*) as message_count,
            count(*) filter (where role = 'user') as user_messages,
            count(*) filter (where role = 'assistant') as assistant_messages,
            coalesce(sum(audio_file_count) filter (where role = 'assistant'), 0)
                as audio_files_provided,
            coalesce(sum(input_tokens), 0) as input_tokens,
            coalesce(sum(output_tokens), 0) as output_tokens,
            coalesce(max(json_bytes_through), 0) as json_bytes,
            min(timestamp) as first_message_time,
            max(timestamp) as last_message_time
        from public.chat_messages
        where session_id = $1
    ) counted
    where s.session_id = $1";

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is stored.
    Imported,
    /// It was there already, with the same messages.
    Known,
    /// It was erased, and stays so.
    Erased,
}

/// Why a session was not imported.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is not as it should be; the next one can be.
    Rejected(String),
    /// The database failed; nothing of the session is stored.
    Database(DatabaseError),
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// A session while its lines are read.
pub(super) struct Importing<'a> {
    connection: &'a Connection,
    line: SessionLine,
    state: State,
    batch: Vec<MessageLine>,
    batch_bytes: usize,
    /// What was read so far.
    count: i64,
    last_message_id: Option<Uuid>,
    last_time: Option<OffsetDateTime>,
    first_question: Option<String>,
    /// The positions of the questions without an answer.
    unanswered: BTreeSet<i64>,
    forked_seq: Option<i64>,
    json_bytes: i64,
}

enum State {
    /// Its transaction is open.
    Open,
    /// It is in the database with this many messages, and this last one.
    Known(i64, Option<Uuid>),
    Erased,
}

impl<'a> Importing<'a> {
    /// Begins with the line of a session; `owner` is for one that names none.
    pub(super) async fn begin(
        connection: &'a Connection,
        line: SessionLine,
        owner: Option<&str>,
    ) -> Result<Self, Failure> {
        let owner = line
            .owner
            .clone()
            .unwrap_or_else(|| owner.map(str::to_owned));
        let client = connection.client();
        client.batch_execute("begin").await?;
        let origin = line.forked_from.as_ref();
        let updated_at = line.updated_at.unwrap_or(line.created_at);
        let row = client
            .query_typed_one(
                OPEN,
                &[
                    (&line.session_id, Type::UUID),
                    (&owner, Type::TEXT),
                    (&line.created_at.0, Type::TIMESTAMPTZ),
                    (&updated_at.0, Type::TIMESTAMPTZ),
                    (&(line.status.as_deref() != Some("inactive")), Type::BOOL),
                    (&line.pinned, Type::BOOL),
                    (&line.archived, Type::BOOL),
                    (&line.metadata, Type::JSONB),
                    (&origin.map(|origin| origin.session_id), Type::UUID),
                    (&origin.map(|origin| origin.message_id), Type::UUID),
                ],
            )
            .await?;
        let message_count: Option<i64> = row.try_get("message_count")?;
        let state = if row.try_get("opened")? {
            State::Open
        } else if row.try_get("erased")? {
            State::Erased
        } else {
            match (message_count, row.try_get("has_same_owner")?) {
                (Some(count), Some(true)) => State::Known(count, row.try_get("last_message_id")?),
                // Also one that another import has just opened, which is not visible yet.
                _ => {
                    return Err(Failure::Rejected(
                        "its id belongs to a session of another owner".into(),
                    ));
                }
            }
        };
        Ok(Self {
            connection,
            line,
            state,
            batch: Vec::new(),
            batch_bytes: 0,
            count: 0,
            last_message_id: None,
            last_time: None,
            first_question: None,
            unanswered: BTreeSet::new(),
            forked_seq: None,
            json_bytes: 0,
        })
    }

    /// Adds the next message.
    pub(super) async fn add(&mut self, message: MessageLine) -> Result<(), Failure> {
        let reject = |why: &str| Err(Failure::Rejected(why.into()));
        if message.session_id != self.line.session_id {
            return reject("the message belongs to another session than the one before it");
        }
        if message.seq != self.count + 1 {
            return Err(Failure::Rejected(format!(
                "the message is at position {} and should be at {}",
                message.seq,
                self.count + 1
            )));
        }
        match message.reply_to_seq {
            None if message.role == Role::User => {
                self.unanswered.insert(message.seq);
            }
            None => {}
            Some(question) if self.unanswered.remove(&question) => {}
            Some(_) => {
                return reject("the message answers none of the user's, or one a second time");
            }
        }
        let Moment(time) = message.timestamp;
        if self.last_time.is_some_and(|last| time < last) {
            return reject("the message is earlier than the one before it");
        }
        if message.origin_message_id.is_some() {
            if self.line.forked_from.is_none() || self.forked_seq.unwrap_or(0) != self.count {
                return reject("`origin_message_id` is only for the first messages of a copy");
            }
            self.forked_seq = Some(message.seq);
        }
        self.count = message.seq;
        self.last_message_id = Some(message.message_id);
        self.last_time = Some(time);
        if message.role == Role::User && self.first_question.is_none() {
            self.first_question = Some(message.content.clone());
        }
        if matches!(self.state, State::Open) {
            self.batch_bytes += message.content.len();
            self.batch.push(message);
            if self.batch.len() >= MAX_BATCH || self.batch_bytes >= MAX_BATCH_BYTES {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Stores the session.
    pub(super) async fn finish(mut self) -> Result<Outcome, Failure> {
        match self.state {
            State::Erased => return Ok(Outcome::Erased),
            State::Known(count, last) if (count, last) == (self.count, self.last_message_id) => {
                return Ok(Outcome::Known);
            }
            State::Known(count, _) => {
                return Err(Failure::Rejected(format!(
                    "it is stored already with other messages, {count} instead of {}",
                    self.count
                )));
            }
            State::Open => {}
        }
        if self.line.forked_from.is_some() && self.forked_seq.is_none() {
            return Err(Failure::Rejected(
                "it is a copy, but no message has an `origin_message_id`".into(),
            ));
        }
        self.send().await?;
        let automatic = self.first_question.as_deref().map(title);
        let own = self
            .line
            .title
            .as_ref()
            .filter(|own| Some(*own) != automatic.as_ref());
        let client = self.connection.client();
        client
            .query_typed(
                COUNT,
                &[
                    (&self.line.session_id, Type::UUID),
                    (&automatic, Type::TEXT),
                    (&own, Type::TEXT),
                    (&self.forked_seq, Type::INT8),
                ],
            )
            .await?;
        client.batch_execute("commit").await?;
        Ok(Outcome::Imported)
    }

    /// Sends the messages that were read.
    async fn send(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        let mut sizes = Vec::new();
        for message in &batch {
            let size = json_bytes(&message.content);
            sizes.push(size.map_err(|problem| Failure::Rejected(problem.to_string()))?);
        }
        let is_question = |message: &&MessageLine| message.role == Role::User;
        let digests: Vec<_> = batch
            .iter()
            .map(|message| {
                Some(message)
                    .filter(is_question)
                    .map(|one| digest(&one.content))
            })
            .collect();
        let roles: Vec<_> = batch
            .iter()
            .map(|message| {
                if is_question(&message) {
                    "user"
                } else {
                    "assistant"
                }
            })
            .collect();
        let usage = |message: &MessageLine| {
            message.usage.as_ref().map(|usage| {
                (
                    usage.input_tokens,
                    usage.cached_input_tokens,
                    usage.output_tokens,
                )
            })
        };
        let usages: Vec<_> = batch
            .iter()
            .map(|one| usage(one).unwrap_or_default())
            .collect();
        let row = self
            .connection
            .client()
            .query_typed_one(
                ADD,
                &[
                    (&self.line.session_id, Type::UUID),
                    (&self.json_bytes, Type::INT8),
                    (&list(&batch, |one| one.seq), Type::INT8_ARRAY),
                    (&list(&batch, |one| one.reply_to_seq), Type::INT8_ARRAY),
                    (&list(&batch, |one| one.message_id), Type::UUID_ARRAY),
                    (
                        &list(&batch, |one| one.timestamp.0),
                        Type::TIMESTAMPTZ_ARRAY,
                    ),
                    (&roles, Type::TEXT_ARRAY),
                    (&list(&batch, |one| one.content.as_str()), Type::TEXT_ARRAY),
                    (&digests, Type::BYTEA_ARRAY),
                    (
                        &list(&batch, |one| characters(&one.content)),
                        Type::INT4_ARRAY,
                    ),
                    (&sizes, Type::INT8_ARRAY),
                    (
                        &list(&batch, |one| json(one.audio_files.as_ref())),
                        Type::JSONB_ARRAY,
                    ),
                    (
                        &list(&batch, |one| json(one.function_calls.as_ref())),
                        Type::JSONB_ARRAY,
                    ),
                    (
                        &list(&batch, |one| json(one.metadata.as_ref())),
                        Type::JSONB_ARRAY,
                    ),
                    (&list(&batch, |one| one.model.as_deref()), Type::TEXT_ARRAY),
                    (&list(&usages, |(input, ..)| *input), Type::INT8_ARRAY),
                    (&list(&usages, |(_, cached, _)| *cached), Type::INT8_ARRAY),
                    (&list(&usages, |(.., output)| *output), Type::INT8_ARRAY),
                    (
                        &list(&batch, |one| one.finish_reason.as_deref()),
                        Type::TEXT_ARRAY,
                    ),
                    (&list(&batch, |one| one.latency_ms), Type::INT4_ARRAY),
                    (&list(&batch, |one| one.first_token_ms), Type::INT4_ARRAY),
                    (&list(&batch, |one| one.origin_message_id), Type::UUID_ARRAY),
                ],
            )
            .await
            .map_err(rejected_or_failed)?;
        self.json_bytes = row.try_get(0)?;
        self.send_feedback(&batch).await
    }

    async fn send_feedback(&self, batch: &[MessageLine]) -> Result<(), Failure> {
        let given: Vec<_> = batch
            .iter()
            .filter_map(|message| {
                message
                    .feedback
                    .as_ref()
                    .map(|feedback| (message.seq, feedback))
            })
            .collect();
        if given.is_empty() {
            return Ok(());
        }
        self.connection
            .client()
            .query_typed(
                ADD_FEEDBACK,
                &[
                    (&self.line.session_id, Type::UUID),
                    (&list(&given, |(seq, _)| *seq), Type::INT8_ARRAY),
                    (
                        &list(&given, |(_, one)| one.rating.as_str()),
                        Type::TEXT_ARRAY,
                    ),
                    (
                        &list(&given, |(_, one)| one.comment.as_deref()),
                        Type::TEXT_ARRAY,
                    ),
                ],
            )
            .await?;
        Ok(())
    }
}

/// Ends whatever transaction is open, without storing anything.
pub(super) async fn roll_back(connection: &Connection) -> Result<(), DatabaseError> {
    Ok(connection.client().batch_execute("rollback").await?)
}

/// A constraint that does not hold is the fault of the lines.
fn rejected_or_failed(error: tokio_postgres::Error) -> Failure {
    let constraint = error.as_db_error().and_then(|error| error.constraint());
    match constraint {
        Some("chat_messages_session_id_message_id_key") => {
            Failure::Rejected("two messages have the same `message_id`".into())
        }
        _ => Failure::Database(error.into()),
    }
}

fn list<'a, T, V>(items: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    items.iter().map(value).collect()
}

fn json(value: Option<&Value>) -> Option<Json<&Value>> {
    value.map(Json)
}
