// Safetensors files, as tests make them.

/** What the header says of a tensor. */
export interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** A tensor with its bytes. */
export interface Tensor {
  name: string;
  dtype: string;
  shape: number[];
  bytes: Buffer;
}

/** Length field and JSON. */
export function headerBytes(entries: Record<string, Entry>): Buffer {
  const json = Buffer.from(JSON.stringify(entries));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json]);
}

/** A file of tensors, one after another. */
export function safetensors(tensors: readonly Tensor[]): Buffer {
  const entries: Record<string, Entry> = {};
  let at = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    entries[name] = { dtype, shape, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
  }
  return Buffer.concat([headerBytes(entries), ...tensors.map(({ bytes }) => bytes)]);
}
