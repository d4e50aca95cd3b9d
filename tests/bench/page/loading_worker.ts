// Loads the model of `/model/` once, as the page's worker does, and says what that took.
import init, { Engine } from "easel-wasm";
import { mendAdapters } from "../../../www/src/worker/adapter_features.ts";
import { decideDevice } from "../../../www/src/worker/device.ts";
import { USUAL } from "../../../www/src/worker/model_download.ts";
import { providerOf } from "../../../www/src/worker/provider.ts";
import { ModelSource } from "../../../www/src/worker/source.ts";

export interface Loading {
  /** Read from the store, from the first to the arrival of the last on the device. */
  bytes: number;
  seconds: number;
  /** The most that the module had: its memory never shrinks. */
  wasmBytes: number;
  gpuBytes: number;
}

async function load(): Promise<Loading> {
  mendAdapters();
  const { memory } = await init();
  const { software, subgroup } = await decideDevice("gpu");
  const engine = await Engine.create("gpu", software, subgroup);
  const options = { ...USUAL, token: undefined, signal: new AbortController().signal, emit: () => {} };
  const source = await ModelSource.open(
    providerOf(new URL("/model/", location.href), undefined, options),
    options,
  );
  let bytes = 0;
  const counted = {
    size: (path: string) => source.size(path),
    async read(path: string, start: number, end: number) {
      bytes += end - start;
      return source.read(path, start, end);
    },
  };
  const start = performance.now();
  await engine.load(counted, () => {});
  const seconds = (performance.now() - start) / 1000;
  return { bytes, seconds, wasmBytes: memory.buffer.byteLength, gpuBytes: engine.takeMostGpuBytes() };
}

load().then(
  (loading) => postMessage(loading),
  (error: unknown) => postMessage(String(error)),
);
