// What the page and its worker say to each other. Each request has an id; its events and its one reply carry it.
import type { Request as GenerateParams, ModelInfo } from "easel-wasm";
import type { WireError } from "./errors.ts";

export type { GenerateParams, ModelInfo };

export type Device = "gpu" | "cpu";
export type DeviceChoice = Device | "auto";

export interface LoadParams {
  device: DeviceChoice;
  /** Address of the model's folder, with a slash at its end. */
  model: string;
  canvas: OffscreenCanvas;
}

export interface Loaded {
  info: ModelInfo;
  device: Device;
  adapter: string;
  /** Why the CPU was taken although nobody chose it. */
  reason?: string;
}

/** How a picture came about; `index` is the last step of a run that was stopped. */
export type Outcome =
  | { type: "finished"; width: number; height: number; png: Blob }
  | { type: "stopped"; index: number; total: number };

/** Requests by kind. */
export interface Requests {
  load: { params: LoadParams; result: Loaded; event: LoadEvent };
  tokens: { params: { prompt: string }; result: { count: number; limit: number }; event: never };
  generate: { params: GenerateParams; result: Outcome; event: GenerateEvent };
}
export type Kind = keyof Requests;

type PrepareEvent = { type: "prepare"; stage: string; loaded: number; total: number };

export type LoadEvent = { type: "download"; loaded: number; total: number | undefined } | PrepareEvent;

export type GenerateEvent =
  | PrepareEvent
  | { type: "started"; total: number; warnings: string[] }
  | { type: "step"; index: number; total: number; timestep: number; sigma: number }
  | { type: "decoding" };

/** From the page to the worker. */
export type ToWorker =
  | { [K in Kind]: { type: "request"; id: number; kind: K; params: Requests[K]["params"] } }[Kind]
  | { type: "abort"; id: number };

/** From the worker to the page. */
export type FromWorker =
  | { type: "event"; id: number; event: Requests[Kind]["event"] }
  | { type: "reply"; id: number; ok: true; result: Requests[Kind]["result"] }
  | { type: "reply"; id: number; ok: false; error: WireError };
