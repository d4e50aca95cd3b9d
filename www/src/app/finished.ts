import type { GenerateParams } from "../shared/protocol.ts";
import type { Take } from "./process/take.ts";

/** A picture that was drawn to its end. */
export interface FinishedPicture {
  params: GenerateParams;
  width: number;
  height: number;
  png: Blob;
  take: Take;
}

const listeners: ((picture: FinishedPicture) => void)[] = [];

/** Calls `listener` with every finished picture, at once. */
export function onFinished(listener: (picture: FinishedPicture) => void): void {
  listeners.push(listener);
}

/** Tells all listeners of a finished picture. */
export function announceFinished(picture: FinishedPicture): void {
  for (const listener of listeners) listener(picture);
}
