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

const watchers: ((picture: FinishedPicture | undefined) => void)[] = [];

/** Calls `watcher` with the finished picture that the stage offers now, `undefined` when it offers none. */
export function onOffered(watcher: (picture: FinishedPicture | undefined) => void): void {
  watchers.push(watcher);
}

/** Tells all watchers what is offered now. */
export function announceOffered(picture: FinishedPicture | undefined): void {
  for (const watcher of watchers) watcher(picture);
}
