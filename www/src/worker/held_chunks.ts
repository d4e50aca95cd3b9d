import { Buffers } from "./buffers.ts";
import type { Chunk } from "./store.ts";

/** Chunks that are read ahead, and that are held at most while nobody reads them. */
const [AHEAD, HELD] = [4, 10];

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
  readonly #count: number;
  readonly #read: ReadNumbered;
  /** By number, the latest last. */
  readonly #recent = new Map<number, HeldChunk>();
  readonly #buffers = new Buffers(AHEAD + 1);

  /** Of `count` chunks. */
  constructor(count: number, read: ReadNumbered) {
    this.#count = count;
    this.#read = read;
  }

  /** The chunks from `first` to before `behind`. The browser must not go on before they are copied: their memory is used again. */
  async get(first: number, behind: number): Promise<Chunk[]> {
    const inOrder = this.#recent.has(first - 1);
    const chunks = Array.from({ length: behind - first }, (_, at) => this.#beginReading(first + at));
    const ahead = inOrder ? Math.min(behind + AHEAD, this.#count) : behind;
    for (let number = behind; number < ahead; number += 1) this.#held(number);
    try {
      return await Promise.all(chunks.map(({ chunk }) => chunk));
    } finally {
      for (const chunk of chunks) this.#endReading(chunk);
    }
  }

  #held(number: number): HeldChunk {
    const held = this.#recent.get(number) ?? this.#begin(number);
    this.#recent.delete(number);
    this.#recent.set(number, held);
    for (const [oldest, chunk] of this.#recent) {
      if (this.#recent.size <= HELD) break;
      this.#letGo(oldest, chunk);
    }
    return held;
  }

  #begin(number: number): HeldChunk {
    const chunk = this.#read(number, this.#buffers);
    const held = { chunk, readers: 0, isHeld: true };
    // What failed may be right the next time. Whoever comes to it hears of the failure; until then nobody does.
    chunk.catch(() => this.#recent.get(number) === held && this.#letGo(number, held));
    return held;
  }

  #letGo(number: number, chunk: HeldChunk): void {
    this.#recent.delete(number);
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
