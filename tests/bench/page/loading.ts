// How long a kept model takes from IndexedDB to the GPU, and in how much memory.
import type { Loading } from "./loading_worker.ts";

/** Loads the model of `/model/` as often as asked for, each time in a new worker; it is fetched before the first. */
export async function measureLoading(rounds: number, log: (line: string) => void): Promise<Loading[]> {
  const measured: Loading[] = [];
  for (let round = 0; round < rounds; round++) {
    const loading = await loadOnce();
    const { bytes, seconds, wasmBytes, gpuBytes } = loading;
    log(
      `${(bytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(2)} s, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s; ` +
        `wasm memory ${(wasmBytes / 2 ** 20).toFixed(0)} MiB, GPU ${(gpuBytes / 1e6).toFixed(0)} MB`,
    );
    measured.push(loading);
  }
  return measured;
}

function loadOnce(): Promise<Loading> {
  const worker = new Worker(new URL("./loading_worker.ts", import.meta.url), { type: "module" });
  return new Promise<Loading>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Loading | string>) =>
      typeof data === "string" ? reject(new Error(data)) : resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
  }).finally(() => worker.terminate());
}
