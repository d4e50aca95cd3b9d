// IndexedDB as promises, for what the page itself keeps; models have a database of their own, in the worker.
import { EaselError } from "../shared/errors.ts";

/**
 * Opens a database; `upgrade` takes it from an older version, 0 at first, within `transaction`, and must keep what is in it.
 */
export async function openDatabase(
  name: string,
  version: number,
  upgrade: (db: IDBDatabase, from: number, transaction: IDBTransaction) => void,
): Promise<IDBDatabase> {
  const request = indexedDB.open(name, version);
  request.onupgradeneeded = ({ oldVersion }) => {
    if (request.transaction) upgrade(request.result, oldVersion, request.transaction);
  };
  const db = await settled(request);
  // A tab with a newer page wants a newer version: let it.
  db.onversionchange = () => db.close();
  return db;
}

/** Begins a transaction; throws `storage` where another tab has closed the database. */
export function begin(
  db: IDBDatabase,
  names: string[],
  mode: IDBTransactionMode = "readonly",
): IDBTransaction {
  try {
    return db.transaction(names, mode);
  } catch (cause) {
    throw new EaselError("storage", "another tab has a newer version of this page: reload this one", {
      cause,
    });
  }
}

/** The result of a request; throws `quota` or `storage`. */
export function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(storageError(request.error));
  });
}

/** The end of a transaction; throws `quota` or `storage`. */
export function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(storageError(transaction.error));
  });
}

function storageError(cause: unknown): EaselError {
  if (cause instanceof DOMException && cause.name === "QuotaExceededError") {
    return new EaselError("quota", "the browser has no room left", { cause });
  }
  const detail = cause instanceof Error ? cause.message : "unknown reason";
  return new EaselError("storage", `the browser's storage does not work here: ${detail}`, { cause });
}
