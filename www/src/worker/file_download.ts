// One file from its place into the store: what is kept stays, what is missing or damaged is fetched.
import { sha256 } from "@noble/hashes/sha2.js";
import { asEaselError, EaselError } from "../shared/errors.ts";
import { checksum } from "./checksum.ts";
import { hex } from "./digest.ts";
import type { PlannedFile } from "./plan.ts";
import type { ByteSource } from "./provider.ts";
import { stopped } from "./retries.ts";
import type { Chunk, ChunkNotes, Store } from "./store.ts";

/** Fetches of the same bytes that prove wrong before their source is given up. */
const ROUNDS = 2;

/** What it takes to fetch any of a file. */
export interface Fetching {
  address: string;
  file: PlannedFile;
  store: Store;
  source: ByteSource;
  /** Told of bytes that are there, as they come. */
  onBytes: (bytes: number) => void;
}

/** What the download of a file needs. */
export interface FileDownload extends Fetching {
  /** Ends it between two chunks, as `cancelled`. */
  signal: AbortSignal;
  /** Told of the hashes of all chunks, when all of the file has proved right. */
  onHashes: (chunkSha256: string[]) => Promise<void>;
}

/** Makes a file whole; its record is written when all of it has proved right. */
export async function completeFile(download: FileDownload): Promise<void> {
  const { address, file, store } = download;
  for (let round = 1; round <= ROUNDS; round += 1) {
    const hashes: string[] = [];
    const digest = await completeChunks(download, hashes).catch((error) => {
      // The source of a packed file has a hash of its own, and has just found another.
      if (!file.packing || asEaselError(error).code !== "damaged_file") throw error;
      return undefined;
    });
    if (digest === (file.sha256 ?? "")) {
      await download.onHashes(hashes);
      await store.putFile(address, file.path, { size: file.size, chunkSize: file.chunkSize, sha256: digest });
      return;
    }
    // Only all of it has a hash to compare with, so that any of its chunks may be the wrong one.
    await store.dropFile(address, file.path);
    download.onBytes(-file.size);
  }
  throw damaged(file.path);
}

/** Fetches a chunk anew of which `notes` were kept, and writes over it what has the hash in them. */
export async function mendChunk(fetching: Fetching, index: number, notes: ChunkNotes): Promise<void> {
  const { address, file, store } = fetching;
  for (let round = 1; round <= ROUNDS; round += 1) {
    const bytes = bytesOf(fetching, index, index + 1, undefined);
    for await (const data of inChunks(bytes, chunkLength(file, index))) {
      if (hex(await crypto.subtle.digest("SHA-256", data)) !== hex(notes.sha256)) continue;
      return store.putChunk(address, [file.path, index], { ...notes, data, checksum: await checksum(data) });
    }
    fetching.onBytes(-chunkLength(file, index));
  }
  throw damaged(file.path);
}

/** The SHA-256 of all chunks, or "" where there is nothing to compare it with; adds that of each to `hashes`. */
async function completeChunks(download: FileDownload, hashes: string[]): Promise<string> {
  const { address, file, store, signal, onBytes } = download;
  const hash = file.sha256 ? sha256.create() : undefined;
  const kept = new Set((await store.chunkKeys(address, file.path)).map(([, index]) => index));
  const count = chunkCount(file);
  let failures = 0;
  let checkpoint: ArrayBuffer | undefined;
  for (let index = 0; index < count; ) {
    if (signal.aborted) throw stopped();
    const chunk = kept.delete(index) ? await intactChunk(store, address, file, index) : undefined;
    if (chunk) {
      hash?.update(new Uint8Array(chunk.data));
      hashes.push(hex(chunk.sha256));
      checkpoint = chunk.checkpoint;
      onBytes(chunk.data.byteLength);
      index += 1;
      continue;
    }
    // Of a packed file only the source has a hash, which goes over all that follows.
    if (file.packing && !file.chunkSha256) kept.clear();
    const end = Math.min(count, ...kept);
    const before = index;
    const bytes = bytesOf(download, index, end, checkpoint);
    for await (const { data, sha256 } of keepChunks(bytes, download, index)) {
      hash?.update(new Uint8Array(data));
      hashes.push(hex(sha256));
      index += 1;
    }
    // The source gave a chunk that is not the manifest's, and that one is next.
    failures = index > before ? 0 : failures + 1;
    if (failures === ROUNDS) throw damaged(file.path);
  }
  return hash ? hex(hash.digest()) : "";
}

/** The bytes of the chunks from `first` to before `end`. */
async function* bytesOf(
  { file, source, onBytes }: Fetching,
  first: number,
  end: number,
  checkpoint: ArrayBuffer | undefined,
): AsyncGenerator<Uint8Array> {
  const range = { start: first * file.chunkSize, end: Math.min(file.size, end * file.chunkSize) };
  for await (const piece of source.read(range, checkpoint)) {
    onBytes(piece.length);
    yield piece;
  }
}

/**
 * Cuts bytes into chunks from number `first` on and keeps them; yields each while it is being written, so that the next
 * one fills up meanwhile. Ends early at a chunk that has another hash than the plan says. At its end all are kept.
 */
async function* keepChunks(
  bytes: AsyncIterable<Uint8Array>,
  download: FileDownload,
  first: number,
): AsyncGenerator<Chunk> {
  const { file, source } = download;
  let index = first;
  let written = Promise.resolve();
  try {
    for await (const data of inChunks(bytes, file.chunkSize)) {
      const sha256 = await crypto.subtle.digest("SHA-256", data);
      const expected = file.chunkSha256?.[index];
      if (expected !== undefined && hex(sha256) !== expected) return;
      const checkpoint = source.checkpoint?.();
      const chunk = { data, sha256, checksum: await checksum(data) };
      await written;
      written = keepChunk(download, index, chunk, checkpoint);
      // Its failure is thrown below, when it is waited for.
      written.catch(() => {});
      yield { data, sha256 };
      index += 1;
    }
  } catch (error) {
    // A chunk that cannot be kept without its source's checkpoint says less of what went wrong.
    written = written.catch(() => {});
    throw error;
  } finally {
    await written;
  }
}

/** Writes a chunk, with what its source needs to go on after it. */
async function keepChunk(
  { address, file, store }: FileDownload,
  index: number,
  chunk: Chunk,
  asked: Promise<ArrayBuffer> | undefined,
): Promise<void> {
  const checkpoint = await asked;
  return store.putChunk(address, [file.path, index], checkpoint ? { ...chunk, checkpoint } : chunk);
}

/**
 * The bytes in pieces of `chunkSize`; the last one is what is left. Each is good until the next but one is asked for: fresh
 * memory would cost more than what is written into it.
 */
async function* inChunks(bytes: AsyncIterable<Uint8Array>, chunkSize: number): AsyncGenerator<ArrayBuffer> {
  let buffer = new Uint8Array(chunkSize);
  let other: typeof buffer | undefined;
  let filled = 0;
  for await (const value of bytes) {
    for (let from = 0; from < value.length; ) {
      const count = Math.min(value.length - from, chunkSize - filled);
      buffer.set(value.subarray(from, from + count), filled);
      from += count;
      filled += count;
      if (filled < chunkSize) continue;
      yield buffer.buffer;
      [buffer, other] = [other ?? new Uint8Array(chunkSize), buffer];
      filled = 0;
    }
  }
  if (filled > 0) yield buffer.buffer.slice(0, filled);
}

/**
 * A kept chunk, unless it is not there, not of its length, of another file than is planned as far as that is known, or not
 * what it was when it was kept; see `Store.chunk`.
 */
export async function intactChunk(
  store: Store,
  address: string,
  file: PlannedFile,
  index: number,
  memory?: ArrayBuffer,
): Promise<Chunk | undefined> {
  const chunk = await store.chunk(address, [file.path, index], memory);
  if (chunk?.data.byteLength !== chunkLength(file, index)) return undefined;
  const planned = file.chunkSha256?.[index];
  if (planned !== undefined && planned !== hex(chunk.sha256)) return undefined;
  return (await isIntact(chunk)) ? chunk : undefined;
}

async function isIntact({ data, sha256, checksum: kept }: Chunk): Promise<boolean> {
  if (kept !== undefined) return (await checksum(data)) === kept;
  return hex(await crypto.subtle.digest("SHA-256", data)) === hex(sha256);
}

export function chunkLength({ size, chunkSize }: PlannedFile, index: number): number {
  return Math.min(chunkSize, size - index * chunkSize);
}

export function chunkCount({ size, chunkSize }: PlannedFile): number {
  return Math.ceil(size / chunkSize);
}

function damaged(path: string): EaselError {
  const reason = "its SHA-256 is not the one that its source names, each time that it was read";
  const message = `${path} is damaged (${reason}): load again later, or get another copy of the model`;
  return new EaselError("damaged_file", message);
}
