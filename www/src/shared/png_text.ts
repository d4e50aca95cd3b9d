// Texts in PNG files: the chunks tEXt, zTXt and iTXt (PNG, third edition, section 11.3.3). Files are hostile: nothing is
// believed of a length before it is compared with the file's, and texts are bounded before they are read or unpacked.
import { EaselError } from "./errors.ts";
import { chunkOf, crc32, FRAME } from "./png_chunks.ts";

/** A keyword and its text. */
export interface PngText {
  keyword: string;
  text: string;
}

/** What a PNG file says of itself. */
export interface PngContents {
  width: number;
  height: number;
  texts: PngText[];
  /** Texts that were passed over, too large or damaged. */
  skipped: number;
}

const SIGNATURE = "\x89PNG\r\n\x1a\n";
/** The signature and the whole IHDR, which comes first. */
const HEAD = 8 + FRAME + 13;
const WINDOW = 64 << 10;
/** Most bytes of the texts of a file together, packed or not. ComfyUI's graphs take some hundred KB. */
export const LARGEST_TEXTS = 4 << 20;
const MOST_TEXTS = 100;
const MOST_CHUNKS = 200_000;

/** Reads the texts of a PNG file; `undefined` for any other file. */
export async function readPng(file: Blob): Promise<PngContents | undefined> {
  const view = new FileView(file);
  const head = await view.bytes(0, Math.min(HEAD, file.size));
  if (head.length < HEAD || latin1(head.subarray(0, 8)) !== SIGNATURE) return undefined;
  if (latin1(head.subarray(12, 16)) !== "IHDR") return undefined;
  const found: PngContents = { width: word(head, 16), height: word(head, 20), texts: [], skipped: 0 };
  let room = LARGEST_TEXTS;
  for (let at = HEAD, chunks = 0; at + FRAME <= file.size && chunks < MOST_CHUNKS; chunks += 1) {
    const frame = await view.bytes(at, 8);
    const [length, type] = [word(frame, 0), latin1(frame.subarray(4, 8))];
    if (type === "IEND" || at + FRAME + length > file.size) break;
    if (/^(tEXt|zTXt|iTXt)$/.test(type)) {
      const fits = length <= room && found.texts.length < MOST_TEXTS;
      const text = fits ? await readText(type, await view.bytes(at + 4, length + 8), room) : undefined;
      if (text) found.texts.push(text);
      else found.skipped += 1;
      room -= text ? Math.max(length, text.text.length) : 0;
    }
    at += FRAME + length;
  }
  return found;
}

/** The file with one more text, as tEXt where Latin-1 can hold it and as iTXt elsewhere; it comes before the pixels. */
export function withText(png: Blob, keyword: string, text: string): Blob {
  const chunk = textChunk(keyword, text.replaceAll("\0", ""));
  return new Blob([png.slice(0, HEAD), chunk, png.slice(HEAD)], { type: "image/png" });
}

/** A whole chunk, with its length and CRC. */
export function textChunk(keyword: string, text: string): Uint8Array<ArrayBuffer> {
  if (!/^[\x20-\x7e]{1,79}$/.test(keyword)) throw new EaselError("internal", "no keyword for a PNG's text");
  if (fitsLatin1(text)) return chunkOf("tEXt", bytesOf(`${keyword}\0${text}`));
  return chunkOf("iTXt", concat(bytesOf(`${keyword}\0\0\0\0\0`), new TextEncoder().encode(text)));
}

/** Whether a text is Latin-1 that no reader, `tolerant` among them, would take for UTF-8. */
function fitsLatin1(text: string): boolean {
  if (!/^[\n\x20-\x7e\xa0-\xff]*$/.test(text)) return false;
  return tolerant(bytesOf(text)) === text;
}

/** `bytes` are a chunk's type, data and CRC. */
async function readText(
  type: string,
  bytes: Uint8Array<ArrayBuffer>,
  room: number,
): Promise<PngText | undefined> {
  const end = bytes.length - 4;
  if (crc32(bytes.subarray(0, end)) !== word(bytes, end)) return undefined;
  const data = bytes.subarray(4, end);
  const keyEnd = data.indexOf(0);
  if (keyEnd < 1 || keyEnd > 79) return undefined;
  const text = await decodeText(type, data.subarray(keyEnd + 1), room);
  return text === undefined ? undefined : { keyword: latin1(data.subarray(0, keyEnd)), text };
}

async function decodeText(
  type: string,
  rest: Uint8Array<ArrayBuffer>,
  room: number,
): Promise<string | undefined> {
  if (type === "tEXt") return tolerant(rest);
  if (type === "zTXt") {
    const unpacked = rest[0] === 0 ? await inflate(rest.subarray(1), room) : undefined;
    return unpacked && tolerant(unpacked);
  }
  // Flag, method, language tag, translated keyword, text.
  const language = rest.indexOf(0, 2);
  const translated = language < 0 ? -1 : rest.indexOf(0, language + 1);
  if (translated < 0) return undefined;
  const text = rest.subarray(translated + 1);
  const plain = rest[0] === 0 ? text : rest[1] === 0 ? await inflate(text, room) : undefined;
  return plain && new TextDecoder().decode(plain);
}

/** Some tools write UTF-8 where the format says Latin-1. */
function tolerant(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return latin1(bytes);
  }
}

/** Unpacks zlib's format; `undefined` for damage, and for what would be more than `room` bytes. */
async function inflate(packed: Uint8Array<ArrayBuffer>, room: number): Promise<Uint8Array | undefined> {
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return concat(...pieces);
      size += value.length;
      if (size > room) return undefined;
      pieces.push(value);
    }
  } catch {
    return undefined;
  } finally {
    // Ends the unpacking of what is not wanted.
    reader.cancel().catch(() => {});
  }
}

/** Reads a file in windows: pixels are passed over by chunks of a few KB each. */
class FileView {
  readonly #file: Blob;
  #start = 0;
  #window = new Uint8Array(0);

  constructor(file: Blob) {
    this.#file = file;
  }

  async bytes(at: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (at < this.#start || at + length > this.#start + this.#window.length) {
      const end = at + Math.max(length, WINDOW);
      this.#window = new Uint8Array(await this.#file.slice(at, end).arrayBuffer());
      this.#start = at;
    }
    return this.#window.subarray(at - this.#start, at - this.#start + length);
  }
}

function word(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at);
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) {
    text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  }
  return text;
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
