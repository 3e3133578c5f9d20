// A model of which every answer is another one: counted words, one every 50 ms, in OpenAI's protocol.
import { createServer } from "node:http"

const WORDS = 60
const INTERVAL = 50 // ms

/** The text of its nth answer, in pieces. */
export const pieces = nth => Array.from({ length: WORDS }, (_, word) => `${nth}·${word + 1} 🎧 `)

/** Starts it; returns its address and how often it was asked. */
export async function start() {
  let asked = 0
  const server = createServer(async (request, response) => {
    for await (const _ of request);
    response.writeHead(200, { "content-type": "text/event-stream" })
    const send = (delta, finish_reason = null) => response.write(`data: ${JSON.stringify({
      id: "1", object: "chat.completion.chunk", created: 1, model: "counting",
      choices: [{ index: 0, delta, finish_reason }],
    })}\n\n`)
    send({ role: "assistant", content: "" })
    for (const content of pieces(++asked)) {
      send({ content })
      await new Promise(resolve => setTimeout(resolve, INTERVAL))
    }
    send({}, "stop")
    response.end("data: [DONE]\n\n")
  })
  await new Promise(resolve => server.listen(0, "127.0.0.1", resolve))
  return { address: `http://127.0.0.1:${server.address().port}/v1`, asked: () => asked, close: () => server.close() }
}
