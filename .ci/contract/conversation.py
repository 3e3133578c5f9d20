"""A conversation through the client that openapi-python-client generates."""

import sys
from uuid import uuid4

from daissy import Client
from daissy.api.conversation import chat
from daissy.api.sessions import history, load_session, reset, status
from daissy.models import (
    ChatReply,
    ChatRequest,
    HistoryReply,
    LoadSessionReply,
    Object,
    ResetReply,
    ServiceStatusReply,
    SessionStatusReply,
)

client = Client(base_url=sys.argv[1])


def expect(answer, kind):
    assert isinstance(answer, kind), answer
    return answer


service = expect(status.sync(client=client), ServiceStatusReply)
assert service.service.database == "ok"

metadata = Object.from_dict({"from": "Python"})
question = ChatRequest(query="An audio about sleep, please", message_id=uuid4(), metadata=metadata)
first = expect(chat.sync(client=client, body=question), ChatReply)
assert first.audio_provided
again = chat.sync_detailed(client=client, body=question)
assert again.headers["idempotent-replayed"] == "true"
assert expect(again.parsed, ChatReply).response_id == first.response_id

session_id = first.session_id
question = ChatRequest(query="Thank you", session_id=session_id)
assert expect(chat.sync(client=client, body=question), ChatReply).conversation_length == 4

said, more = [], {}
while True:
    page = history.sync(session_id, client=client, limit=3, **more)
    page = expect(page, HistoryReply)
    said += [message.role.value for message in page.history]
    if page.next_cursor is None:
        break
    more = {"after": page.next_cursor}
assert said == ["user", "assistant", "user", "assistant"], said

copy = load_session.sync(client=client, session_id=session_id, at=first.response_id)
copy = expect(copy, LoadSessionReply)
assert copy.conversation_length == 2
assert copy.forked_from.message_id == first.response_id

assert expect(reset.sync(client=client, session_id=session_id), ResetReply).session_id == session_id
question = ChatRequest(query="Hello?", session_id=session_id)
closed = chat.sync_detailed(client=client, body=question)
assert closed.status_code == 409
assert closed.parsed.code.value == "session_inactive"

state = expect(status.sync(client=client, session_id=session_id), SessionStatusReply)
assert state.status.value == "inactive"
