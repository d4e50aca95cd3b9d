// Animated PNG files, put together from the PNG files of their frames (PNG specification, third edition, 11.3.5).
import { EaselError } from "./errors.ts";
import { type Chunk, readChunks, writeChunks } from "./png_chunks.ts";

/** A frame as a PNG file, and how long it is shown. */
export interface AnimationFrame {
  png: Uint8Array;
  /** Milliseconds, at most 65,535. */
  duration: number;
}

/**
 * An animation that goes round for ever; where nothing moves, its last frame is what is shown. Frames have one size and
 * one kind of pixels, as an encoder gives them for one canvas; throws `internal` where they do not.
 */
export function animatedPng(frames: readonly AnimationFrame[]): Uint8Array<ArrayBuffer> {
  const parts = frames.map(({ png, duration }) => ({ ...partsOf(png), duration }));
  const still = parts.at(-1);
  if (!still) throw new EaselError("internal", "an animation needs a frame");
  const chunks: Chunk[] = [still.header, chunk("acTL", [parts.length, 0])];
  // Pixels before the first frame are no part of the animation.
  chunks.push(...still.pixels.map((data) => ({ type: "IDAT", data })));
  let sequence = 0;
  for (const { header, pixels, duration } of parts) {
    if (String(header.data) !== String(still.header.data)) {
      throw new EaselError("internal", "frames of an animation differ in size or kind of pixels");
    }
    chunks.push(frameControl(sequence, header, duration));
    sequence += 1;
    for (const data of pixels) {
      chunks.push({ type: "fdAT", data: numbered(sequence, data) });
      sequence += 1;
    }
  }
  return writeChunks([...chunks, chunk("IEND", [])]);
}

function partsOf(png: Uint8Array): { header: Chunk; pixels: Uint8Array[] } {
  const chunks = readChunks(png) ?? [];
  const header = chunks.find(({ type }) => type === "IHDR");
  const pixels = chunks.filter(({ type }) => type === "IDAT").map(({ data }) => data);
  // Pixels of other files mean nothing without their palette.
  if (!header || pixels.length === 0 || chunks.some(({ type }) => type === "PLTE")) {
    throw new EaselError("internal", "a frame of an animation is no PNG file of plain colours");
  }
  return { header, pixels };
}

/** Shows a whole frame for `duration` milliseconds, in the place of the one before. */
function frameControl(sequence: number, header: Chunk, duration: number): Chunk {
  const data = new Uint8Array(26);
  const view = new DataView(data.buffer);
  view.setUint32(0, sequence);
  data.set(header.data.subarray(0, 8), 4);
  view.setUint16(20, Math.min(0xffff, Math.round(duration)));
  view.setUint16(22, 1000);
  return { type: "fcTL", data };
}

function numbered(sequence: number, data: Uint8Array): Uint8Array {
  const all = new Uint8Array(4 + data.length);
  new DataView(all.buffer).setUint32(0, sequence);
  all.set(data, 4);
  return all;
}

function chunk(type: string, words: number[]): Chunk {
  const data = new Uint8Array(4 * words.length);
  const view = new DataView(data.buffer);
  for (const [at, word] of words.entries()) view.setUint32(4 * at, word);
  return { type, data };
}
