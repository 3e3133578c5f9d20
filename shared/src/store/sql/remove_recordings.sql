-- Deletes recordings.
--
-- $1 their ids
with
removed as (
    delete from public.audio_resources r
    where r.audio_id = any($1)
    returning r.audio_id
)
select count(*) as removed
from removed
