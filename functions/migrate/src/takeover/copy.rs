//! Copies the rows, in batches, so that memory holds no more than one. What depends on a text is worked out
//! here, by the same code as in a turn.

use shared::caller::Owner;
use shared::database::{Connection, DatabaseError};
use shared::store::derived::{characters, digest, json_bytes, title};
use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::conversation::{Conversation, Place};
use super::json::storable;
use super::report::TakenOver;
use super::rows::{OldMessage, OldRow};
use super::tables::Tables;
use crate::config::LegacyConfig;
use crate::error::MigrateError;

/// How many rows are read and stored together.
const BATCH: usize = 500;

const ADD: &str = include_str!("sql/add.sql");

/// Copies all conversations.
pub(super) async fn copy(
    connection: &Connection,
    tables: &Tables,
    config: &LegacyConfig,
) -> Result<TakenOver, MigrateError> {
    let client = connection.client();
    let declare = format!("declare old_rows no scroll cursor for {}", tables.rows());
    client
        .batch_execute(&declare)
        .await
        .map_err(DatabaseError::from)?;
    let now = client
        .query_typed_one("select now()", &[])
        .await
        .and_then(|row| row.try_get(0))
        .map_err(DatabaseError::from)?;
    let mut copy = Copy {
        config,
        now,
        conversation: None,
        taken_over: TakenOver::default(),
    };
    loop {
        let fetch = format!("fetch {BATCH} from old_rows");
        let rows = client
            .query_typed(&fetch, &[])
            .await
            .map_err(DatabaseError::from)?;
        if rows.is_empty() {
            break;
        }
        let batch = copy.read(&rows)?;
        batch.store(connection).await?;
    }
    client
        .batch_execute("close old_rows")
        .await
        .map_err(DatabaseError::from)?;
    Ok(copy.taken_over)
}

struct Copy<'a> {
    config: &'a LegacyConfig,
    now: OffsetDateTime,
    /// The one that is being read; its messages may go on in the next batch.
    conversation: Option<Conversation>,
    taken_over: TakenOver,
}

impl Copy<'_> {
    fn read(&mut self, rows: &[Row]) -> Result<Batch, MigrateError> {
        let mut batch = Batch::default();
        for row in rows {
            let row = OldRow::read(row)?;
            let begun = self.conversation.take();
            let mut conversation = match begun.filter(|begun| begun.session_id == row.session_id) {
                Some(conversation) => conversation,
                None => self.begin(&row),
            };
            batch.add_conversation(&conversation);
            match row.message {
                None => self.taken_over.empty_sessions += 1,
                Some(message) => self.add(&mut batch, &mut conversation, message)?,
            }
            self.conversation = Some(conversation);
        }
        Ok(batch)
    }

    fn begin(&mut self, row: &OldRow) -> Conversation {
        let owner = self.owner(row.user.as_deref());
        let count = &mut self.taken_over;
        count.sessions += 1;
        count.sessions_without_row += i64::from(!row.has_row);
        count.sessions_without_owner += i64::from(owner.is_none());
        Conversation::new(row, owner.map(|owner| owner.to_string()), self.now)
    }

    fn owner(&self, user: Option<&str>) -> Option<Owner> {
        let named = |user| Owner::new(self.config.owner_kind?, user);
        let owner = user.and_then(named);
        owner.or_else(|| self.config.owner.clone())
    }

    fn add(
        &mut self,
        batch: &mut Batch,
        conversation: &mut Conversation,
        message: OldMessage,
    ) -> Result<(), MigrateError> {
        let place = conversation.add(&message);
        let count = &mut self.taken_over;
        count.messages += 1;
        count.changed_message_ids += i64::from(place.has_new_id);
        count.missing_times += i64::from(place.has_new_time);
        count.answers_without_question +=
            i64::from(!message.is_question && place.reply_to_seq.is_none());
        let mut json = |text: Option<String>| {
            let (text, is_changed) = storable(&text.filter(|text| text.trim() != "null")?);
            count.replaced_characters += i64::from(is_changed);
            Some(text)
        };
        batch.audio_files.push(json(message.audio_files));
        batch.function_calls.push(json(message.function_calls));
        batch.extra_data.push(json(message.extra_data));
        batch.add_message(
            conversation.session_id,
            &place,
            message.is_question,
            message.content,
        )
    }
}

/// A list for each parameter of [`ADD`].
#[derive(Default)]
struct Batch {
    session_ids: Vec<Uuid>,
    seqs: Vec<i64>,
    replies: Vec<Option<i64>>,
    message_ids: Vec<Uuid>,
    times: Vec<OffsetDateTime>,
    contents: Vec<String>,
    digests: Vec<Option<Vec<u8>>>,
    characters: Vec<i32>,
    sizes: Vec<i64>,
    audio_files: Vec<Option<String>>,
    function_calls: Vec<Option<String>>,
    extra_data: Vec<Option<String>>,

    conversations: Vec<Uuid>,
    owners: Vec<Option<String>>,
    created_at: Vec<OffsetDateTime>,
    updated_at: Vec<Option<OffsetDateTime>>,
    are_active: Vec<bool>,
    /// `None` until a question is in the batch.
    titles: Vec<Option<String>>,
}

impl Batch {
    /// Adds a conversation, unless it is the one that was added last.
    fn add_conversation(&mut self, conversation: &Conversation) {
        if self.conversations.last() == Some(&conversation.session_id) {
            return;
        }
        self.conversations.push(conversation.session_id);
        self.owners.push(conversation.owner.clone());
        self.created_at.push(conversation.created_at);
        self.updated_at.push(conversation.updated_at);
        self.are_active.push(conversation.is_active);
        self.titles.push(None);
    }

    /// Adds a message to the conversation that was added last.
    fn add_message(
        &mut self,
        session_id: Uuid,
        place: &Place,
        is_question: bool,
        content: String,
    ) -> Result<(), MigrateError> {
        if let Some(first) = self.titles.last_mut()
            && is_question
            && first.is_none()
        {
            *first = Some(title(&content));
        }
        let size = json_bytes(&content)
            .map_err(|problem| MigrateError::Legacy(format!("a message is too odd: {problem}")))?;
        self.session_ids.push(session_id);
        self.seqs.push(place.seq);
        self.replies.push(place.reply_to_seq);
        self.message_ids.push(place.message_id);
        self.times.push(place.time);
        self.digests.push(is_question.then(|| digest(&content)));
        self.characters.push(characters(&content));
        self.sizes.push(size);
        self.contents.push(content);
        Ok(())
    }

    async fn store(&self, connection: &Connection) -> Result<(), DatabaseError> {
        connection
            .client()
            .query_typed(
                ADD,
                &[
                    (&self.session_ids, Type::UUID_ARRAY),
                    (&self.seqs, Type::INT8_ARRAY),
                    (&self.replies, Type::INT8_ARRAY),
                    (&self.message_ids, Type::UUID_ARRAY),
                    (&self.times, Type::TIMESTAMPTZ_ARRAY),
                    (&self.contents, Type::TEXT_ARRAY),
                    (&self.digests, Type::BYTEA_ARRAY),
                    (&self.characters, Type::INT4_ARRAY),
                    (&self.sizes, Type::INT8_ARRAY),
                    (&self.audio_files, Type::TEXT_ARRAY),
                    (&self.function_calls, Type::TEXT_ARRAY),
                    (&self.extra_data, Type::TEXT_ARRAY),
                    (&self.conversations, Type::UUID_ARRAY),
                    (&self.owners, Type::TEXT_ARRAY),
                    (&self.created_at, Type::TIMESTAMPTZ_ARRAY),
                    (&self.updated_at, Type::TIMESTAMPTZ_ARRAY),
                    (&self.are_active, Type::BOOL_ARRAY),
                    (&self.titles, Type::TEXT_ARRAY),
                ],
            )
            .await?;
        Ok(())
    }
}
