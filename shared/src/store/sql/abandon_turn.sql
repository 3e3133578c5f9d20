-- Gives back the lease of a turn that will not be finished, so that the turn can be repeated
-- immediately.
--
-- $1 session_id, $2 owner, $3 lease_id
update chat_sessions
set lease_id = null,
    lease_until = null
where session_id = $1
  and owner is not distinct from $2
  and lease_id = $3
