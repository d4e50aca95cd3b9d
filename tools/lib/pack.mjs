// Packs files of weights with the engine's own transcoder, in Node.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./run.mjs";

const PIECE = 1 << 20;

let engine;

/** The engine's bindings; `www/pkg/` must exist. */
async function loadEngine() {
  engine ??= import(join(root, "www", "pkg", "easel.js")).then((bindings) => {
    bindings.initSync({ module: readFileSync(join(root, "www", "pkg", "easel_bg.wasm")) });
    return bindings;
  });
  return engine;
}

/** The bytes of `path`, `PART/NAME.safetensors`, packed to `quant`. */
export async function packWeights(path, bytes, quant) {
  const { Transcoder } = await loadEngine();
  const header = bytes.subarray(0, 8 + Number(bytes.readBigUInt64LE(0)));
  const transcoder = Transcoder.ofPart(path, header, bytes.length, quant);
  if (!transcoder) return bytes;
  const pieces = [];
  const takeAll = () => {
    for (let piece = transcoder.take(); piece; piece = transcoder.take()) pieces.push(piece);
  };
  for (let [at] = transcoder.begin(0, undefined); at < bytes.length; ) {
    at += transcoder.push(bytes.subarray(at, at + PIECE));
    takeAll();
  }
  takeAll();
  transcoder.free();
  return Buffer.concat(pieces);
}
