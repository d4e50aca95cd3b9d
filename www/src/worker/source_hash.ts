// The SHA-256 of a file whose bytes come in order, over interruptions. It takes nearly as long as packing, so that it is
// made in a worker of its own, beside it.
import type { FileHash } from "easel-wasm";
import { EaselError } from "../shared/errors.ts";
import type { FromHashWorker, ToHashWorker } from "./hash_worker.ts";

/** A hash in the making. */
export interface SourceHash {
  /** Takes the next bytes over: nobody else may use them from now on. Waits while many of them are not hashed yet. */
  update(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** What `MakeHash` needs to go on after the bytes that came so far. */
  save(): Promise<ArrayBuffer>;
  /** Of the bytes that came so far, in lower-case hex. */
  hex(): Promise<string>;
  /** Says that it is of no more use. */
  end(): void;
}

/** Begins a hash, or goes on from what another one saved. */
export type MakeHash = (saved?: ArrayBuffer) => Promise<SourceHash>;

/** Name of the worker, by which its script knows what it is to do. */
export const HASH_WORKER = "easel hash";

/** Bytes that the worker may be behind. */
const MOST_BEHIND = 8 << 20;

/** A hash that is made at once, where it is asked for. */
export class DirectHash implements SourceHash {
  readonly #hash: FileHash;

  /** Of the engine's `FileHash.create`; throws `internal` where that gave nothing. */
  constructor(hash: FileHash | undefined) {
    if (!hash)
      throw new EaselError("internal", "the progress of a download cannot be read: delete the model");
    this.#hash = hash;
  }

  async update(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#hash.update(bytes);
  }

  async save(): Promise<ArrayBuffer> {
    return this.#hash.save().slice().buffer;
  }

  async hex(): Promise<string> {
    return this.#hash.hex();
  }

  end(): void {
    this.#hash.free();
  }
}

interface Waiting {
  resolve(value: FromHashWorker): void;
  reject(error: EaselError): void;
}

/** A hash that a worker makes. */
export class WorkerHash implements SourceHash {
  readonly #worker: Worker;
  readonly #waiting: Waiting[] = [];
  readonly #unread: Promise<unknown>[] = [];
  #behind = 0;
  #failure: EaselError | undefined;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<FromHashWorker>) => this.#waiting.shift()?.resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new EaselError("internal", "the worker that hashes broke down: load the model again"));
    };
  }

  /** Begins in `worker`; `wasm` is the address of the engine's code, where the worker's script does not know it. */
  static async begin(
    worker: Worker,
    wasm: string | undefined,
    saved: ArrayBuffer | undefined,
  ): Promise<SourceHash> {
    const hash = new WorkerHash(worker);
    try {
      await hash.#ask({ type: "begin", wasm, saved });
      return hash;
    } catch (error) {
      worker.terminate();
      throw error;
    }
  }

  async update(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const { byteLength } = bytes;
    // To copy what came over the network takes long, and is needed only where others have a part of it.
    const { buffer } = byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
    this.#behind += byteLength;
    const done = this.#ask({ type: "update", bytes: buffer }, [buffer]).then(() => {
      this.#behind -= byteLength;
    });
    // What fails is said to whoever waits next.
    done.catch(() => {});
    this.#unread.push(done);
    while (this.#behind > MOST_BEHIND) await this.#unread.shift();
  }

  save(): Promise<ArrayBuffer> {
    const saved = this.#ask({ type: "save" }) as Promise<ArrayBuffer>;
    // Not every one is wanted.
    saved.catch(() => {});
    return saved;
  }

  hex(): Promise<string> {
    return this.#ask({ type: "hex" }) as Promise<string>;
  }

  end(): void {
    this.#worker.terminate();
    // Who still waits for it must not do so for ever.
    this.#fail(new EaselError("cancelled", "the hash of a download was given up"));
  }

  #fail(failure: EaselError): void {
    this.#failure = failure;
    for (const { reject } of this.#waiting.splice(0)) reject(failure);
  }

  #ask(message: ToHashWorker, transfer: Transferable[] = []): Promise<FromHashWorker> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure);
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(message, transfer);
    });
  }
}
