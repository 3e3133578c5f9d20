-- Releases the lease of a turn that will not finish, so that it can be retried immediately.
--
-- $1 session_id, $2 owner, $3 lease_id
update chat_sessions
set lease_id = null,
    lease_until = null
where session_id = $1
  and owner is not distinct from $2
  and lease_id = $3
