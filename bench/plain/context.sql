select role, content
from chat_messages
where session_id = {session_id}
order by seq desc
limit 20
