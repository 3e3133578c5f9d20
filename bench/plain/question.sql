with session as (
    update chat_sessions
    set message_count = message_count + 1,
        user_messages = user_messages + 1,
        json_bytes = json_bytes + 250,
        last_message_time = now()
    where session_id = {session_id}
    returning session_id, message_count, json_bytes
)
insert into chat_messages (
    session_id, seq, message_id, role, content, characters, json_bytes_through
)
select
    session_id, message_count, gen_random_uuid(), 'user', 'I sleep badly. What would help me?', 34,
    json_bytes
from session
