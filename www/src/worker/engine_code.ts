// The engine's code in this worker, and what of it packs models while they are fetched. It needs no device.
import init, { FileHash, Transcoder } from "easel-wasm";
import type { EngineFiles } from "../shared/protocol.ts";
import { useMerges } from "./clip_merges.ts";
import type { BeginHash } from "./hash_worker.ts";
import type { PackingTools } from "./packing.ts";
import { DirectHash, HASH_WORKER, type SourceHash, WorkerHash } from "./source_hash.ts";

let own: string | undefined;

/** Fetches and compiles it once; `files` has its addresses, where the script does not know them. */
export async function startEngine(files?: EngineFiles): Promise<void> {
  if (files) useMerges(files.merges);
  own = files?.wasm ?? own;
  await init(own === undefined ? undefined : { module_or_path: own });
}

/** A hash of the engine's. */
export const beginHash: BeginHash = async (saved, wasm) => {
  own = wasm ?? own;
  await startEngine();
  return FileHash.create(saved && new Uint8Array(saved));
};

/** What the engine packs with. */
export const packingTools: PackingTools = {
  makeTranscoder: async ({ path, isCheckpoint, size, quant }, header) => {
    await startEngine();
    const make = isCheckpoint ? Transcoder.ofCheckpoint : Transcoder.ofPart;
    return make(path, header, size, quant);
  },
  makeHash: async (saved) => (await hashElsewhere(saved)) ?? new DirectHash(await beginHash(saved)),
};

/** A hash in a worker beside this one, with the same script; `undefined` where there can be none. */
async function hashElsewhere(saved: ArrayBuffer | undefined): Promise<SourceHash | undefined> {
  try {
    const worker = new Worker(location.href, { type: "module", name: HASH_WORKER });
    return await WorkerHash.begin(worker, own, saved);
  } catch {
    // Policies and old browsers refuse it: hashing here is as right, and slower.
    return undefined;
  }
}
