select seq, message_id, role, content, timestamp, audio_files, function_calls, metadata
from chat_messages
where session_id = {session_id}
order by seq desc
limit 10
