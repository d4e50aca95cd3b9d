// Tabs of one origin share what is kept: locks of the browser, which go with the tab that holds them.
import { EaselError } from "../shared/errors.ts";
import { stopped } from "./retries.ts";

const writing = (address: string) => `easel writes ${address}`;
const using = (address: string) => `easel uses ${address}`;

/** A worker that was ended in the middle of a computation keeps its locks for up to two seconds. */
const LINGER_MS = 2500;

/** Runs `work` while no other tab writes to the model; `onWait` is told when that takes waiting. */
export async function alone<T>(
  address: string,
  signal: AbortSignal,
  onWait: () => void,
  work: () => Promise<T>,
): Promise<T> {
  const done = await ifFree(writing(address), work);
  if (done) return done.result;
  onWait();
  const waited = await whenFree(writing(address), signal, work);
  if (!waited) throw stopped();
  return waited.result;
}

/** Runs `work` while no other tab deletes or replaces the model. */
export function inUse<T>(address: string, work: () => Promise<T>): Promise<T> {
  return navigator.locks.request(using(address), { mode: "shared" }, work) as Promise<T>;
}

/** Lets no tab delete or replace the model until what this resolves with is called, or the worker ends. */
export function beginUse(address: string): Promise<() => void> {
  return hold(using(address), "shared");
}

/** Holds a lock until what this resolves with is called, or the worker ends. */
export function hold(name: string, mode: LockMode): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const held = () => new Promise<void>((end) => resolve(end));
    navigator.locks.request(name, { mode }, held).catch(reject);
  });
}

/** Runs `work` unless a tab writes to the model. */
export async function ifUnwritten(address: string, work: () => Promise<void>): Promise<void> {
  await ifFree(writing(address), work);
}

/** Runs `work` unless a tab has the model open and keeps it so, and says whether it ran. */
export async function ifUnused(address: string, work: () => Promise<void>): Promise<boolean> {
  return (await whenFree(using(address), AbortSignal.timeout(LINGER_MS), work)) !== undefined;
}

/** Runs `work` while no tab writes to the model or has it open; throws `busy` when one does. */
export async function unused<T>(address: string, work: () => Promise<T>): Promise<T> {
  const done = await ifFree(writing(address), () => ifFree(using(address), work));
  if (done?.result) return done.result.result;
  throw new EaselError(
    "busy",
    "the model is open or being fetched: open another one or stop that first, also in other tabs",
  );
}

/** Runs `work` as soon as no other tab holds the lock; `undefined` when the signal comes first. */
async function whenFree<T>(
  name: string,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<{ result: T } | undefined> {
  let begun = false;
  const begin = async () => {
    begun = true;
    return { result: await work() };
  };
  return navigator.locks.request(name, { signal }, begin).catch((error) => {
    if (begun) throw error;
  }) as Promise<{ result: T } | undefined>;
}

/** Runs `work` unless another tab holds the lock; `undefined` when one does. */
export async function ifFree<T>(name: string, work: () => Promise<T>): Promise<{ result: T } | undefined> {
  return navigator.locks.request(name, { ifAvailable: true }, async (lock) =>
    lock ? { result: await work() } : undefined,
  ) as Promise<{ result: T } | undefined>;
}
