import { Buffers } from "./buffers.ts";
import type { Chunk } from "./store.ts";

/** Chunks that are read ahead at most, and bytes of them. */
const AHEAD = { chunks: 4, bytes: 16 << 20 };

/** Chunks that are held at most while nobody reads them, and bytes of them: two of the largest that there are. */
const HELD = { chunks: 10, bytes: 128 << 20 };

/** Bytes of memory that is kept for the next chunks. */
const FREE = 20 << 20;

/** Reads a chunk, into one of the buffers. */
type ReadNumbered = (number: number, buffers: Buffers) => Promise<Chunk>;

/** A chunk that was read lately or is being read ahead. */
interface HeldChunk {
  chunk: Promise<Chunk>;
  /** How many are reading it; its memory is used again once nobody does and it is not held any more. */
  readers: number;
  isHeld: boolean;
}

/**
 * A model's chunks by number. Tensors are asked for nearly in the order in which they lie, or in turns at a few places.
 * So some chunks are held, and those after ones that were come to in order are read meanwhile.
 */
export class HeldChunks {
  readonly #lengths: readonly number[];
  readonly #read: ReadNumbered;
  /** By number, the latest last. */
  readonly #recent = new Map<number, HeldChunk>();
  /** Of the recent ones. */
  #bytes = 0;
  readonly #buffers = new Buffers(FREE);

  /** Of chunks of these lengths. */
  constructor(lengths: readonly number[], read: ReadNumbered) {
    this.#lengths = lengths;
    this.#read = read;
  }

  /** The chunks from `first` to before `behind`. The browser must not go on before they are copied: their memory is used again. */
  async get(first: number, behind: number): Promise<Chunk[]> {
    const inOrder = this.#recent.has(first - 1);
    const chunks = Array.from({ length: behind - first }, (_, at) => this.#beginReading(first + at));
    if (inOrder) this.#readAhead(behind);
    try {
      return await Promise.all(chunks.map(({ chunk }) => chunk));
    } finally {
      for (const chunk of chunks) this.#endReading(chunk);
    }
  }

  #readAhead(from: number): void {
    let bytes = 0;
    for (const [at, length] of this.#lengths.slice(from, from + AHEAD.chunks).entries()) {
      bytes += length;
      if (bytes > AHEAD.bytes) return;
      this.#held(from + at);
    }
  }

  #held(number: number): HeldChunk {
    const held = this.#recent.get(number) ?? this.#begin(number);
    this.#recent.delete(number);
    this.#recent.set(number, held);
    for (const [oldest, chunk] of this.#recent) {
      if (oldest === number || (this.#recent.size <= HELD.chunks && this.#bytes <= HELD.bytes)) break;
      this.#letGo(oldest, chunk);
    }
    return held;
  }

  #begin(number: number): HeldChunk {
    const chunk = this.#read(number, this.#buffers);
    const held = { chunk, readers: 0, isHeld: true };
    this.#bytes += this.#lengths[number] ?? 0;
    // What failed may be right the next time. Whoever comes to it hears of the failure; until then nobody does.
    chunk.catch(() => this.#recent.get(number) === held && this.#letGo(number, held));
    return held;
  }

  #letGo(number: number, chunk: HeldChunk): void {
    this.#recent.delete(number);
    this.#bytes -= this.#lengths[number] ?? 0;
    chunk.isHeld = false;
    this.#recycle(chunk);
  }

  #beginReading(number: number): HeldChunk {
    const chunk = this.#held(number);
    chunk.readers += 1;
    return chunk;
  }

  #endReading(chunk: HeldChunk): void {
    chunk.readers -= 1;
    this.#recycle(chunk);
  }

  #recycle({ chunk, readers, isHeld }: HeldChunk): void {
    if (readers === 0 && !isHeld) chunk.then(({ data }) => this.#buffers.give(data)).catch(() => {});
  }
}
