// A worker with the downloads and the store of the real one, with small chunks and short waits.
import { asEaselError } from "../../www/src/shared/errors.ts";
import type { GivenFile, QuantChoice } from "../../www/src/shared/protocol.ts";
import { sha256Hex } from "../../www/src/worker/digest.ts";
import { contentRange } from "../../www/src/worker/file_bytes.ts";
import { Host } from "../../www/src/worker/host.ts";
import { listKept } from "../../www/src/worker/kept.ts";
import { ModelDownload } from "../../www/src/worker/model_download.ts";
import { PackingProvider, type PackingTools } from "../../www/src/worker/packing.ts";
import { type Provider, providerOf } from "../../www/src/worker/provider.ts";
import { recognise } from "../../www/src/worker/recognise.ts";
import { ModelSource } from "../../www/src/worker/source.ts";
import { DirectHash, WorkerHash } from "../../www/src/worker/source_hash.ts";
import { type Chunk, Store } from "../../www/src/worker/store.ts";

declare global {
  var lab: typeof Lab;
  /** Told of bytes of files as they arrive. */
  var noteReceived: ((path: string, start: number, length: number) => void) | undefined;
  /** Told when files fall silent. */
  var noteSilence: (() => void) | undefined;
}

/** A method of the laboratory to be called. */
export interface ToLab {
  id: number;
  name: string;
  args: unknown[];
}

/** What it gave, or what the page shall be told of meanwhile. */
export type FromLab =
  | { id: number; result: unknown }
  | { id: number; error: string }
  | { note: "noteReceived" | "noteSilence"; args: unknown[] };

const PATIENCE = {
  attempts: 4,
  lostConnections: 4,
  firstDelayMs: 4,
  longestDelayMs: 20,
  longestRequestedMs: 5000,
  stallMs: 2000,
};

const received = Host.prototype.received;
Host.prototype.received = async function* (response, path, watch) {
  const part = contentRange(response);
  let at = typeof part === "object" ? part.start : 0;
  for await (const piece of received.call(this, response, path, watch)) {
    globalThis.noteReceived?.(path, at, piece.length);
    at += piece.length;
    yield piece;
  }
};

const options = (chunkSize: number, token?: string) => ({
  chunkSize,
  token,
  patience: PATIENCE,
  signal: new AbortController().signal,
  emit: () => {},
});

const PIECE = 1000;

/** A file to be made: its text, or so many bytes that its path tells. */
interface Made {
  path: string;
  contents: string | number;
  modified: number;
}

/** The files, which fall silent when so many bytes of their slices were read. */
function given(made: Made[], silentAfter = Number.POSITIVE_INFINITY): GivenFile[] {
  let left = silentAfter;
  const read = async (path: string, start: number, piece: Uint8Array) => {
    globalThis.noteReceived?.(path, start, piece.length);
    left -= piece.length;
    if (left >= 0) return;
    globalThis.noteSilence?.();
    await new Promise(() => {});
  };
  return made.map(({ path, contents, modified }) => {
    const bytes = typeof contents === "string" ? new TextEncoder().encode(contents) : noise(path, contents);
    const file = new Blob([bytes]);
    file.slice = (start = 0, end = file.size) => {
      let at = start;
      const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
        const piece = bytes.slice(at, Math.min(end, at + PIECE));
        await read(path, at, piece);
        controller.enqueue(piece);
        at += piece.length;
        if (at === end) controller.close();
      };
      return Object.assign(new Blob(), { stream: () => new ReadableStream({ pull }, { highWaterMark: 0 }) });
    };
    return { path, file, modified };
  });
}

/** Bytes that differ by path and place. */
function noise(path: string, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let at = 0, state = path.length; at < size; at += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

async function outcome(work: () => Promise<void>): Promise<string> {
  try {
    await work();
    return "whole";
  } catch (error) {
    const { code, message } = asEaselError(error);
    return `${code}: ${message}`;
  }
}

/** The engine itself, which other tests have a scripted one for. */
const engine = () => import("../../www/pkg/easel.js");

/** As `engine_code.ts` has them. */
const tools: PackingTools = {
  makeTranscoder: async ({ path, isCheckpoint, size, quant }, header) => {
    const { default: init, Transcoder } = await engine();
    await init();
    return (isCheckpoint ? Transcoder.ofCheckpoint : Transcoder.ofPart)(path, header, size, quant);
  },
  makeHash: async (saved) => {
    if (!hashesBeside)
      return new DirectHash((await engine()).FileHash.create(saved && new Uint8Array(saved)));
    const name = hashesBeside;
    const worker = new Worker(new URL("./hash_lab.ts", import.meta.url), { type: "module", name });
    return WorkerHash.begin(worker, undefined, saved);
  },
};

/** A model as it is published, or packed where `quant` is given. */
function provider(
  address: string,
  how: ReturnType<typeof options>,
  quant: QuantChoice | undefined,
): Provider {
  const published = providerOf(new URL(address), undefined, how);
  return quant === undefined ? published : new PackingProvider(published, quant, tools);
}

type ChunkRecord = { data?: ArrayBuffer | Blob };
type RecordKey = [address: string, path: string, index: number];

/** Shows every chunk's record to `use`, and puts what that gives in its place. */
async function eachRecord(
  address: string,
  use: (record: ChunkRecord, key: RecordKey) => unknown,
): Promise<void> {
  await Store.open();
  const opening = indexedDB.open("easel");
  await new Promise<void>((resolve, reject) => {
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const transaction = opening.result.transaction("chunks", "readwrite");
      const walking = transaction.objectStore("chunks").openCursor();
      walking.onsuccess = () => {
        const cursor = walking.result;
        if (!cursor) return;
        const key = cursor.key as RecordKey;
        const changed = key[0] === address ? use(cursor.value, key) : undefined;
        if (typeof changed === "object") cursor.update(changed);
        cursor.continue();
      };
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
    };
  });
  opening.result.close();
}

async function hashOf(source: ModelSource, path: string): Promise<string> {
  const bytes = await source.read(path, 0, (await source.size(path)) ?? 0);
  return sha256Hex(await new Blob(bytes as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}

/** Models that are open, by address. */
const sources = new Map<string, ModelSource>();

/** Name of the worker that sources are hashed in, as in the page, if they are; to start one takes long. */
let hashesBeside: "quick" | "slow" | undefined;

const Lab = {
  async ready(): Promise<void> {},

  async hashBeside(how: "quick" | "slow"): Promise<void> {
    hashesBeside = how;
  },

  /** Completes a model; the code of the error that ended it, or "whole". */
  complete(address: string, chunkSize: number, token?: string, quant?: QuantChoice): Promise<string> {
    return outcome(async () => {
      const how = options(chunkSize, token);
      await new ModelDownload(provider(address, how, quant), await Store.open(), how).complete();
    });
  },

  /** Completes a model as `complete` does, and pauses at what is told of first; how often it was told of more. */
  async pause(
    address: string,
    chunkSize: number,
    quant?: QuantChoice,
  ): Promise<{ result: string; told: number }> {
    const pausing = new AbortController();
    let told = -1;
    const emit = () => {
      pausing.abort();
      told += 1;
    };
    const how = { ...options(chunkSize), signal: pausing.signal, emit };
    const result = await outcome(async () => {
      await new ModelDownload(provider(address, how, quant), await Store.open(), how).complete();
    });
    return { result, told };
  },

  /** What who waits for a hash hears when it is given up. */
  giveUpHash(): Promise<string> {
    return outcome(async () => {
      const hash = await tools.makeHash();
      await hash.update(new Uint8Array(1000));
      const saved = hash.save();
      hash.end();
      await saved;
    });
  },

  /** Forgets a chunk, and that its file was whole. */
  async forgetChunk(address: string, path: string, index: number): Promise<void> {
    await (await Store.open()).dropChunks(address, [[path, index]]);
  },

  /** Bytes that the engine's memory has grown to. */
  async engineBytes(): Promise<number> {
    return (await (await engine()).default()).memory.buffer.byteLength;
  },

  /** Turns a bit of byte `at` of every kept chunk of a file that `which` names by number. */
  async damage(address: string, path: string, which: number[], at = 0): Promise<void> {
    const store = await Store.open();
    for (const index of which) {
      const chunk = await store.chunk(address, [path, index]);
      if (!chunk) throw new Error(`${path} has no chunk ${index}`);
      const bytes = new Uint8Array(chunk.data);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      await store.putChunk(address, [path, index], chunk);
    }
  },

  /** What the data of a model's chunks are in the browser's storage. */
  async formsOf(address: string): Promise<string[]> {
    const forms = new Set<string>();
    await eachRecord(address, ({ data }) => void forms.add(data?.constructor.name ?? "file"));
    return [...forms];
  },

  /** How many files chunks are in. */
  async countFiles(): Promise<number> {
    await Store.open();
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("easel chunks");
    let count = 0;
    for await (const _ of folder.keys()) count += 1;
    return count;
  },

  async forget(address: string): Promise<void> {
    await (await Store.open()).dropModel(address);
  },

  /** Forgets a model as a tab does that is closed in the middle of it. */
  async forgetRecords(address: string): Promise<void> {
    const { removeEntry } = FileSystemDirectoryHandle.prototype;
    FileSystemDirectoryHandle.prototype.removeEntry = () => Promise.reject(new DOMException("closed"));
    await (await Store.open()).dropModel(address);
    FileSystemDirectoryHandle.prototype.removeEntry = removeEntry;
  },

  /** Makes of a model's chunks what they were before there were Blobs and checksums. */
  async keepAsBefore(address: string): Promise<void> {
    const store = await Store.open();
    const buffers = new Map<string, Chunk>();
    for (const [path, index] of await store.chunkKeys(address)) {
      const chunk = await store.chunk(address, [path, index]);
      if (chunk) buffers.set(`${path} ${index}`, { data: chunk.data, sha256: chunk.sha256 });
    }
    await eachRecord(address, (_, [, path, index]) => buffers.get(`${path} ${index}`));
  },

  /** Completes a model of files that are made here, as `complete` does; after so many bytes they fall silent. */
  async give(made: Made[], chunkSize: number, silentAfter?: number): Promise<string> {
    const files = given(made, silentAfter);
    return outcome(async () => {
      const found = await recognise(files);
      const how = options(chunkSize);
      const provider = providerOf(new URL(found.address), found.files, how);
      await new ModelDownload(provider, await Store.open(), how).complete();
    });
  },

  /** The address of a model of files. */
  async addressOf(made: Made[]): Promise<string> {
    return (await recognise(given(made))).address;
  },

  /** SHA-256 of each file as the engine reads it. */
  async hashes(address: string, chunkSize: number, quant?: QuantChoice): Promise<Record<string, string>> {
    const how = options(chunkSize);
    const source = await ModelSource.open(provider(address, how, quant), how);
    const plan = (await (await Store.open()).model(address))?.plan;
    const found: Record<string, string> = {};
    try {
      for (const { path } of plan?.files ?? []) found[path] = await hashOf(source, path);
    } finally {
      source.close();
    }
    return found;
  },

  /** Opens a model until `close`. */
  async open(address: string, chunkSize: number): Promise<void> {
    const how = options(chunkSize);
    sources.set(address, await ModelSource.open(provider(address, how, undefined), how));
  },

  /** SHA-256 of a file of an open model. */
  async hash(address: string, path: string): Promise<string> {
    const source = sources.get(address);
    if (!source) throw new Error(`${address} is not open`);
    return hashOf(source, path);
  },

  async close(address: string): Promise<void> {
    sources.get(address)?.close();
  },

  /** SHA-256 of a file that is read at two places in turns, so many bytes at a time. */
  async readInTurns(address: string, path: string, chunkSize: number, step: number): Promise<string> {
    const how = options(chunkSize);
    const source = await ModelSource.open(provider(address, how, undefined), how);
    const size = (await source.size(path)) ?? 0;
    const bytes = new Uint8Array(size);
    const part = async (start: number, end: number) => {
      for (let at = start; at < end; at += step) {
        const pieces = await source.read(path, at, Math.min(end, at + step));
        let to = at;
        for (const piece of pieces) {
          bytes.set(piece, to);
          to += piece.length;
        }
      }
    };
    await Promise.all([part(0, size >> 1), part(size >> 1, size)]);
    source.close();
    return sha256Hex(bytes);
  },

  /** What the list of models says that a model was packed to. */
  async quantOf(address: string): Promise<string | undefined> {
    return (await listKept(await Store.open(), "model")).find((model) => model.address === address)?.quant;
  },

  async isWhole(address: string): Promise<boolean> {
    return (await listKept(await Store.open(), "model")).some(
      (model) => model.address === address && model.whole,
    );
  },
};
globalThis.lab = Lab;

const post = (message: FromLab) => postMessage(message);
globalThis.noteReceived = (...args) => post({ note: "noteReceived", args });
globalThis.noteSilence = (...args) => post({ note: "noteSilence", args });

addEventListener("message", ({ data: { id, name, args } }: MessageEvent<ToLab>) => {
  const method = Lab[name as keyof typeof Lab] as (...args: unknown[]) => Promise<unknown>;
  method.apply(Lab, args).then(
    (result) => post({ id, result }),
    (error: unknown) => post({ id, error: asEaselError(error).message }),
  );
});
