// What the browser keeps: the list of models, and what users do with it.
import type { ModelSummary, VerifyEvent } from "../shared/protocol.ts";
import { chunkCount, intactChunk } from "./file_download.ts";
import { alone, unused } from "./locks.ts";
import { type Plan, type PlannedFile, planBytes, sourceBytes, sourceRatio } from "./plan.ts";
import type { Wanted } from "./planner.ts";
import { stopped } from "./retries.ts";
import type { ChunkKey, ModelRecord, Store } from "./store.ts";

/** Bytes of a model's files that are kept. */
export async function keptBytes(store: Store, address: string, plan: Plan): Promise<number> {
  const files = new Map(plan.files.map((file) => [file.path, file]));
  const keys = await store.chunkKeys(address);
  return keys.reduce((sum, [path, index]) => sum + chunkLength(files.get(path), index), 0);
}

/** Bytes that are still to be fetched, in the size that they have where they come from. */
export async function missingBytes(store: Store, address: string, plan: Plan): Promise<number> {
  const files = new Map(plan.files.map((file) => [file.path, file]));
  const all = plan.files.reduce((sum, file) => sum + sourceBytes(file), 0);
  const kept = (await store.chunkKeys(address)).reduce((sum, [path, index]) => {
    const file = files.get(path);
    return file ? sum + sourceRatio(file) * chunkLength(file, index) : sum;
  }, 0);
  return Math.max(0, Math.round(all - kept));
}

function chunkLength(file: PlannedFile | undefined, index: number): number {
  return file ? Math.max(0, Math.min(file.chunkSize, file.size - index * file.chunkSize)) : 0;
}

/** Every model, or every LoRA, of which anything is kept, the latest first. */
export async function listKept(store: Store, wanted: Wanted): Promise<ModelSummary[]> {
  const models: ModelSummary[] = [];
  for (const address of await store.addresses()) {
    const record = await store.model(address);
    const isLora = record?.plan.lora !== undefined;
    if (record && isLora === (wanted === "lora")) models.push(await summary(store, address, record));
  }
  return models.sort((a, b) => b.started - a.started);
}

async function summary(store: Store, address: string, record: ModelRecord): Promise<ModelSummary> {
  const { plan, started, finished } = record;
  const [size, kept] = [planBytes(plan), await keptBytes(store, address, plan)];
  const { commit, licence, publishedQuant = "none" } = plan;
  const quant = plan.files.find(({ packing }) => packing)?.packing?.quant ?? publishedQuant;
  return { address, size, kept, started, whole: finished !== undefined, quant, commit, licence };
}

/** Reads all that is kept of a model and drops what is not what it was; returns the paths of damaged files. */
export function verifyModel(
  store: Store,
  address: string,
  signal: AbortSignal,
  emit: (event: VerifyEvent) => void,
): Promise<string[]> {
  return alone(
    address,
    signal,
    () => emit({ type: "waiting" }),
    async () => {
      const plan = (await store.model(address))?.plan;
      const damaged = plan ? await damagedChunks(store, address, plan, signal, emit) : [];
      if (damaged.length > 0) await store.dropChunks(address, damaged);
      return [...new Set(damaged.map(([path]) => path))];
    },
  );
}

async function damagedChunks(
  store: Store,
  address: string,
  plan: Plan,
  signal: AbortSignal,
  emit: (event: VerifyEvent) => void,
): Promise<ChunkKey[]> {
  const total = planBytes(plan);
  const kept = new Set((await store.chunkKeys(address)).map((key) => key.join("/")));
  const damaged: ChunkKey[] = [];
  let loaded = 0;
  for (const file of plan.files) {
    for (let index = 0; index < chunkCount(file); index += 1) {
      if (signal.aborted) throw stopped("checking was stopped before its end");
      const key: ChunkKey = [file.path, index];
      if (kept.has(key.join("/")) && !(await intactChunk(store, address, file, index))) damaged.push(key);
      loaded += chunkLength(file, index);
      emit({ type: "checking", loaded, total });
    }
  }
  return damaged;
}

/** Forgets a model that no tab is loading or fetching. */
export function deleteModel(store: Store, address: string): Promise<void> {
  return unused(address, () => store.dropModel(address));
}
