// A conversation through the client that openapi-typescript generates.
import assert from "node:assert/strict";

import createClient from "openapi-fetch";

import type { paths } from "./daissy.js";

const client = createClient<paths>({ baseUrl: process.argv[2] });

const service = await client.GET("/chat/status");
assert(service.data && "service" in service.data);
assert.equal(service.data.service.database, "ok");

const message_id = crypto.randomUUID();
const body = { query: "An audio about sleep, please", message_id, metadata: { from: "TypeScript" } };
const first = await client.POST("/chat", { body });
assert(first.data);
assert.equal(first.data.audio_provided, true);
const again = await client.POST("/chat", { body });
assert.equal(again.response.headers.get("idempotent-replayed"), "true");
assert.equal(again.data?.response_id, first.data.response_id);

const session_id = first.data.session_id;
const second = await client.POST("/chat", { body: { query: "Thank you", session_id } });
assert.equal(second.data?.conversation_length, 4);

const said: string[] = [];
let after: string | undefined;
do {
    const page = await client.GET("/chat/history/{session_id}", {
        params: { path: { session_id }, query: { limit: 3, after } },
    });
    assert(page.data);
    said.push(...page.data.history.map((message) => message.role));
    after = page.data.next_cursor ?? undefined;
} while (after !== undefined);
assert.deepEqual(said, ["user", "assistant", "user", "assistant"]);

const query = { session_id, at: first.data.response_id };
const copy = await client.POST("/chat/load-session", { params: { query } });
assert.equal(copy.data?.conversation_length, 2);
assert.equal(copy.data.forked_from?.message_id, first.data.response_id);

const reset = await client.POST("/chat/reset", { params: { query: { session_id } } });
assert.equal(reset.data?.session_id, session_id);
const closed = await client.POST("/chat", { body: { query: "Hello?", session_id } });
assert(closed.error && "code" in closed.error);
assert.equal(closed.error.code, "session_inactive");

const status = await client.GET("/chat/status", { params: { query: { session_id } } });
assert.equal(status.data?.status, "inactive");
