with session as (
    update chat_sessions
    set message_count = message_count + 1,
        assistant_messages = assistant_messages + 1,
        json_bytes = json_bytes + 250,
        last_message_time = now()
    where session_id = {session_id}
    returning session_id, message_count, json_bytes
)
insert into chat_messages (
    session_id, seq, reply_to_seq, message_id, role, content, characters, json_bytes_through
)
select
    session_id, message_count, message_count - 1, gen_random_uuid(), 'assistant',
    'I am a model that says this, and what you said: I sleep badly. What would help me?', 81, json_bytes
from session
