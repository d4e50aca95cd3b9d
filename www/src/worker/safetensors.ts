// The header of a safetensors file, as it lies before the tensors.
import { EaselError } from "../shared/errors.ts";
import type { Quant } from "../shared/protocol.ts";
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

const FORMATS: readonly string[] = ["q8", "q6", "q4"] satisfies Quant[];

/** Formats that a header, of which `readHeader` gave the bytes, says tensors are packed in; what is unknown is left out. */
export function packedFormats(header: Uint8Array): Quant[] {
  try {
    const { __metadata__: metadata } = JSON.parse(new TextDecoder().decode(header.subarray(LENGTH_BYTES)));
    const packed: Record<string, { quant?: string }> = JSON.parse(metadata?.packed_weights ?? "{}");
    const names = new Set(Object.values(packed).map(({ quant }) => quant));
    return FORMATS.filter((name) => names.has(name)) as Quant[];
  } catch {
    // The engine refuses such a header, with the reason.
    return [];
  }
}
