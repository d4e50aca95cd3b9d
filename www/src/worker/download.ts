import { sha256 } from "@noble/hashes/sha2.js";
import { EaselError } from "../shared/errors.ts";
import type { ManifestFile } from "./manifest.ts";
import type { FileRecord, Store } from "./store.ts";

export const CHUNK_BYTES = 4 << 20;

/** Fetches an address; a lost connection becomes an error of ours that names the file. */
export async function fetchFile(url: URL, path: string, init: RequestInit = {}): Promise<Response> {
  try {
    return await fetch(url, { credentials: "omit", ...init });
  } catch (cause) {
    throw lostConnection(path, cause);
  }
}

/** The error of a file whose connection broke. */
export function lostConnection(path: string, cause: unknown): EaselError {
  return new EaselError("network", `${path} could not be fetched: check the network, then load again`, {
    cause,
  });
}

/** Answers that hosts give for a missing file, too: refusals of one that must be there, absence of one that may. */
export const MAYBE_ABSENT = new Set(["forbidden", "not_a_model_file"]);

/** The body of an answer, or `undefined` where the server has no such file. */
export function bodyOf(response: Response, path: string): ReadableStream<Uint8Array> | undefined {
  if (response.status === 404 || response.status === 410) return undefined;
  if (!response.ok) {
    const code = response.status === 403 ? "forbidden" : "http";
    throw new EaselError(code, `${path} could not be fetched: the server said ${response.status}`);
  }
  const type = response.headers.get("content-type") ?? "";
  if (type.startsWith("text/html") || !response.body) {
    const message = `the server answered with a web page instead of ${path}: check the model's address`;
    throw new EaselError("not_a_model_file", message);
  }
  return response.body;
}

/** What a download needs to know and whom it tells. */
export interface Download {
  path: string;
  store: Store;
  /** What the file must be, when a manifest says it. */
  expected: ManifestFile | undefined;
  onBytes: (count: number) => void;
}

/** Streams a body into the store, chunk by chunk, and writes the file's record when all of it has proved right. */
export async function keep(
  body: ReadableStream<Uint8Array>,
  length: number | undefined,
  to: Download,
): Promise<FileRecord> {
  const { path, store, expected } = to;
  await store.drop(path);
  try {
    const { size, chunks, digest } = await writeChunks(body, to);
    const wanted = expected?.size ?? length;
    if (wanted !== undefined && wanted !== size) {
      throw new EaselError(
        "damaged_file",
        `${path} has ${size} bytes, not ${wanted}: load again to fetch it anew`,
      );
    }
    if (expected && digest !== expected.sha256) {
      const message = `${path} arrived damaged (its SHA-256 is not the manifest's): load again to fetch it anew`;
      throw new EaselError("damaged_file", message);
    }
    const record = { size, chunks, chunkSize: CHUNK_BYTES, sha256: digest };
    await store.putFile(path, record);
    return record;
  } catch (error) {
    await store.drop(path);
    throw error;
  }
}

async function writeChunks(body: ReadableStream<Uint8Array>, { path, store, expected, onBytes }: Download) {
  const hash = expected ? sha256.create() : undefined;
  let size = 0;
  let chunks = 0;
  for await (const data of inChunks(body, path, onBytes)) {
    hash?.update(new Uint8Array(data));
    await store.putChunk(path, chunks, { data, sha256: await crypto.subtle.digest("SHA-256", data) });
    size += data.byteLength;
    chunks += 1;
  }
  return { size, chunks, digest: hash ? hex(hash.digest()) : "" };
}

/** The stream in pieces of `CHUNK_BYTES`; the last one is what is left. */
async function* inChunks(
  body: ReadableStream<Uint8Array>,
  path: string,
  onBytes: (count: number) => void,
): AsyncGenerator<ArrayBuffer> {
  let buffer = new Uint8Array(CHUNK_BYTES);
  let filled = 0;
  for await (const value of received(body, path)) {
    onBytes(value.length);
    for (let from = 0; from < value.length; ) {
      const count = Math.min(value.length - from, CHUNK_BYTES - filled);
      buffer.set(value.subarray(from, from + count), filled);
      from += count;
      filled += count;
      if (filled < CHUNK_BYTES) continue;
      yield buffer.buffer;
      buffer = new Uint8Array(CHUNK_BYTES);
      filled = 0;
    }
  }
  if (filled > 0) yield buffer.buffer.slice(0, filled);
}

/** What comes over the network, as it comes; leaving the loop early ends the download. */
async function* received(body: ReadableStream<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      yield value;
    }
    ended = true;
  } catch (cause) {
    ended = true;
    throw lostConnection(path, cause);
  } finally {
    if (!ended) await reader.cancel();
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The length that a server announces; one of compressed bytes says nothing about the file. */
export function announcedLength(response: Response): number | undefined {
  const length = response.headers.get("content-length");
  return length === null || response.headers.has("content-encoding") ? undefined : Number(length);
}
