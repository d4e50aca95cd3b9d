import init, { Transcoder } from "easel-wasm";
import type { MakeTranscoder } from "./packing.ts";

/** The engine's transcoder; it needs the engine's code, but no device. */
export const makeTranscoder: MakeTranscoder = async (path, header, size, quant, sha256) => {
  await init();
  return Transcoder.create(path, header, size, quant, sha256);
};
