// `cargo run` in its own process, which can be killed and started again.
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"

/** Starts the program and waits until it listens; returns its address and a function that ends it. */
export async function start(program, settings) {
  const child = spawn(program, { env: { PATH: process.env.PATH, ...settings }, stdio: ["ignore", "pipe", "inherit"] })
  // A test that fails leaves nothing running.
  process.once("exit", () => child.kill("SIGKILL"))
  const ended = new Promise(resolve => child.once("exit", resolve))
  const address = await new Promise((resolve, reject) => {
    const lines = createInterface({ input: child.stdout })
    lines.on("line", line => line.startsWith("listening ") && resolve(line.slice("listening ".length).trim()))
    lines.once("close", () => reject(Error("it ended without listening")))
  })
  const end = async signal => {
    child.kill(signal)
    await ended
  }
  return { address, end }
}
