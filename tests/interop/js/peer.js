// A js-libp2p host for tests: `node peer.js` takes a JSON object a line, {"do": NAME, ...}, and answers each with one.

import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import './promises.js'
import { noise } from '@chainsafe/libp2p-noise'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { ACKNOWLEDGEMENT, CLEARANCE, frame, framesOf, model, offeredAt, pull } from './frames.js'

const PROTOCOL = '/gossipfl/exchange/1.0.0'

const host = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify({ runOnConnectionOpen: false }), ping: ping() }
})
let handled = 0

// Answers with the very row that came, or with an acknowledgement, until the other side ends the stream.
async function answer (stream) {
  const clear = async () => send(stream, await frame(CLEARANCE, { retry_after: 0 }))
  for await (const { fields, body } of framesOf(stream, clear)) {
    handled += 1
    const { task, layout, incarnation, sequence } = fields
    const row = new Float32Array(body.buffer.slice(body.byteOffset, body.byteOffset + body.length))
    await send(stream, fields.wants_answer
      ? await model({ task, layout, row, age: 1, sequence: handled, wantsAnswer: false })
      : await frame(ACKNOWLEDGEMENT, { incarnation, sequence }))
  }
  await stream.close()
}

async function send (stream, bytes) {
  for (let start = 0; start < bytes.length; start += 65_000) {
    if (!stream.send(bytes.subarray(start, start + 65_000))) {
      await stream.onDrain()
    }
  }
}

const summary = ({ kind, fields, body }) => ({
  kind,
  fields: Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, typeof value === 'bigint' ? String(value) : value])),
  body: createHash('sha256').update(body).digest('hex')
})

const commands = {
  async dial ({ address }) {
    const connection = await host.dial(multiaddr(address))
    return { remote: String(connection.remotePeer), encryption: connection.encryption, multiplexer: connection.multiplexer }
  },

  // Pushes a row of one value, says that it will send no more, and reads the answer to its end.
  async exchange ({ address, task, layout, size, value, age, sequence, wantsAnswer, halfClose }) {
    const stream = await host.dialProtocol(multiaddr(address), PROTOCOL)
    const row = new Float32Array(size).fill(value)
    const bytes = Buffer.from(task, 'hex')
    const request = await model({ task: bytes, layout: Buffer.from(layout, 'hex'), row, age, sequence, wantsAnswer })
    const frames = framesOf(stream)
    const body = offeredAt(request)
    await send(stream, request.subarray(0, body))
    if (body !== undefined) {
      const { value } = await frames.next()
      if (value.kind !== CLEARANCE || Number(value.fields.retry_after) !== 0) {
        throw new Error(`expected a clearance, got a frame of kind ${value.kind}`)
      }
      await send(stream, request.subarray(body))
    }
    if (halfClose) {
      await stream.close()
    }
    const replies = []
    for await (const reply of frames) {
      replies.push(summary(reply))
      if (!halfClose) {
        await stream.close()
      }
    }
    return { replies }
  },

  // Asks for a model, says that it will send no more, and reads the answer to its end.
  async fetch ({ address, task, layout }) {
    const stream = await host.dialProtocol(multiaddr(address), PROTOCOL)
    await send(stream, await pull({ task: Buffer.from(task, 'hex'), layout: Buffer.from(layout, 'hex') }))
    await stream.close()
    const replies = []
    for await (const reply of framesOf(stream)) {
      replies.push(summary(reply))
    }
    return { replies }
  },

  async identify ({ address }) {
    const connection = await host.dial(multiaddr(address))
    const found = await host.services.identify.identify(connection)
    return {
      agent: found.agentVersion,
      protocolVersion: found.protocolVersion,
      protocols: found.protocols,
      addresses: found.listenAddrs.map(String),
      observed: String(found.observedAddr),
      signed: found.signedPeerRecord?.addresses.map(String)
    }
  },

  async ping ({ address }) {
    return { milliseconds: await host.services.ping.ping(multiaddr(address)) }
  },

  async negotiate ({ address, protocol }) {
    const stream = await host.dialProtocol(multiaddr(address), protocol)
    await stream.close()
    return { protocol: stream.protocol }
  }
}

await host.handle(PROTOCOL, answer)
console.log(JSON.stringify({ id: String(host.peerId), addresses: host.getMultiaddrs().map(String) }))
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  try {
    console.log(JSON.stringify(await commands[request.do](request)))
  } catch (error) {
    console.log(JSON.stringify({ error: `${error.name}: ${error.message}` }))
  }
}
await host.stop()
process.exit(0)
