import { EaselError } from "../shared/errors.ts";
import { fileSize } from "../shared/pace.ts";

/**
 * Bytes that the browser says it would still keep for this site; `undefined` where it says nothing. Some browsers name a
 * round number to all sites, so that a write may be refused all the same.
 */
async function freeBytes(): Promise<number | undefined> {
  const { quota, usage } = await navigator.storage.estimate().catch(() => ({}) as StorageEstimate);
  return quota === undefined || usage === undefined ? undefined : Math.max(0, quota - usage);
}

/** Throws `quota` when the browser says that so much does not fit. */
export async function requireRoom(bytes: number): Promise<void> {
  const free = await freeBytes();
  if (free !== undefined && free < bytes) throw noRoom(bytes, free);
}

/** The error of a write that the browser refused with `bytes` still to come. */
export async function outOfRoom(bytes: number): Promise<EaselError> {
  return noRoom(bytes, await freeBytes());
}

function noRoom(bytes: number, free: number | undefined): EaselError {
  const lack =
    free === undefined || free >= bytes ? "" : `, but ${fileSize(bytes - free)} of that is missing`;
  const advice = "delete a model under Models or free space on this device, then load again";
  return new EaselError(
    "quota",
    `the browser has no room left to keep the model: it needs ${fileSize(bytes)} more${lack}. To make room, ${advice}`,
  );
}
