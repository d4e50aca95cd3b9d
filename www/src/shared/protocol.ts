// What the page and its worker say to each other. Each request has an id; its events and its one reply carry it.
import type { WireError } from "./errors.ts";

export type Device = "gpu" | "cpu";
export type DeviceChoice = Device | "auto";

/** What a loaded model is and asks for; the numbers are its own defaults. */
export interface ModelInfo {
  pipeline: string;
  width: number;
  height: number;
  /** Width and height are multiples of it. */
  factor: number;
  sampler: string;
  samplers: { name: string; label: string }[];
  steps: number;
  guidance_scale: number;
  token_limit: number;
}

/** What to draw; names as diffusers spells them. */
export interface GenerateParams {
  prompt: string;
  negative_prompt: string;
  steps: number;
  guidance_scale: number;
  /** A name of `ModelInfo.samplers`; empty for the model's own. */
  sampler: string;
  /** Integer from 0 to 2^53 - 1. */
  seed: number;
  width: number;
  height: number;
}

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

/** How a picture came about: its last step, and whether it was stopped before the end. */
export type Outcome =
  | { type: "finished"; width: number; height: number; png: Blob }
  | { type: "stopped"; index: number };

/** Requests by kind. */
export interface Requests {
  load: { params: LoadParams; result: Loaded; event: LoadEvent };
  tokens: { params: { prompt: string }; result: { count: number; limit: number }; event: never };
  generate: { params: GenerateParams; result: Outcome; event: GenerateEvent };
}
export type Kind = keyof Requests;

export type LoadEvent =
  | { type: "download"; loaded: number; total: number | undefined }
  | { type: "prepare"; stage: string; loaded: number; total: number };

export type GenerateEvent =
  | { type: "started"; total: number }
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
