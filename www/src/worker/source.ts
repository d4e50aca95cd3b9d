import type { Source } from "easel-wasm";
import { asEaselError, EaselError } from "../shared/errors.ts";
import type { Buffers } from "./buffers.ts";
import { chunkCount, chunkLength, intactChunk } from "./file_download.ts";
import { HeldChunks } from "./held_chunks.ts";
import { beginUse } from "./locks.ts";
import { type DownloadOptions, ModelDownload } from "./model_download.ts";
import type { Plan, PlannedFile } from "./plan.ts";
import type { Provider } from "./provider.ts";
import { type Chunk, Store } from "./store.ts";

/** One of a file's chunks. */
type Place = readonly [file: PlannedFile, index: number];

/** A whole model, read from the store. Until it is closed, or its worker ends, no tab deletes or replaces the model. */
export class ModelSource implements Source {
  /** Path of the file that is all of the model, where it is one. */
  readonly checkpoint: string | undefined;
  /** Path of the one file of a LoRA. */
  readonly lora: string | undefined;
  readonly #address: string;
  readonly #store: Store;
  readonly #download: ModelDownload;
  readonly #files: Map<string, PlannedFile>;
  /** All chunks, file after file in the order of their paths, which is that of a large file's parts. */
  readonly #places: readonly Place[];
  readonly #checked = new Set<Place>();
  readonly #held: HeldChunks;
  readonly #endUse: () => void;
  /** Ends when nothing is being mended. */
  #mended: Promise<unknown> = Promise.resolve();

  private constructor(
    address: string,
    store: Store,
    download: ModelDownload,
    { files, checkpoint, lora }: Plan,
    endUse: () => void,
  ) {
    this.checkpoint = checkpoint;
    this.lora = lora;
    this.#address = address;
    this.#store = store;
    this.#download = download;
    this.#files = new Map(files.map((file) => [file.path, file]));
    this.#places = [...files].sort((a, b) => (a.path < b.path ? -1 : 1)).flatMap(placesOf);
    this.#endUse = endUse;
    const lengths = this.#places.map((place) => chunkLength(...place));
    this.#held = new HeldChunks(lengths, (number, buffers) => this.#readChunk(number, buffers));
  }

  /** Completes a model and opens it. */
  static async open(provider: Provider, options: DownloadOptions): Promise<ModelSource> {
    const store = await Store.open();
    const download = new ModelDownload(provider, store, options);
    for (;;) {
      const plan = await download.complete();
      const endUse = await beginUse(provider.address);
      // Before its use began, another tab may have deleted or replaced it.
      if (await download.isWhole(plan)) {
        return new ModelSource(provider.address, store, download, plan, endUse);
      }
      endUse();
    }
  }

  /** Nothing is read of it any more. */
  close(): void {
    this.#endUse();
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
    const firstOfFile = this.#places.findIndex(([placed]) => placed === file);
    const [first, behind] = [Math.floor(start / file.chunkSize), Math.ceil(end / file.chunkSize)];
    const chunks = await this.#held.get(firstOfFile + first, firstOfFile + behind);
    return chunks.map(({ data }, number) => {
      const from = number === 0 ? start % file.chunkSize : 0;
      const before = number * file.chunkSize - (start % file.chunkSize);
      return new Uint8Array(data, from, Math.min(data.byteLength, end - start - before) - from);
    });
  }

  async #readChunk(number: number, buffers: Buffers): Promise<Chunk> {
    const place = this.#places[number];
    if (!place) throw new EaselError("internal", `there is no chunk ${number}`);
    const found = await this.#intact(place, buffers.take(chunkLength(...place)));
    if (found) return found;
    // One after the other, as they come from one host.
    const mending = this.#mended.then(() => this.#mend(place));
    this.#mended = mending.catch(() => {});
    return mending;
  }

  async #mend(place: Place): Promise<Chunk> {
    const [file, index] = place;
    const reason = await this.#download.mend(file, index).catch(asEaselError);
    if (reason === false) {
      const message = "the model has been replaced by another tab since it was opened: load it again";
      throw new EaselError("changed_file", message);
    }
    const mended = await this.#intact(place);
    if (mended) return mended;
    const message = `the kept copy of ${file.path} is damaged, and what is damaged could not be fetched anew`;
    throw new EaselError("damaged_file", reason === true ? message : `${message}: ${reason.message}`);
  }

  /** A chunk is compared with its hash when it is read first. */
  async #intact(place: Place, memory?: ArrayBuffer): Promise<Chunk | undefined> {
    const [file, index] = place;
    if (this.#checked.has(place)) return this.#store.chunk(this.#address, [file.path, index], memory);
    const chunk = await intactChunk(this.#store, this.#address, file, index, memory);
    if (chunk) this.#checked.add(place);
    return chunk;
  }
}

function placesOf(file: PlannedFile): Place[] {
  return Array.from({ length: chunkCount(file) }, (_, index) => [file, index] as const);
}
