// The header of a safetensors file, as it lies before the tensors.
import { EaselError } from "../shared/errors.ts";
import type { ByteSource } from "./provider.ts";

/** Bytes before the JSON, which hold its length. */
export const LENGTH_BYTES = 8;
/** Most bytes of the JSON, as the engine takes them. */
const LONGEST_HEADER = 100_000_000;

/** Length field and JSON of the file `name`; throws `bad_safetensors` for a file that has none. */
export async function readHeader(name: string, source: ByteSource): Promise<Uint8Array<ArrayBuffer>> {
  const bad = (reason: string) =>
    new EaselError("bad_safetensors", `${name} is damaged or not a safetensors file: ${reason}`);
  if (source.size < LENGTH_BYTES) throw bad("it ends before its header");
  const field = await readAll(source, 0, LENGTH_BYTES);
  const length = Number(new DataView(field.buffer).getBigUint64(0, true));
  if (length > LONGEST_HEADER || length > source.size - LENGTH_BYTES) throw bad("its header is too long");
  return readAll(source, 0, LENGTH_BYTES + length);
}

async function readAll(source: ByteSource, start: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  for await (const piece of source.read({ start, end })) pieces.push(piece);
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}
