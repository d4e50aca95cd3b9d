// Chunks as files in the folder that browsers give to a site: a worker reads them several times faster than records of
// IndexedDB, which another process copies first. The records alone tell which chunks there are.
import { sha256Hex } from "./digest.ts";
import { ifUnwritten } from "./locks.ts";
import type { ChunkKey, Store } from "./store.ts";

const FOLDER = "easel chunks";

/** Lets several tabs read a file at a time; browsers that know no modes let one. */
type OpenHandle = (options: { mode: "read-only" }) => Promise<FileSystemSyncAccessHandle>;

/** What tells which files there should be. */
type Records = Pick<Store, "addresses" | "chunkKeys">;

/** One file for each chunk, named for model, file and number. */
export class ChunkFiles {
  readonly #folder: FileSystemDirectoryHandle;
  /** Of addresses and paths, which may hold what names of files may not. */
  readonly #names = new Map<string, Promise<string>>();
  readonly #asked = new Set<FileSystemFileHandle>();

  private constructor(folder: FileSystemDirectoryHandle) {
    this.#folder = folder;
  }

  /** `undefined` where a browser has no such files, as in some private windows and outside of workers, or gives none now. */
  static async open(): Promise<ChunkFiles | undefined> {
    if (!("createSyncAccessHandle" in (globalThis.FileSystemFileHandle?.prototype ?? {}))) return undefined;
    try {
      const all = await navigator.storage.getDirectory();
      return new ChunkFiles(await all.getDirectoryHandle(FOLDER, { create: true }));
    } catch {
      return undefined;
    }
  }

  /** Writes a chunk; it is on the device when this resolves. */
  async write(address: string, key: ChunkKey, data: ArrayBuffer): Promise<void> {
    const file = await this.#folder.getFileHandle(await this.#nameOf(address, ...key), { create: true });
    const handle = await this.#asking(file, () => file.createSyncAccessHandle());
    try {
      handle.truncate(0);
      if (handle.write(new Uint8Array(data)) !== data.byteLength) {
        throw new DOMException("only a part was written", "QuotaExceededError");
      }
      handle.flush();
    } finally {
      handle.close();
    }
  }

  /**
   * What was written, in `memory` if that fits; `undefined` where it is gone or damaged. Throws where no file can be looked
   * up.
   */
  async read(address: string, key: ChunkKey, memory?: ArrayBuffer): Promise<ArrayBuffer | undefined> {
    const name = await this.#nameOf(address, ...key);
    const file = await this.#folder.getFileHandle(name).catch(unlessGone);
    if (!file) return undefined;
    const open: OpenHandle = file.createSyncAccessHandle.bind(file);
    const handle = await this.#asking(file, () => open({ mode: "read-only" })).catch(() => undefined);
    if (!handle) return this.#readAsBlob(file);
    try {
      const size = handle.getSize();
      const data = memory?.byteLength === size ? memory : new ArrayBuffer(size);
      return handle.read(new Uint8Array(data)) === size ? data : undefined;
    } catch {
      return undefined;
    } finally {
      handle.close();
    }
  }

  /** For a file that another tab is reading. */
  async #readAsBlob(file: FileSystemFileHandle): Promise<ArrayBuffer | undefined> {
    const blob = await this.#asking(file, () => file.getFile()).catch(unlessGone);
    return blob?.arrayBuffer().catch(() => undefined);
  }

  /** Waits for what is asked of a file. In Chromium no answer ever comes if the garbage collector takes the file meanwhile. */
  async #asking<T>(file: FileSystemFileHandle, ask: () => Promise<T>): Promise<T> {
    this.#asked.add(file);
    try {
      return await ask();
    } finally {
      this.#asked.delete(file);
    }
  }

  /** Removes the chunks of a model or of one of its files. What a tab is reading stays until `sweep`. */
  async remove(address: string, path?: string): Promise<void> {
    const name = await this.#nameOf(address, path);
    await this.#removeFiles((await this.#files()).filter((found) => found.startsWith(`${name}.`)));
  }

  /** Removes what tabs left that were closed while they removed something: files of no known model, and of no record. */
  async sweep(records: Records): Promise<void> {
    // A model is known before it has files: one that begins right now is told of, since its files are looked up first.
    const files = new Set(await this.#files());
    for (const address of await records.addresses()) {
      const name = await this.#nameOf(address);
      const own = [...files].filter((found) => found.startsWith(`${name}.`));
      for (const known of own) files.delete(known);
      await this.#sweepModel(records, address, own);
    }
    await this.#removeFiles([...files]);
  }

  async #sweepModel(records: Records, address: string, files: readonly string[]): Promise<void> {
    const left = await this.#withoutRecord(records, address, files);
    if (left.length === 0) return;
    // The record of a file that is being written comes after it.
    await ifUnwritten(address, async () =>
      this.#removeFiles(await this.#withoutRecord(records, address, left)),
    );
  }

  async #withoutRecord(records: Records, address: string, files: readonly string[]): Promise<string[]> {
    const keys = await records.chunkKeys(address);
    const named = new Set(await Promise.all(keys.map((key) => this.#nameOf(address, ...key))));
    return files.filter((name) => !named.has(name));
  }

  async #files(): Promise<string[]> {
    const names: string[] = [];
    for await (const name of this.#folder.keys()) names.push(name);
    return names;
  }

  async #removeFiles(names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.#folder.removeEntry(name).catch(() => {})));
  }

  async #nameOf(...parts: (string | number | undefined)[]): Promise<string> {
    const names = parts.map((part) => (typeof part === "string" ? this.#hashed(part) : part?.toString()));
    return (await Promise.all(names)).filter((name) => name !== undefined).join(".");
  }

  #hashed(text: string): Promise<string> {
    const known = this.#names.get(text);
    if (known) return known;
    const name = sha256Hex(new TextEncoder().encode(text));
    this.#names.set(text, name);
    return name;
  }
}

function unlessGone(error: unknown): undefined {
  if (!(error instanceof DOMException && error.name === "NotFoundError")) throw error;
}
