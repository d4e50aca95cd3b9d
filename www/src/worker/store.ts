// Models in IndexedDB, and the bytes of their chunks in files where the browser has them. A model is a record, files and
// chunks: a file's record is written after its last chunk, and the model's record says that it is whole after its last
// file. Chunks without a file's record are what a download left.
import { asEaselError, EaselError } from "../shared/errors.ts";
import { ChunkFiles } from "./chunk_files.ts";
import { Database, storageError } from "./database.ts";
import type { Plan } from "./plan.ts";

/** What is known of a model of which anything is kept. */
export interface ModelRecord {
  plan: Plan;
  /** Milliseconds since 1970. */
  started: number;
  /** When its last file arrived; absent for a model that is not whole. */
  finished?: number;
}

/** Says that all chunks of a file are there. */
export interface FileRecord {
  size: number;
  chunkSize: number;
  /** Of the whole file; empty where nobody told it. */
  sha256: string;
}

/** What is noted of a piece of a file. */
export interface ChunkNotes {
  /** Of its bytes. */
  sha256: ArrayBuffer;
  /** Its `checksum`, by which it is known whenever it is read again; chunks of before have none. */
  checksum?: string;
  /** What its source needs to go on after it. */
  checkpoint?: ArrayBuffer;
}

/** A piece of a file. */
export interface Chunk extends ChunkNotes {
  data: ArrayBuffer;
}

/**
 * A chunk as it is kept: with its bytes, or without them where they are a file. Where there are no files, a Blob is read
 * at twice the speed of a buffer, which is copied out of its record; buffers are for browsers that keep no Blobs.
 */
interface KeptChunk extends ChunkNotes {
  data?: ArrayBuffer | Blob;
}

/** Place of a chunk: path of its file and number in it. */
export type ChunkKey = readonly [path: string, index: number];

const VERSION = 2;
const MODELS = "models";
const FILES = "files";
const CHUNKS = "chunks";

/** One serves a worker. */
let opened: Promise<Store> | undefined;

/** Every model of this origin, by address. */
export class Store {
  readonly #database = new Database("easel", VERSION, makeStores);
  #chunkFiles: ChunkFiles | undefined;
  /** Private windows of some browsers refuse to keep any. */
  #keepsBlobs = true;

  static open(): Promise<Store> {
    opened ??= Store.#open();
    return opened;
  }

  static async #open(): Promise<Store> {
    const store = new Store();
    await store.#files();
    return store;
  }

  /** Asked for again where the browser gave none: it may have been short of something. */
  async #files(): Promise<ChunkFiles | undefined> {
    if (this.#chunkFiles) return this.#chunkFiles;
    const files = await ChunkFiles.open();
    // What cannot be removed today goes another day.
    await files?.sweep(this).catch(() => {});
    this.#chunkFiles ??= files;
    return this.#chunkFiles;
  }

  async addresses(): Promise<string[]> {
    const keys = await this.#database.get(MODELS, (store) => store.getAllKeys());
    return keys.filter((key) => typeof key === "string");
  }

  model(address: string): Promise<ModelRecord | undefined> {
    return this.#database.get(MODELS, (store) => store.get(address) as IDBRequest<ModelRecord | undefined>);
  }

  putModel(address: string, record: ModelRecord): Promise<void> {
    return this.#database.change([MODELS], (stores) => stores(MODELS).put(record, address));
  }

  /** Puts a record in the place of the model's, and forgets the files that are not of its plan. */
  async replaceModel(address: string, record: ModelRecord, gone: readonly string[]): Promise<void> {
    await this.#database.change([MODELS, FILES, CHUNKS], (stores) => {
      stores(MODELS).put(record, address);
      for (const path of gone) {
        stores(FILES).delete([address, path]);
        stores(CHUNKS).delete(below(address, path));
      }
    });
    for (const path of gone) await (await this.#files())?.remove(address, path);
  }

  file(address: string, path: string): Promise<FileRecord | undefined> {
    return this.#database.get(
      FILES,
      (store) => store.get([address, path]) as IDBRequest<FileRecord | undefined>,
    );
  }

  putFile(address: string, path: string, record: FileRecord): Promise<void> {
    return this.#database.change([FILES], (stores) => stores(FILES).put(record, [address, path]));
  }

  /**
   * `undefined` for a chunk that is not kept, or that the browser has lost since; `memory` of its size may serve for it.
   * Throws `storage` where the browser does not give files now.
   */
  async chunk(address: string, key: ChunkKey, memory?: ArrayBuffer): Promise<Chunk | undefined> {
    const kept = await this.#keptChunk(address, key);
    if (!kept) return undefined;
    const { data, ...rest } = kept;
    const bytes = await (data instanceof Blob
      ? data.arrayBuffer().catch(() => undefined)
      : (data ?? this.#readFile(address, key, memory)));
    return bytes && { ...rest, data: bytes };
  }

  async #readFile(address: string, key: ChunkKey, memory?: ArrayBuffer): Promise<ArrayBuffer | undefined> {
    const files = await this.#files();
    if (files) return files.read(address, key, memory).catch((cause) => Promise.reject(storageError(cause)));
    const advice = "load again later, or delete the model and get it again";
    throw new EaselError("storage", `the browser does not give out files that it keeps: ${advice}`);
  }

  /** What was noted of a chunk when it was kept, whatever has become of its bytes. */
  async chunkNotes(address: string, key: ChunkKey): Promise<ChunkNotes | undefined> {
    const kept = await this.#keptChunk(address, key);
    if (!kept) return undefined;
    const { data: _, ...notes } = kept;
    return notes;
  }

  #keptChunk(address: string, key: ChunkKey): Promise<KeptChunk | undefined> {
    const place = [address, ...key];
    return this.#database.get(CHUNKS, (store) => store.get(place) as IDBRequest<KeptChunk | undefined>);
  }

  async putChunk(address: string, key: ChunkKey, { data: bytes, ...rest }: Chunk): Promise<void> {
    const put = (data?: KeptChunk["data"]) =>
      this.#database.change([CHUNKS], (stores) =>
        stores(CHUNKS).put({ ...rest, ...(data && { data }) }, [address, ...key]),
      );
    if (await this.#wroteFile(address, key, bytes)) return put();
    return this.#putRecord(bytes, put);
  }

  /** Whether the bytes are in a file now; throws when there is no room for them. */
  async #wroteFile(address: string, key: ChunkKey, data: ArrayBuffer): Promise<boolean> {
    const files = await this.#files();
    if (!files) return false;
    try {
      await files.write(address, key, data);
      return true;
    } catch (cause) {
      const error = storageError(cause);
      if (error.code === "quota") throw error;
      return false;
    }
  }

  async #putRecord(bytes: ArrayBuffer, put: (data: ArrayBuffer | Blob) => Promise<void>): Promise<void> {
    if (!this.#keepsBlobs) return put(bytes);
    try {
      await put(new Blob([bytes]));
    } catch (error) {
      if (asEaselError(error).code === "quota") throw error;
      await put(bytes);
      this.#keepsBlobs = false;
    }
  }

  /** Which chunks there are of one file, or of all. */
  async chunkKeys(address: string, path?: string): Promise<ChunkKey[]> {
    const keys = await this.#database.get(CHUNKS, (store) => store.getAllKeys(below(address, path)));
    return (keys as [string, string, number][]).map(([, file, index]) => [file, index]);
  }

  /** Forgets chunks, and that their file and model were whole. Their bytes stay until others are in their places. */
  async dropChunks(address: string, keys: readonly ChunkKey[]): Promise<void> {
    const record = await this.model(address);
    await this.#database.change([MODELS, FILES, CHUNKS], (stores) => {
      if (record) stores(MODELS).put(unfinished(record), address);
      for (const [path, index] of keys) {
        stores(FILES).delete([address, path]);
        stores(CHUNKS).delete([address, path, index]);
      }
    });
  }

  /** Forgets a file and whatever chunks of it there are. */
  async dropFile(address: string, path: string): Promise<void> {
    await this.#database.change([FILES, CHUNKS], (stores) => {
      stores(FILES).delete([address, path]);
      stores(CHUNKS).delete(below(address, path));
    });
    await (await this.#files())?.remove(address, path);
  }

  /** Forgets a model. */
  async dropModel(address: string): Promise<void> {
    await this.#database.change([MODELS, FILES, CHUNKS], (stores) => {
      stores(MODELS).delete(address);
      stores(FILES).delete(below(address));
      stores(CHUNKS).delete(below(address));
    });
    await (await this.#files())?.remove(address);
  }
}

/** Keys of a model's files or chunks, or of one file's chunks. An array sorts after every string and number. */
function below(...prefix: (string | undefined)[]): IDBKeyRange {
  const key = prefix.filter((part) => part !== undefined);
  return IDBKeyRange.bound(key, [...key, []]);
}

function makeStores(db: IDBDatabase): void {
  // Files of the first layout belong to no model's record: they are fetched again.
  for (const name of db.objectStoreNames) db.deleteObjectStore(name);
  for (const name of [MODELS, FILES, CHUNKS]) db.createObjectStore(name);
}

function unfinished({ plan, started }: ModelRecord): ModelRecord {
  return { plan, started };
}
