import { Transient } from "./retries.ts";

/** Lower-case hex. */
export function hex(bytes: ArrayBuffer | Uint8Array): string {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** SHA-256 of a piece of a file. */
export async function sha256Hex(data: BufferSource): Promise<string> {
  return hex(await crypto.subtle.digest("SHA-256", data));
}

/** The name that git gives to a file with these contents: hubs send it as the `ETag` of small files. */
export async function gitBlobId(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const object = await new Blob([`blob ${bytes.length}\0`, bytes]).arrayBuffer();
  return hex(await crypto.subtle.digest("SHA-1", object));
}

const SHA256 = /^[0-9a-f]{64}$/;
const GIT_BLOB = /^[0-9a-f]{40}$/;

function unquoted(etag: string | null): string {
  return etag?.replace(/^W\//, "").replaceAll('"', "") ?? "";
}

/** The SHA-256 that a hub names in `X-Linked-ETag`, where it shows it. */
export function linkedSha256(headers: Headers): string | undefined {
  const etag = unquoted(headers.get("x-linked-etag"));
  return SHA256.test(etag) ? etag : undefined;
}

/** Refuses a hub's small file whose `ETag` is the name of another. */
export async function checkGitBlob(
  path: string,
  bytes: Uint8Array<ArrayBuffer>,
  headers: Headers,
): Promise<void> {
  const etag = unquoted(headers.get("etag"));
  if (GIT_BLOB.test(etag) && etag !== (await gitBlobId(bytes))) {
    throw new Transient("damaged_file", `${path} arrived damaged: load again to fetch it anew`);
  }
}

/** SHA-256 and size from what git keeps in the place of a large file; `undefined` for any other text. */
export function parsePointer(text: string): { sha256: string; size: number } | undefined {
  if (!text.startsWith("version https://git-lfs.github.com/spec/v1\n")) return undefined;
  const sha256 = /^oid sha256:([0-9a-f]{64})$/m.exec(text)?.[1];
  const size = Number(/^size (\d{1,15})$/m.exec(text)?.[1]);
  return sha256 && size > 0 ? { sha256, size } : undefined;
}
