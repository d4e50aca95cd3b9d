// Model files in IndexedDB. A file is a row of chunks and a record that is written last: without the record, the
// chunks are what an interrupted download left.
import { EaselError } from "../shared/errors.ts";

/** What is known of a whole file. */
export interface FileRecord {
  size: number;
  chunkSize: number;
  chunks: number;
  /** Of the whole file, lower-case hex; empty when no manifest named it. */
  sha256: string;
}

/** A piece of a file with its own SHA-256. */
export interface Chunk {
  data: ArrayBuffer;
  sha256: ArrayBuffer;
}

const FILES = "files";
const CHUNKS = "chunks";
const ABSENT = "absent";

/** The files of one model. */
export class Store {
  readonly #db: IDBDatabase;
  readonly #model: string;

  private constructor(db: IDBDatabase, model: string) {
    this.#db = db;
    this.#model = model;
  }

  static async open(model: string): Promise<Store> {
    const request = indexedDB.open("easel", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(FILES);
      request.result.createObjectStore(CHUNKS);
    };
    const db = await settled(request);
    // Another tab wants a newer layout: let it, this one falls back to an error at its next read.
    db.onversionchange = () => db.close();
    return new Store(db, model);
  }

  async file(path: string): Promise<FileRecord | undefined> {
    const found = await this.#record(path);
    return found === ABSENT ? undefined : found;
  }

  /** Whether the server said, when it was last asked, that it has no such file. */
  async isAbsent(path: string): Promise<boolean> {
    return (await this.#record(path)) === ABSENT;
  }

  async putAbsent(path: string): Promise<void> {
    await this.#putRecord(path, ABSENT);
  }

  async chunk(path: string, index: number): Promise<Chunk | undefined> {
    const store = this.#begin(CHUNKS, "readonly").objectStore(CHUNKS);
    return settled<Chunk | undefined>(store.get([this.#model, path, index]));
  }

  async putChunk(path: string, index: number, chunk: Chunk): Promise<void> {
    const transaction = this.#begin(CHUNKS, "readwrite");
    transaction.objectStore(CHUNKS).put(chunk, [this.#model, path, index]);
    await completed(transaction);
  }

  async putFile(path: string, record: FileRecord): Promise<void> {
    await this.#putRecord(path, record);
  }

  async #record(path: string): Promise<FileRecord | typeof ABSENT | undefined> {
    const store = this.#begin(FILES, "readonly").objectStore(FILES);
    return settled<FileRecord | typeof ABSENT | undefined>(store.get([this.#model, path]));
  }

  async #putRecord(path: string, record: FileRecord | typeof ABSENT): Promise<void> {
    const transaction = this.#begin(FILES, "readwrite");
    transaction.objectStore(FILES).put(record, [this.#model, path]);
    await completed(transaction);
  }

  /** Forgets a file and whatever chunks of it there are. */
  async drop(path: string): Promise<void> {
    const transaction = this.#begin([FILES, CHUNKS], "readwrite");
    transaction.objectStore(FILES).delete([this.#model, path]);
    const chunks = IDBKeyRange.bound([this.#model, path, 0], [this.#model, path, Number.POSITIVE_INFINITY]);
    transaction.objectStore(CHUNKS).delete(chunks);
    await completed(transaction);
  }

  #begin(stores: string | string[], mode: IDBTransactionMode): IDBTransaction {
    try {
      return this.#db.transaction(stores, mode);
    } catch (cause) {
      throw storageError(cause);
    }
  }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(storageError(request.error));
  });
}

function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(storageError(transaction.error));
  });
}

function storageError(cause: unknown): EaselError {
  if (cause instanceof DOMException && cause.name === "QuotaExceededError") {
    const advice = "free some space on this device, or allow this site more storage, then load again";
    return new EaselError("quota", `the browser has no room left to keep the model: ${advice}`, { cause });
  }
  const detail = cause instanceof Error ? cause.message : "unknown reason";
  return new EaselError("storage", `the browser's storage does not work here: ${detail}`, { cause });
}
