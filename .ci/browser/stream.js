// docs/examples/stream.html in a real browser, against a real server that is killed in the middle of an answer:
// `node stream.js PROGRAM CHROMIUM PAGE FOLDER`.
import assert from "node:assert/strict"
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import { chromium } from "playwright-core"

import * as model from "./model.js"
import * as product from "./product.js"
import * as relay from "./relay.js"

const [program, executablePath, pageFile, folder] = process.argv.slice(2)

const counting = await model.start()
const settings = {
  LOCAL_DIR: folder,
  PORT: "0",
  MODEL: "openai::counting",
  MODEL_BASE_URL: counting.address,
  STREAM_DEAD_AFTER_SECONDS: "3",
}
let server = await product.start(program, settings)
const api = server.address
settings.PORT = new URL(api).port
const way = await relay.start(api)

// The page comes from another origin than the API.
const pages = createServer(async (_, response) => {
  response.setHeader("content-type", "text/html")
  response.end(await readFile(pageFile))
})
await new Promise(resolve => pages.listen(0, "127.0.0.1", resolve))

const browser = await chromium.launch({ executablePath })
const page = await browser.newPage()
const sent = []
page.on("request", request => {
  if (request.url().startsWith(way.address) && request.method() !== "OPTIONS") sent.push(request)
})
page.on("pageerror", error => { throw error })
await page.goto(`http://localhost:${pages.address().port}/`)
await page.fill("[name=base]", way.address)
await page.evaluate(() => {
  const answer = document.getElementById("answer")
  // What the answer was, and when.
  window.states = []
  const observer = new MutationObserver(() => window.states.push({ at: performance.now(), text: answer.textContent }))
  observer.observe(answer, { childList: true, characterData: true, subtree: true })
})

async function ask(query) {
  await page.evaluate(() => {
    document.getElementById("answer").textContent = document.getElementById("note").textContent = ""
    window.states = []
  })
  await page.fill("[name=query]", query)
  await page.click("[name=send]")
}

async function words(count) {
  const areThere = count => document.getElementById("answer").textContent.split("🎧").length > count
  await page.waitForFunction(areThere, count, { polling: 20 })
}

async function end() {
  await page.waitForFunction(() => document.getElementById("note").textContent, null, { timeout: 60_000 })
  return { note: await page.textContent("#note"), answer: await page.textContent("#answer") }
}

/** What the server holds: the messages of the only session. */
async function history() {
  const { sessions } = await (await fetch(`${api}/chat/sessions`)).json()
  assert.equal(sessions.length, 1)
  return (await (await fetch(`${api}/chat/history/${sessions[0].session_id}`)).json()).history
}

async function step(name, test) {
  const begun = performance.now()
  await test()
  console.log(`ok   ${name} (${((performance.now() - begun) / 1000).toFixed(1)} s)`)
}

await step("words arrive one by one", async () => {
  await ask("First")
  const { note, answer } = await end()
  assert.equal(note, "stop")
  assert.equal(answer, model.pieces(1).join(""))
  const states = (await page.evaluate(() => window.states)).filter(({ text }) => text)
  assert.ok(states.length > 20, `${states.length} states`)
  states.reduce((before, after) => {
    assert.ok(after.text.startsWith(before.text), `${before.text} then ${after.text}`)
    return after
  })
  assert.ok(states.at(-1).at - states[0].at > 1000, "spread over the time that the model took")
})

await step("a connection that breaks is taken up where it was", async () => {
  await ask("Second")
  await words(10)
  sent.length = 0
  way.cut()
  const { note, answer } = await end()
  assert.equal(note, "stop")
  assert.equal(answer, (await history()).at(-1).content)
  const again = sent.filter(request => request.headers()["last-event-id"])
  assert.ok(again.length > 0 && sent.length === again.length, "it was taken up, and not asked again")
  assert.equal(counting.asked(), 2, "nor was the model")
})

await step("a server that is killed and started again in the middle", async () => {
  await ask("Third")
  await words(10)
  await server.end("SIGKILL")
  server = await product.start(program, settings)
  const { note, answer } = await end()
  assert.equal(note, "stop")
  const said = await history()
  assert.equal(answer, said.at(-1).content)
  assert.equal(answer, model.pieces(4).join(""), "the turn was asked again")
  assert.deepEqual(said.map(({ role }) => role), Array(3).fill(["user", "assistant"]).flat())
})

await step("an answer is stopped", async () => {
  await ask("Fourth")
  await words(10)
  await page.click("[name=stop]")
  const { note, answer } = await end()
  assert.equal(note, "stopped")
  assert.equal(answer, (await history()).at(-1).content)
  assert.ok(answer.startsWith("5·1 ") && answer.length < model.pieces(5).join("").length)
})

await browser.close()
await server.end("SIGTERM")
way.close()
pages.close()
counting.close()
