// The way to the server, which can be cut.
import { connect, createServer } from "node:net"

/** Starts it; returns its address and a function that breaks every connection. */
export async function start(api) {
  const { hostname, port } = new URL(api)
  const open = new Set()
  const server = createServer(near => {
    const far = connect(Number(port), hostname)
    open.add(near)
    // An error of one side is the end of the other.
    for (const [from, to] of [[near, far], [far, near]]) from.pipe(to) && from.on("error", () => to.destroy())
    near.once("close", () => {
      open.delete(near)
      far.destroy()
    })
    far.once("close", () => near.destroy())
  })
  await new Promise(resolve => server.listen(0, "127.0.0.1", resolve))
  const cut = () => open.forEach(socket => socket.resetAndDestroy())
  return { address: `http://127.0.0.1:${server.address().port}`, cut, close: () => server.close() }
}
