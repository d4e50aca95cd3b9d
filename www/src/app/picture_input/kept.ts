// The picture to start from, kept over reloads.
import { begin, completed, openDatabase, settled } from "../database.ts";

/** The picture's file and what the user has done about it. */
export interface KeptInput {
  file: Blob;
  strength: number;
  mask: Uint8Array;
}

const STORE = "kept";
const KEY = "picture";

let opened: Promise<IDBDatabase> | undefined;

/** What was kept before; `undefined` where there is none, or the browser keeps nothing. */
export async function keptInput(): Promise<KeptInput | undefined> {
  try {
    const found = await settled(
      begin(await database(), [STORE])
        .objectStore(STORE)
        .get(KEY),
    );
    return found?.file instanceof Blob && found.mask instanceof Uint8Array ? found : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps, or forgets. Where the browser keeps nothing the picture is there until the page is closed. */
export async function keepInput(input: KeptInput | undefined): Promise<void> {
  try {
    const transaction = begin(await database(), [STORE], "readwrite");
    const store = transaction.objectStore(STORE);
    if (input) store.put(input, KEY);
    else store.delete(KEY);
    // What only waits for its requests' answers is undone when the page is closed before they come.
    transaction.commit();
    await completed(transaction);
  } catch {
    // See above.
  }
}

function database(): Promise<IDBDatabase> {
  opened ??= openDatabase("easel-picture-input", 1, (db) => db.createObjectStore(STORE));
  return opened;
}
