// Archives in the making, or on their way to the user's downloads: files of the browser's own, each under a lock that tells
// other tabs that it is in use.
import { hold, ifFree } from "./locks.ts";

const FOLDER = "easel archives";

const lockOf = (name: string) => `${FOLDER} ${name}`;

/** Those that this worker offers: a download may still be reading them. */
const offered = new Set<Archive>();

/** Has `fill` write a file, which is there for as long as this worker, or until `dropArchives`; a failure leaves none. */
export async function makeArchive(
  fill: (handle: FileSystemSyncAccessHandle) => Promise<void>,
): Promise<File> {
  const archive = await Archive.create();
  try {
    const file = await archive.write(fill);
    offered.add(archive);
    return file;
  } catch (error) {
    await archive.remove();
    throw error;
  }
}

/** Removes archives that this worker has offered so far, and those of tabs that are closed. */
export async function dropArchives(): Promise<void> {
  for (const archive of offered) {
    offered.delete(archive);
    await archive.remove();
  }
  await dropOldArchives();
}

/** Removes archives that no tab offers any more. */
export async function dropOldArchives(): Promise<void> {
  try {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER);
    const names: string[] = [];
    for await (const name of folder.keys()) names.push(name);
    for (const name of names) await ifFree(lockOf(name), () => folder.removeEntry(name).catch(() => {}));
  } catch {
    // There are none, or the browser has no folders: nothing takes room.
  }
}

/** A file that no other tab removes. */
class Archive {
  readonly #folder: FileSystemDirectoryHandle;
  readonly #file: FileSystemFileHandle;
  readonly #release: () => void;

  private constructor(folder: FileSystemDirectoryHandle, file: FileSystemFileHandle, release: () => void) {
    this.#folder = folder;
    this.#file = file;
    this.#release = release;
  }

  static async create(): Promise<Archive> {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle(FOLDER, { create: true });
    const name = crypto.randomUUID();
    const release = await hold(lockOf(name), "exclusive");
    return new Archive(folder, await folder.getFileHandle(name, { create: true }), release);
  }

  async write(fill: (handle: FileSystemSyncAccessHandle) => Promise<void>): Promise<File> {
    const handle = await this.#file.createSyncAccessHandle();
    try {
      await fill(handle);
    } finally {
      handle.close();
    }
    return this.#file.getFile();
  }

  /** What cannot be removed now is removed when no tab has it any more. */
  async remove(): Promise<void> {
    await this.#folder.removeEntry(this.#file.name).catch(() => {});
    this.#release();
  }
}
