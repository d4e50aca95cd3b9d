import { EaselError } from "../shared/errors.ts";

/** What a manifest says of one file. */
export interface ManifestFile {
  path: string;
  size: number;
  /** Lower-case hex. */
  sha256: string;
}

/** A model's files by path. */
export type Manifest = ReadonlyMap<string, ManifestFile>;

export const MANIFEST = "manifest.json";
const SHA256 = /^[0-9a-f]{64}$/;

/** Reads `{version: 1, files: [{path, size, sha256}]}`; anything else is a `bad_manifest`. */
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
  const { path, size, sha256 } = isRecord(entry) ? entry : {};
  const bad = (field: string) =>
    new EaselError("bad_manifest", `${MANIFEST}: \`files[${index}].${field}\` is not valid`);
  if (typeof path !== "string" || path === "") throw bad("path");
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) throw bad("size");
  if (typeof sha256 !== "string" || !SHA256.test(sha256)) throw bad("sha256");
  return { path, size, sha256 };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Sum of the sizes of all files. */
export function totalBytes(manifest: Manifest): number {
  return [...manifest.values()].reduce((sum, file) => sum + file.size, 0);
}
