// The bytes of a file in order, over as many connections as it takes.
import { type Host, type Range, type RemoteFile, Watch } from "./host.ts";
import { Transient } from "./retries.ts";

/**
 * The bytes of `range`. Where a connection breaks, the next one goes on from there. A host that ignores ranges is read
 * from its first byte, and what is not wanted is passed over.
 */
export async function* fileBytes(
  host: Host,
  file: RemoteFile,
  range: Range,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const retries = host.retries();
  let at = range.start;
  while (at < range.end) {
    try {
      for await (const piece of attempt(host, file, { start: at, end: range.end })) {
        at += piece.length;
        retries.progress();
        yield piece;
      }
      if (at < range.end)
        throw new Transient("network", `${file.path} broke off: check the network, then load again`);
    } catch (error) {
      await retries.after(error);
    }
  }
}

async function* attempt(host: Host, file: RemoteFile, range: Range): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const watch = new Watch(host.options);
  try {
    const whole = range.start === 0 && range.end === file.size;
    const response = await host.ask(file.path, watch, whole ? undefined : range);
    check(response, file, range);
    let pass = response.status === 206 ? 0 : range.start;
    let wanted = range.end - range.start;
    for await (const piece of host.received(response, file.path, watch)) {
      const from = Math.min(pass, piece.length);
      pass -= from;
      const useful = piece.subarray(from, from + wanted);
      wanted -= useful.length;
      if (useful.length > 0) yield useful;
      if (wanted === 0) return;
    }
  } finally {
    watch.end();
  }
}

/** Refuses an answer that is about other bytes than those that were asked for. */
function check(response: Response, file: RemoteFile, range: Range): void {
  const told = validatorOf(response);
  if (file.validator !== undefined && told !== undefined && told !== file.validator) {
    throw changed(file, "it is not what it was when the download began");
  }
  const length = announcedLength(response);
  if (response.status !== 206) {
    if (length !== undefined && length !== file.size && !(length < file.size && mayBeCompressed(response)))
      throw changed(file, `it has ${length} bytes, not ${file.size}`);
    return;
  }
  const part = contentRange(response);
  if (part === "unreadable" || (part && (part.start !== range.start || part.end > range.end))) {
    throw new Transient("bad_range", `the server sent another part of ${file.path} than was asked for`);
  }
  if (part?.total !== undefined && part.total !== file.size) {
    throw changed(file, `it has ${part.total} bytes, not ${file.size}`);
  }
}

function changed({ path }: RemoteFile, how: string): Transient {
  return new Transient("changed_file", `${path} has changed on the server: ${how}`);
}

/** What tells one state of a file from another, when the host says it. */
export function validatorOf(response: Response): string | undefined {
  return response.headers.get("etag") ?? response.headers.get("last-modified") ?? undefined;
}

/** The length that a server announces; one of compressed bytes says nothing about the file. */
export function announcedLength({ headers }: Response): number | undefined {
  const length = headers.get("content-length");
  return length === null || headers.has("content-encoding") ? undefined : Number(length);
}

/** Hosts compress texts, and do not show that to pages of other origins, to which they show the length. */
function mayBeCompressed({ type, headers }: Response): boolean {
  return type === "cors" && !headers.get("content-type")?.startsWith("application/octet-stream");
}

/** Which part of a file an answer holds; `undefined` where the host does not show it to pages of other origins. */
export function contentRange(response: Response): (Range & { total?: number }) | "unreadable" | undefined {
  const header = response.headers.get("content-range");
  if (header === null) return undefined;
  const [, start, last, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(header) ?? [];
  if (start === undefined || last === undefined) return "unreadable";
  const part = { start: Number(start), end: Number(last) + 1 };
  return total === undefined || total === "*" ? part : { ...part, total: Number(total) };
}
