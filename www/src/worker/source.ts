import type { Source } from "easel-wasm";
import { asEaselError, EaselError } from "../shared/errors.ts";
import { intactChunk } from "./file_download.ts";
import { type DownloadOptions, ModelDownload } from "./model_download.ts";
import type { Plan, PlannedFile } from "./plan.ts";
import type { Provider } from "./provider.ts";
import { type Chunk, Store } from "./store.ts";

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
  #recent: { key: string; chunk: Promise<Chunk> } | undefined;

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

  async size(path: string): Promise<number | undefined> {
    return this.#files.get(path)?.size;
  }

  async read(path: string, start: number, end: number): Promise<Uint8Array> {
    const file = this.#files.get(path);
    if (!file) throw new EaselError("file_not_found", `${path} is missing from the model`);
    if (!(start >= 0 && start <= end && end <= file.size)) {
      throw new EaselError("internal", `${path} has ${file.size} bytes; ${start} to ${end} were asked for`);
    }
    const bytes = new Uint8Array(end - start);
    for (let at = start; at < end; ) {
      const index = Math.floor(at / file.chunkSize);
      const { data } = await this.#chunk(file, index);
      const from = at - index * file.chunkSize;
      const piece = new Uint8Array(data, from, Math.min(data.byteLength - from, end - at));
      bytes.set(piece, at - start);
      at += piece.length;
    }
    return bytes;
  }

  /** Tensors lie one after another, so the latest chunk is worth holding. */
  #chunk(file: PlannedFile, index: number): Promise<Chunk> {
    const key = `${index} ${file.path}`;
    if (this.#recent?.key !== key) this.#recent = { key, chunk: this.#readChunk(file, index) };
    return this.#recent.chunk;
  }

  async #readChunk(file: PlannedFile, index: number): Promise<Chunk> {
    const found = await this.#intact(file, index);
    if (found) return found;
    const reason = await this.#download.mend([[file.path, index]]).catch(asEaselError);
    const mended = await this.#intact(file, index);
    if (mended) return mended;
    const message = `the kept copy of ${file.path} is damaged, and what is damaged could not be fetched anew`;
    throw new EaselError("damaged_file", reason ? `${message}: ${reason.message}` : message);
  }

  /** A chunk is compared with its hash when it is read first. */
  async #intact(file: PlannedFile, index: number): Promise<Chunk | undefined> {
    const key = `${index} ${file.path}`;
    if (this.#checked.has(key)) return this.#store.chunk(this.#address, [file.path, index]);
    const chunk = await intactChunk(this.#store, this.#address, file, index);
    if (chunk) this.#checked.add(key);
    return chunk;
  }
}
