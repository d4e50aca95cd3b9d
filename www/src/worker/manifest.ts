import { EaselError } from "../shared/errors.ts";

/** What a manifest says of one file. */
export interface ManifestFile {
  path: string;
  size: number;
  /** Lower-case hex. */
  sha256: string;
  /** Hashes of its pieces of `size` bytes, with which a damaged piece can be told from the others. */
  chunks?: { size: number; sha256: string[] };
}

/** A model's files by path. */
export type Manifest = ReadonlyMap<string, ManifestFile>;

export const MANIFEST = "manifest.json";
const SHA256 = /^[0-9a-f]{64}$/;
const LARGEST_CHUNK = 64 << 20;
const MOST_CHUNKS = 1 << 16;

/**
 * Reads `{version: 1, files: [{path, size, sha256, chunk_size?, chunk_sha256?}]}`; anything else is a `bad_manifest`.
 */
export function parseManifest(text: string): Manifest {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new EaselError("bad_manifest", `${MANIFEST} is not JSON`, { cause });
  }
  if (!isRecord(document) || document.version !== 1 || !Array.isArray(document.files)) {
    throw new EaselError("bad_manifest", `${MANIFEST} is not of version 1: it has no list \`files\``);
  }
  return new Map(document.files.map(parseFile).map((file) => [file.path, file]));
}

function parseFile(entry: unknown, index: number): ManifestFile {
  const { path, size, sha256, chunk_size, chunk_sha256 } = isRecord(entry) ? entry : {};
  const bad = (field: string) =>
    new EaselError("bad_manifest", `${MANIFEST}: \`files[${index}].${field}\` is not valid`);
  if (typeof path !== "string" || !isInside(path)) throw bad("path");
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) throw bad("size");
  if (!isHash(sha256)) throw bad("sha256");
  if (chunk_size === undefined && chunk_sha256 === undefined) return { path, size, sha256 };
  if (typeof chunk_size !== "number" || !(chunk_size >= 1 && chunk_size <= LARGEST_CHUNK))
    throw bad("chunk_size");
  const count = Math.ceil(size / chunk_size);
  if (!Number.isInteger(chunk_size) || count > MOST_CHUNKS) throw bad("chunk_size");
  if (!Array.isArray(chunk_sha256) || chunk_sha256.length !== count || !chunk_sha256.every(isHash)) {
    throw bad("chunk_sha256");
  }
  return { path, size, sha256, chunks: { size: chunk_size, sha256: chunk_sha256 } };
}

function isHash(value: unknown): value is string {
  return typeof value === "string" && SHA256.test(value);
}

/** Whether a path stays below the model's folder. */
function isInside(path: string): boolean {
  return (
    path.split("/").every((part) => part !== "" && part !== "." && part !== "..") && !path.includes("\\")
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
