import { EaselError } from "../shared/errors.ts";
import { fileSize } from "../shared/pace.ts";

/** What room is wanted for: to keep a model in the browser, or to save it to files. */
type Work = "keep" | "save";

/**
 * Bytes that the browser says it would still keep for this site; `undefined` where it says nothing. Some browsers name a
 * round number to all sites, so that a write may be refused all the same.
 */
async function freeBytes(): Promise<number | undefined> {
  const { quota, usage } = await navigator.storage.estimate().catch(() => ({}) as StorageEstimate);
  return quota === undefined || usage === undefined ? undefined : Math.max(0, quota - usage);
}

/** Throws `quota` when the browser says that so much does not fit. */
export async function requireRoom(bytes: number, work: Work = "keep"): Promise<void> {
  const free = await freeBytes();
  if (free !== undefined && free < bytes) throw noRoom(bytes, free, work);
}

/** The error of a write that the browser refused with `bytes` still to come. */
export async function outOfRoom(bytes: number): Promise<EaselError> {
  return noRoom(bytes, await freeBytes(), "keep");
}

function noRoom(bytes: number, free: number | undefined, work: Work): EaselError {
  const lack =
    free === undefined || free >= bytes ? "" : `, but ${fileSize(bytes - free)} of that is missing`;
  const again = work === "keep" ? "load again" : "save again";
  const advice = `delete a model under Models or free space on this device, then ${again}`;
  return new EaselError(
    "quota",
    `the browser has no room left to ${work} the model: it needs ${fileSize(bytes)} more${lack}. To make room, ${advice}`,
  );
}
