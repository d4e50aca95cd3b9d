import type { Source } from "easel-wasm";
import { asEaselError, EaselError } from "../shared/errors.ts";
import { Buffers } from "./buffers.ts";
import { chunkCount, intactChunk } from "./file_download.ts";
import { type DownloadOptions, ModelDownload } from "./model_download.ts";
import type { Plan, PlannedFile } from "./plan.ts";
import type { Provider } from "./provider.ts";
import { type Chunk, Store } from "./store.ts";

/** Chunks that are fetched ahead, and that are held at most while nobody reads them. */
const [AHEAD, HELD] = [3, 10];

/** A chunk that was read lately or is being read ahead. */
interface HeldChunk {
  chunk: Promise<Chunk>;
  /** How many are reading it; its memory is used again once nobody does and it is not held any more. */
  readers: number;
  isHeld: boolean;
}

function nameOf({ path }: PlannedFile, index: number): string {
  return `${index} ${path}`;
}

/** A whole model, read from the store. */
export class ModelSource implements Source {
  /** Path of the file that is all of the model, where it is one. */
  readonly checkpoint: string | undefined;
  /** Path of the one file of a LoRA. */
  readonly lora: string | undefined;
  readonly #address: string;
  readonly #store: Store;
  readonly #download: ModelDownload;
  readonly #files: Map<string, PlannedFile>;
  readonly #checked = new Set<string>();
  /** The latest last. */
  readonly #recent = new Map<string, HeldChunk>();
  readonly #buffers = new Buffers(AHEAD + 1);
  /** Ends when nothing is being mended. */
  #mended: Promise<unknown> = Promise.resolve();

  private constructor(
    address: string,
    store: Store,
    download: ModelDownload,
    { files, checkpoint, lora }: Plan,
  ) {
    this.checkpoint = checkpoint;
    this.lora = lora;
    this.#address = address;
    this.#store = store;
    this.#download = download;
    this.#files = new Map(files.map((file) => [file.path, file]));
  }

  /** Completes a model and opens it. */
  static async open(provider: Provider, options: DownloadOptions): Promise<ModelSource> {
    const store = await Store.open();
    const download = new ModelDownload(provider, store, options);
    return new ModelSource(provider.address, store, download, await download.complete());
  }

  /** Of all files. */
  get bytes(): number {
    return [...this.#files.values()].reduce((sum, { size }) => sum + size, 0);
  }

  async size(path: string): Promise<number | undefined> {
    return this.#files.get(path)?.size;
  }

  /** The bytes, which must be copied before the browser goes on: their memory is then used again. */
  async read(path: string, start: number, end: number): Promise<Uint8Array[]> {
    const file = this.#files.get(path);
    if (!file) throw new EaselError("file_not_found", `${path} is missing from the model`);
    if (!(start >= 0 && start <= end && end <= file.size)) {
      throw new EaselError("internal", `${path} has ${file.size} bytes; ${start} to ${end} were asked for`);
    }
    const held = this.#chunks(file, start, end);
    const chunks = await Promise.all(held.map(({ chunk }) => chunk)).finally(() => {
      for (const chunk of held) this.#endReading(chunk);
    });
    return chunks.map(({ data }, number) => {
      const from = number === 0 ? start % file.chunkSize : 0;
      const before = number * file.chunkSize - (start % file.chunkSize);
      return new Uint8Array(data, from, Math.min(data.byteLength, end - start - before) - from);
    });
  }

  /**
   * Tensors lie one after another, and are asked for nearly in that order or in turns at a few places. So some chunks are
   * held, and those after ones that were come to in order are fetched and compared with their hashes meanwhile. Those
   * that are returned are being read from now on.
   */
  #chunks(file: PlannedFile, start: number, end: number): HeldChunk[] {
    const [first, behind] = [Math.floor(start / file.chunkSize), Math.ceil(end / file.chunkSize)];
    const inOrder = first === 0 || this.#recent.has(nameOf(file, first - 1));
    const chunks: HeldChunk[] = [];
    for (let index = first; index < behind; index += 1) {
      const chunk = this.#held(file, index);
      chunk.readers += 1;
      chunks.push(chunk);
    }
    const ahead = inOrder ? Math.min(behind + AHEAD, chunkCount(file)) : 0;
    for (let index = behind; index < ahead; index += 1) this.#held(file, index);
    return chunks;
  }

  #held(file: PlannedFile, index: number): HeldChunk {
    const key = nameOf(file, index);
    const held = this.#recent.get(key) ?? { chunk: this.#readChunk(file, index), readers: 0, isHeld: true };
    this.#recent.delete(key);
    this.#recent.set(key, held);
    for (const [oldest, chunk] of this.#recent) {
      if (this.#recent.size <= HELD) break;
      this.#letGo(oldest, chunk);
    }
    // What failed may be right the next time. Whoever comes to it hears of the failure; until then nobody does.
    held.chunk.catch(() => this.#recent.get(key) === held && this.#letGo(key, held));
    return held;
  }

  #letGo(key: string, chunk: HeldChunk): void {
    this.#recent.delete(key);
    chunk.isHeld = false;
    this.#recycle(chunk);
  }

  #endReading(chunk: HeldChunk): void {
    chunk.readers -= 1;
    this.#recycle(chunk);
  }

  #recycle({ chunk, readers, isHeld }: HeldChunk): void {
    if (readers === 0 && !isHeld) chunk.then(({ data }) => this.#buffers.give(data)).catch(() => {});
  }

  async #readChunk(file: PlannedFile, index: number): Promise<Chunk> {
    const found = await this.#intact(file, index);
    if (found) return found;
    // To mend one chunk is to go through all of them, so that a second one may be right by then.
    const mending = this.#mended.then(() => this.#mend(file, index));
    this.#mended = mending.catch(() => {});
    return mending;
  }

  async #mend(file: PlannedFile, index: number): Promise<Chunk> {
    const meanwhile = await this.#intact(file, index);
    if (meanwhile) return meanwhile;
    const reason = await this.#download.mend([[file.path, index]]).catch(asEaselError);
    const mended = await this.#intact(file, index);
    if (mended) return mended;
    const message = `the kept copy of ${file.path} is damaged, and what is damaged could not be fetched anew`;
    throw new EaselError("damaged_file", reason ? `${message}: ${reason.message}` : message);
  }

  /** A chunk is compared with its hash when it is read first. */
  async #intact(file: PlannedFile, index: number): Promise<Chunk | undefined> {
    const key = `${index} ${file.path}`;
    const memory = (bytes: number) => this.#buffers.take(bytes);
    if (this.#checked.has(key)) return this.#store.chunk(this.#address, [file.path, index], memory);
    const chunk = await intactChunk(this.#store, this.#address, file, index, memory);
    if (chunk) this.#checked.add(key);
    return chunk;
  }
}
