// Frames of docs/wire-protocol.md: written, and read as they arrive.

import { decode, encode } from '@msgpack/msgpack'
import { xxhash3, xxhash32 } from 'hash-wasm'

const PREAMBLE_BYTES = 24
const INCARNATION = Math.floor(Date.now() / 1000) // counts this program's starts
export const MODEL = 1
export const ACKNOWLEDGEMENT = 2
export const CLEARANCE = 8
export const PULL = 9
const OFFERED_BYTES = 131_072

export async function frame (kind, fields, body = new Uint8Array()) {
  const header = encode(fields, { useBigInt64: true })
  const bytes = new Uint8Array(PREAMBLE_BYTES + header.length + body.length)
  const view = new DataView(bytes.buffer)
  bytes.set(new TextEncoder().encode('GSFL'))
  view.setUint16(4, 4, true)
  view.setUint16(6, kind, true)
  view.setUint32(8, header.length, true)
  view.setUint32(12, parseInt(await xxhash32(header), 16), true)
  view.setBigUint64(16, BigInt(body.length), true)
  bytes.set(header, PREAMBLE_BYTES)
  bytes.set(body, PREAMBLE_BYTES + header.length)
  return bytes
}

export async function model ({ task, layout, row, age, sequence, wantsAnswer }) {
  const body = new Uint8Array(row.buffer)
  return frame(MODEL, {
    task,
    layout,
    age,
    incarnation: INCARNATION,
    sequence,
    event: 0,
    wants_answer: wantsAnswer,
    codec: 'float32',
    tensors: [['row', 'float32-le', [row.length]]],
    checksum: BigInt('0x' + await xxhash3(body))
  }, body)
}

export async function pull ({ task, layout }) {
  return frame(PULL, { task, layout, incarnation: INCARNATION, part: 0 })
}

// Where the body of a frame begins, if it must be cleared before it is sent.
export function offeredAt (bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return view.getBigUint64(16, true) > OFFERED_BYTES ? PREAMBLE_BYTES + view.getUint32(8, true) : undefined
}

// Yields the frames of a stream until the other side ends its half, and clears those that are offered.
export async function * framesOf (stream, clear = async () => {}) {
  let isCleared = false
  let pieces = []
  let held = 0
  let wanted = PREAMBLE_BYTES
  for await (const piece of stream) {
    pieces.push(piece.subarray())
    held += piece.byteLength
    while (held >= wanted) {
      const bytes = Buffer.concat(pieces)
      const view = new DataView(bytes.buffer, bytes.byteOffset)
      const headerEnd = PREAMBLE_BYTES + view.getUint32(8, true)
      wanted = headerEnd + Number(view.getBigUint64(16, true))
      pieces = [bytes]
      if (!isCleared && offeredAt(bytes) !== undefined) {
        isCleared = true
        await clear()
      }
      if (held < wanted) {
        continue
      }
      isCleared = false
      yield await read(bytes.subarray(0, wanted), headerEnd)
      pieces = [bytes.subarray(wanted)]
      held -= wanted
      wanted = PREAMBLE_BYTES
    }
  }
  if (held > 0) {
    throw new Error(`the stream ended inside a frame, ${wanted - held} bytes before its end`)
  }
}

async function read (bytes, headerEnd) {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const header = bytes.subarray(PREAMBLE_BYTES, headerEnd)
  const body = bytes.subarray(headerEnd)
  const fields = decode(header, { useBigInt64: true })
  const intact =
    bytes.subarray(0, 4).toString() === 'GSFL' &&
    parseInt(await xxhash32(header), 16) === view.getUint32(12, true) &&
    (fields.checksum === undefined || BigInt('0x' + await xxhash3(body)) === BigInt(fields.checksum))
  if (!intact) {
    throw new Error('a frame is damaged')
  }
  return { kind: view.getUint16(6, true), fields, body }
}
