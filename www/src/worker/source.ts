import type { Source } from "easel-wasm";
import { asEaselError, EaselError } from "../shared/errors.ts";
import { announcedLength, bodyOf, fetchFile, keep, lostConnection, MAYBE_ABSENT } from "./download.ts";
import { MANIFEST, type Manifest, parseManifest, totalBytes } from "./manifest.ts";
import { type Chunk, type FileRecord, Store } from "./store.ts";

/** Told of bytes as they come over the network; `total` is known for a model with a manifest. */
export type OnDownload = (loaded: number, total: number | undefined) => void;

const MANIFEST_PATIENCE_MS = 4000;

/** A model at an address: fetched once, then read from the store. */
export class ModelSource implements Source {
  readonly #base: URL;
  readonly #store: Store;
  readonly #manifest: Manifest | undefined;
  readonly #onDownload: OnDownload;
  readonly #files = new Map<string, Promise<FileRecord | undefined>>();
  readonly #checked = new Set<string>();
  #recent: { key: string; chunk: Promise<Chunk> } | undefined;
  #downloaded = 0;

  private constructor(base: URL, store: Store, manifest: Manifest | undefined, onDownload: OnDownload) {
    this.#base = base;
    this.#store = store;
    this.#manifest = manifest;
    this.#onDownload = onDownload;
  }

  static async open(base: URL, onDownload: OnDownload): Promise<ModelSource> {
    const store = await Store.open(base.href);
    const manifest = await currentManifest(base, store);
    return new ModelSource(base, store, manifest, onDownload);
  }

  async size(path: string): Promise<number | undefined> {
    if (this.#manifest) return this.#manifest.get(path)?.size;
    try {
      return (await this.#file(path))?.size;
    } catch (error) {
      if (!MAYBE_ABSENT.has(asEaselError(error).code)) throw error;
      await this.#store.putAbsent(path);
      return undefined;
    }
  }

  async read(path: string, start: number, end: number): Promise<Uint8Array> {
    const file = await this.#file(path);
    if (!file) throw new EaselError("file_not_found", `${path} is missing from the model`);
    if (!(start >= 0 && start <= end && end <= file.size)) {
      throw new EaselError("internal", `${path} has ${file.size} bytes; ${start} to ${end} were asked for`);
    }
    const bytes = new Uint8Array(end - start);
    for (let at = start; at < end; ) {
      const index = Math.floor(at / file.chunkSize);
      const { data } = await this.#chunk(path, file, index);
      const from = at - index * file.chunkSize;
      const piece = new Uint8Array(data, from, Math.min(data.byteLength - from, end - at));
      bytes.set(piece, at - start);
      at += piece.length;
    }
    return bytes;
  }

  /** The file's record, downloading the file when it is not kept; several callers share one download. */
  #file(path: string): Promise<FileRecord | undefined> {
    const known = this.#files.get(path);
    if (known) return known;
    const found = this.#alone(path, () => this.#keptOrFetched(path));
    this.#files.set(path, found);
    found.catch(() => this.#files.delete(path));
    return found;
  }

  /** Runs `work` while no other tab fetches or drops the file. */
  #alone<T>(path: string, work: () => Promise<T>): Promise<T> {
    return navigator.locks.request(`easel ${new URL(path, this.#base)}`, work);
  }

  async #keptOrFetched(path: string): Promise<FileRecord | undefined> {
    const expected = this.#manifest?.get(path);
    const kept = await this.#store.file(path);
    if (kept && (!expected || kept.sha256 === expected.sha256)) return kept;
    const response = await this.#fetch(path);
    const body = response && bodyOf(response, path);
    if (!body) {
      await this.#store.putAbsent(path);
      return undefined;
    }
    const total = this.#manifest && totalBytes(this.#manifest);
    const onBytes = (count: number) => {
      this.#downloaded += count;
      this.#onDownload(this.#downloaded, total);
    };
    return keep(body, announcedLength(response), { path, store: this.#store, expected, onBytes });
  }

  /** Without a network, a file that the server did not have before is taken to be absent still. */
  async #fetch(path: string): Promise<Response | undefined> {
    try {
      return await fetchFile(new URL(path, this.#base), path);
    } catch (error) {
      if (await this.#store.isAbsent(path)) return undefined;
      throw error;
    }
  }

  /** Tensors lie one after another, so the latest chunk is worth holding. */
  #chunk(path: string, file: FileRecord, index: number): Promise<Chunk> {
    const key = `${index} ${path}`;
    if (this.#recent?.key !== key) this.#recent = { key, chunk: this.#readChunk(path, file, index) };
    return this.#recent.chunk;
  }

  async #readChunk(path: string, file: FileRecord, index: number): Promise<Chunk> {
    const found = await this.#intactChunk(path, file, index);
    if (found) return found;
    return this.#alone(path, async () => {
      // Another tab may have been fetching the file anew.
      const mended = await this.#intactChunk(path, file, index);
      if (mended) return mended;
      await this.#store.drop(path);
      this.#files.delete(path);
      const message = `the kept copy of ${path} was damaged and has been removed: load again to fetch it anew`;
      throw new EaselError("damaged_file", message);
    });
  }

  async #intactChunk(path: string, file: FileRecord, index: number): Promise<Chunk | undefined> {
    const chunk = await this.#store.chunk(path, index);
    const length = Math.min(file.chunkSize, file.size - index * file.chunkSize);
    if (chunk?.data.byteLength !== length) return undefined;
    const key = `${index} ${path}`;
    if (!this.#checked.has(key) && !(await intact(chunk))) return undefined;
    this.#checked.add(key);
    return chunk;
  }
}

async function intact({ data, sha256 }: Chunk): Promise<boolean> {
  const [found, expected] = [await crypto.subtle.digest("SHA-256", data), sha256].map(
    (hash) => new Uint8Array(hash),
  );
  return found?.length === expected?.length && (found?.every((byte, at) => byte === expected?.[at]) ?? false);
}

/** The server's manifest, or the kept one when the server cannot be reached; `undefined` for a model without. */
async function currentManifest(base: URL, store: Store): Promise<Manifest | undefined> {
  const kept = await keptManifest(store);
  const text = await fetchManifest(base, kept !== undefined).catch((error) => {
    if (asEaselError(error).code !== "network") throw error;
    return kept;
  });
  if (text === undefined) return undefined;
  const manifest = parseManifest(text);
  if (text !== kept) {
    const body = new Blob([text]).stream();
    await keep(body, undefined, { path: MANIFEST, store, expected: undefined, onBytes: () => {} });
  }
  return manifest;
}

async function keptManifest(store: Store): Promise<string | undefined> {
  const chunk = (await store.file(MANIFEST)) && (await store.chunk(MANIFEST, 0));
  return chunk && (await intact(chunk)) ? new TextDecoder().decode(chunk.data) : undefined;
}

async function fetchManifest(base: URL, impatient: boolean): Promise<string | undefined> {
  const init: RequestInit = { cache: "no-cache" };
  if (impatient) init.signal = AbortSignal.timeout(MANIFEST_PATIENCE_MS);
  const response = await fetchFile(new URL(MANIFEST, base), MANIFEST, init);
  // Hosts answer for a missing file with 403 or with a page of their own: the model then is one without a manifest.
  const page = response.headers.get("content-type")?.startsWith("text/html");
  if (!response.ok || page) return undefined;
  return response.text().catch((cause) => {
    throw lostConnection(MANIFEST, cause);
  });
}
