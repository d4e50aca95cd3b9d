// The tar format, as POSIX describes it under `pax`, "ustar Interchange Format": blocks of 512 bytes, a header and then
// the file. Models are saved in it where a browser cannot write into a folder.
import { EaselError } from "../shared/errors.ts";

/** A file in an archive. */
export interface TarEntry {
  path: string;
  size: number;
}

const BLOCK = 512;
const NAME = { at: 0, length: 100 };
const MODE = { at: 100, length: 8 };
const SIZE = { at: 124, length: 12 };
const TIME = { at: 136, length: 12 };
const CHECKSUM = { at: 148, length: 8 };
const TYPE = 156;
const MAGIC = { at: 257, length: 8 };
const PREFIX = { at: 345, length: 155 };
/** Sizes from here on have no octal form, and are written in base 256 as GNU tar does it. */
const LARGEST_OCTAL = 8 ** 11;
const REGULAR = new Set(["0", "\0"]);
const MOST_ENTRIES = 100_000;

/** Bytes after a file, up to the next block. */
export function tarPadding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** What ends an archive. */
export const TAR_END = new Uint8Array(2 * BLOCK);

/** The block before a file; throws `bad_path` for a path that has no room in it. */
export function tarHeader({ path, size }: TarEntry): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(BLOCK);
  const put = (field: { at: number }, text: string) => block.set(new TextEncoder().encode(text), field.at);
  const { name, prefix } = splitPath(path);
  put(NAME, name);
  put(PREFIX, prefix);
  put(MODE, "0000644\0");
  put(TIME, "00000000000\0");
  if (size < LARGEST_OCTAL) put(SIZE, size.toString(8).padStart(11, "0"));
  else {
    block[SIZE.at] = 0x80;
    new DataView(block.buffer).setBigUint64(SIZE.at + 4, BigInt(size));
  }
  block[TYPE] = "0".charCodeAt(0);
  put(MAGIC, "ustar\x0000");
  put(CHECKSUM, `${checksum(block).toString(8).padStart(6, "0")}\0 `);
  return block;
}

function splitPath(path: string): { name: string; prefix: string } {
  const length = (text: string) => new TextEncoder().encode(text).length;
  if (length(path) <= NAME.length) return { name: path, prefix: "" };
  for (let slash = path.indexOf("/"); slash > 0; slash = path.indexOf("/", slash + 1)) {
    const [prefix, name] = [path.slice(0, slash), path.slice(slash + 1)];
    if (length(name) <= NAME.length && length(prefix) <= PREFIX.length) return { name, prefix };
  }
  throw new EaselError("bad_path", `${path} is too long a path for an archive`);
}

/** The sum of a header's bytes, with blanks in the place of the sum. */
function checksum(block: Uint8Array): number {
  const { at, length } = CHECKSUM;
  return block.reduce((sum, byte, i) => sum + (i >= at && i < at + length ? 32 : byte), 0);
}

/** The files of an archive, as slices of it; throws `bad_archive` where it is none or is cut off. */
export async function readTar(archive: Blob): Promise<{ path: string; file: Blob }[]> {
  const found: { path: string; file: Blob }[] = [];
  const bad = () => new EaselError("bad_archive", "the archive is damaged or cut off: save the model again");
  for (let at = 0, count = 0; ; count += 1) {
    const block = new Uint8Array(await archive.slice(at, at + BLOCK).arrayBuffer());
    if (block.length === BLOCK && block.every((byte) => byte === 0)) return found;
    if (block.length < BLOCK || count > MOST_ENTRIES) throw bad();
    if (Number.parseInt(field(block, CHECKSUM), 8) !== checksum(block)) throw bad();
    const size = sizeOf(block);
    const start = at + BLOCK;
    if (!(size <= archive.size - start)) throw bad();
    const path = [field(block, PREFIX), field(block, NAME)].filter(Boolean).join("/");
    const type = String.fromCharCode(block[TYPE] ?? 0);
    if (REGULAR.has(type)) found.push({ path, file: archive.slice(start, start + size) });
    at = start + size + tarPadding(size);
  }
}

function field(block: Uint8Array, { at, length }: { at: number; length: number }): string {
  const bytes = block.subarray(at, at + length);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function sizeOf(block: Uint8Array<ArrayBuffer>): number {
  if (block[SIZE.at] === 0x80) return Number(new DataView(block.buffer).getBigUint64(SIZE.at + 4));
  return Number.parseInt(field(block, SIZE), 8);
}
