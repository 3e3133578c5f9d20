//! Sessions that are made in the database, without any turn.

/// The size of a message as JSON without its text, in bytes.
const MESSAGE_BYTES: usize = 201;

/// A statement that makes a session for each row of the query `ids`, which has a column `session_id`. Each
/// gets this many messages, of which the n-th says `n`, padded with dots to this length. Of the counters it
/// sets those that other statements read.
pub fn filled_sessions(ids: &str, messages: usize, length: usize) -> String {
    format!(
        "with said as (
            select session_id, n, rpad(n::text, greatest({length}, length(n::text)), '.') as content
            from ({ids}) ids
            cross join generate_series(1, {messages}) n
        ),
        session as (
            insert into chat_sessions (session_id, message_count, json_bytes)
            select session_id, {messages}, sum(length(content) + {MESSAGE_BYTES})
            from said
            group by session_id
        )
        insert into chat_messages (
            session_id, seq, message_id, role, content, characters, json_bytes_through
        )
        select
            session_id, n, gen_random_uuid(),
            case when n % 2 = 1 then 'user' else 'assistant' end,
            content, length(content),
            sum(length(content) + {MESSAGE_BYTES}) over (partition by session_id order by n)
        from said"
    )
}
