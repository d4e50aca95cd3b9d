// IndexedDB with promises, and with errors of this page.
import { EaselError } from "../shared/errors.ts";

/** What is kept in IndexedDB. The connection is opened when it is needed, and again when the browser has closed it. */
export class Database {
  readonly #name: string;
  readonly #version: number;
  readonly #upgrade: (db: IDBDatabase) => void;
  #connection: Promise<IDBDatabase> | undefined;

  /** `upgrade` makes the stores of this version. */
  constructor(name: string, version: number, upgrade: (db: IDBDatabase) => void) {
    this.#name = name;
    this.#version = version;
    this.#upgrade = upgrade;
  }

  async get<T>(name: string, ask: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const transaction = await this.#begin([name], "readonly");
    return settled(ask(transaction.objectStore(name)));
  }

  /** Changes some stores together. */
  async change(names: string[], change: (stores: (name: string) => IDBObjectStore) => void): Promise<void> {
    const transaction = await this.#begin(names, "readwrite");
    try {
      change((name) => transaction.objectStore(name));
      // A tab that is closed right now keeps what was written so far.
      transaction.commit();
    } catch (cause) {
      throw storageError(cause);
    }
    return completed(transaction);
  }

  /** Begins a transaction, which is good until the browser goes on. */
  async #begin(names: string[], mode: IDBTransactionMode): Promise<IDBTransaction> {
    const connection = this.#connected();
    const begin = (db: IDBDatabase) => db.transaction(names, mode);
    try {
      return begin(await connection);
    } catch (cause) {
      if (!isClosed(cause)) throw storageError(cause);
    }
    this.#forget(connection);
    try {
      return begin(await this.#connected());
    } catch (cause) {
      throw storageError(cause);
    }
  }

  #connected(): Promise<IDBDatabase> {
    this.#connection ??= this.#connect();
    return this.#connection;
  }

  #connect(): Promise<IDBDatabase> {
    const connection = this.#open();
    const forget = () => this.#forget(connection);
    connection.then((db) => db.addEventListener("close", forget), forget);
    return connection;
  }

  #forget(connection: Promise<IDBDatabase>): void {
    if (this.#connection === connection) this.#connection = undefined;
  }

  async #open(): Promise<IDBDatabase> {
    const request = indexedDB.open(this.#name, this.#version);
    request.onupgradeneeded = () => this.#upgrade(request.result);
    const db = await settled(request);
    // Another tab wants a newer layout: let it, this one falls back to an error at its next read.
    db.onversionchange = () => db.close();
    return db;
  }
}

function isClosed(cause: unknown): boolean {
  return cause instanceof DOMException && cause.name === "InvalidStateError";
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

/** An error of the browser's storage as one of this page: `quota` or `storage`. */
export function storageError(cause: unknown): EaselError {
  if (cause instanceof EaselError) return cause;
  if (cause instanceof DOMException && cause.name === "QuotaExceededError") {
    return new EaselError("quota", "the browser has no room left to keep the model", { cause });
  }
  const detail = cause instanceof Error ? cause.message : "unknown reason";
  return new EaselError("storage", `the browser's storage does not work here: ${detail}`, { cause });
}
