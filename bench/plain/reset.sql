with closed as (
    update chat_sessions
    set is_active = false
    where session_id = {session_id}
    returning session_id
)
insert into chat_sessions (session_id)
select gen_random_uuid()
from closed
