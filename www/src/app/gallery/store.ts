// Pictures in a database of their own: whatever becomes of the models', pictures stay. A picture is a record with its
// thumbnail, for the grid, and under the same key its file, which only views and exports read. What pictures were drawn
// from is kept once for all that share it, and goes with the last of them.
import type { Settings } from "../../shared/settings.ts";
import { begin, completed, openDatabase, settled } from "../database.ts";
import type { StartingPoint } from "./starting_point.ts";

/** A finished picture as it is kept. */
export interface Picture {
  /** Milliseconds since 1970. */
  added: number;
  width: number;
  height: number;
  /** How it was made; `model` is the model's name. */
  settings: Settings;
  /** Address of the model's folder. */
  model: string;
  /** 1 where the user starred it, else 0: a key of the index of that name. */
  starred: 0 | 1;
  /** A small picture; absent where the browser could make none. */
  thumbnail: Blob | undefined;
  /** Bytes of file and thumbnail. */
  size: number;
  /** Key of what it was drawn from; absent where that was noise, or was not kept. */
  start?: string;
}

const VERSION = 2;
const PICTURES = "pictures";
const FILES = "files";
const STARTS = "starts";

/** The pictures of this origin, by keys that grow. */
export class GalleryStore {
  readonly #db: IDBDatabase;
  readonly #channel = new BroadcastChannel("easel-gallery");

  private constructor(db: IDBDatabase) {
    this.#db = db;
  }

  /** Throws `storage` where the browser keeps nothing. */
  static async open(): Promise<GalleryStore> {
    const db = await openDatabase("easel-gallery", VERSION, (opened, from, upgrading) => {
      if (from < 1) {
        const pictures = opened.createObjectStore(PICTURES, { autoIncrement: true });
        pictures.createIndex("starred", "starred");
        pictures.createIndex("size", "size");
        opened.createObjectStore(FILES);
      }
      upgrading.objectStore(PICTURES).createIndex("start", "start");
      opened.createObjectStore(STARTS).createIndex("size", "size");
    });
    return new GalleryStore(db);
  }

  /** Calls back when another tab has changed something. */
  onChange(listener: () => void): void {
    this.#channel.addEventListener("message", listener);
  }

  /** Keeps a picture, and what it was drawn from; all parts or nothing. Throws `quota` when there is no room. */
  async add(picture: Picture, file: Blob, from?: { key: string; start: StartingPoint }): Promise<number> {
    const transaction = begin(this.#db, [PICTURES, FILES, STARTS], "readwrite");
    if (from) transaction.objectStore(STARTS).put(from.start, from.key);
    const record = from ? { ...picture, start: from.key } : picture;
    const request = transaction.objectStore(PICTURES).add(record);
    request.onsuccess = () => {
      transaction.objectStore(FILES).put(file, request.result);
      // A page that is closed now does not take it back.
      transaction.commit();
    };
    await this.#done(transaction);
    return request.result as number;
  }

  /** Keys of all pictures, or of starred ones, the oldest first. */
  async keys(starred = false): Promise<number[]> {
    const pictures = this.#pictures();
    const request = starred ? pictures.index("starred").getAllKeys(1) : pictures.getAllKeys();
    return (await settled(request)).filter((key) => typeof key === "number");
  }

  /** Records of those that are still there. */
  async pictures(keys: readonly number[]): Promise<Map<number, Picture>> {
    const store = this.#pictures();
    const gets = keys.map((key) => settled<Picture | undefined>(store.get(key)));
    const found = new Map<number, Picture>();
    for (const [at, picture] of (await Promise.all(gets)).entries()) {
      if (picture) found.set(keys[at] ?? 0, picture);
    }
    return found;
  }

  picture(key: number): Promise<Picture | undefined> {
    return settled(this.#pictures().get(key));
  }

  file(key: number): Promise<Blob | undefined> {
    return settled(begin(this.#db, [FILES]).objectStore(FILES).get(key));
  }

  /** What pictures were drawn from. */
  start(key: string): Promise<StartingPoint | undefined> {
    return settled(begin(this.#db, [STARTS]).objectStore(STARTS).get(key));
  }

  /** Bytes of all pictures, and of what they were drawn from. */
  async size(): Promise<number> {
    return (await this.#sizeOf(PICTURES)) + (await this.#sizeOf(STARTS));
  }

  #sizeOf(name: string): Promise<number> {
    const request = begin(this.#db, [name]).objectStore(name).index("size").openKeyCursor();
    let sum = 0;
    return new Promise((resolve, reject) => {
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor) return resolve(sum);
        sum += Number(cursor.key);
        cursor.continue();
      };
    });
  }

  async star(key: number, starred: 0 | 1): Promise<void> {
    const transaction = begin(this.#db, [PICTURES], "readwrite");
    const store = transaction.objectStore(PICTURES);
    const request: IDBRequest<Picture | undefined> = store.get(key);
    request.onsuccess = () => request.result && store.put({ ...request.result, starred }, key);
    await this.#done(transaction);
  }

  /** Deletes pictures for good. */
  async delete(keys: readonly number[]): Promise<void> {
    const transaction = begin(this.#db, [PICTURES, FILES, STARTS], "readwrite");
    const pictures = transaction.objectStore(PICTURES);
    for (const key of keys) {
      const request: IDBRequest<Picture | undefined> = pictures.get(key);
      request.onsuccess = () => {
        pictures.delete(key);
        transaction.objectStore(FILES).delete(key);
        if (request.result?.start) dropUnused(transaction, request.result.start);
      };
    }
    await this.#done(transaction);
  }

  #pictures(): IDBObjectStore {
    return begin(this.#db, [PICTURES]).objectStore(PICTURES);
  }

  async #done(transaction: IDBTransaction): Promise<void> {
    await completed(transaction);
    this.#channel.postMessage("changed");
  }
}

/** Deletes what the last picture was drawn from that is now gone. */
function dropUnused(transaction: IDBTransaction, start: string): void {
  const users = transaction.objectStore(PICTURES).index("start").count(start);
  users.onsuccess = () => users.result === 0 && transaction.objectStore(STARTS).delete(start);
}
