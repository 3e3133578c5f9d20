select *
from chat_sessions
where session_id = {session_id}
