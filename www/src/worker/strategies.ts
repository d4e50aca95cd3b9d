// What the engine measured on this machine's adapter, in a small database of its own: losing it costs a second
// measurement, so no failure here reaches the user.

const STORE = "strategies";

/** What an earlier visit kept for an adapter; empty when nothing was, or nothing can be. */
export async function keptStrategies(adapter: string): Promise<string> {
  const found = await withStore("readonly", (store) => store.get(adapter)).catch(() => undefined);
  return typeof found === "string" ? found : "";
}

/** Keeps the table for the next visit. */
export async function keepStrategies(adapter: string, table: string): Promise<void> {
  await withStore("readwrite", (store) => store.put(table, adapter)).catch(() => {});
}

async function withStore(
  mode: IDBTransactionMode,
  action: (store: IDBObjectStore) => IDBRequest,
): Promise<unknown> {
  const request = indexedDB.open("easel-strategies", 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  const db = await result(request);
  try {
    return await result(action(db.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    db.close();
  }
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    // Another tab holds the database of an older layout.
    if (request instanceof IDBOpenDBRequest) request.onblocked = () => reject(request.error);
  });
}
