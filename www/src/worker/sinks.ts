// Where the files of a saved model go to: a folder of the user's, or one file.
import { EaselError } from "../shared/errors.ts";
import { TAR_END, tarHeader, tarPadding } from "./tar.ts";

/** Where files go to, one after the other. */
export interface Sink {
  begin(path: string, size: number): Promise<void>;
  write(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Ends the file that was begun. */
  end(): Promise<void>;
  /** All files have been written. */
  close(): Promise<void>;
  /** There will be no more: what is not whole is given up. */
  abandon(): Promise<void>;
}

/** Files below a folder, or one file there, which gets another name; each has its bytes when it is whole. */
export class FolderSink implements Sink {
  readonly #folder: FileSystemDirectoryHandle;
  readonly #name: string | undefined;
  #file: FileSystemWritableFileStream | undefined;

  constructor(folder: FileSystemDirectoryHandle, name?: string) {
    this.#folder = folder;
    this.#name = name;
  }

  async begin(path: string): Promise<void> {
    const parts = (this.#name ?? path).split("/");
    const name = parts.pop() ?? path;
    let folder = this.#folder;
    for (const part of parts) folder = await folder.getDirectoryHandle(part, { create: true });
    const file = await folder.getFileHandle(name, { create: true });
    this.#file = await file.createWritable();
  }

  async write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#file?.write(bytes);
  }

  async end(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  async close(): Promise<void> {}

  async abandon(): Promise<void> {
    await this.#file?.abort().catch(() => {});
  }
}

/**
 * One file: an archive of a folder of that name, or without a name the one that is written. Who opened its handle closes
 * it, and removes what was abandoned.
 */
export class FileSink implements Sink {
  readonly #handle: FileSystemSyncAccessHandle;
  readonly #folder: string | undefined;
  #at = 0;
  #size = 0;

  constructor(handle: FileSystemSyncAccessHandle, folder: string | undefined) {
    this.#handle = handle;
    this.#folder = folder;
  }

  async begin(path: string, size: number): Promise<void> {
    this.#size = size;
    if (this.#folder !== undefined) await this.write(tarHeader({ path: `${this.#folder}/${path}`, size }));
  }

  async write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    for (let from = 0; from < bytes.length; ) {
      const count = this.#handle.write(bytes.subarray(from), { at: this.#at });
      if (count === 0) throw new EaselError("quota", "the browser has no room left for the saved model");
      this.#at += count;
      from += count;
    }
  }

  async end(): Promise<void> {
    if (this.#folder !== undefined) await this.write(new Uint8Array(tarPadding(this.#size)));
  }

  async close(): Promise<void> {
    if (this.#folder !== undefined) await this.write(TAR_END);
    this.#handle.flush();
  }

  async abandon(): Promise<void> {}
}
