// What the page and its worker say to each other. Each request has an id; its events and its one reply carry it.
import type { Request as GenerateParams, ModelInfo } from "easel-wasm";
import type { WireError } from "./errors.ts";

export type { GenerateParams, ModelInfo };

export type Device = "gpu" | "cpu";
export type DeviceChoice = Device | "auto";

/** A file that the user gave to the page. */
export interface GivenFile {
  /** Path from the folder that was given, with `/`; for a file by itself its name. */
  path: string;
  file: Blob;
  /** When it was changed last, in milliseconds since 1970. */
  modified: number;
}

/** What files that the user gave turned out to be; `files` are those of the model or LoRA, by their paths in it. */
export type Recognised = { kind: "model" | "lora"; address: string; files: GivenFile[] };

/** A kept LoRA, by the name that prompts call it. */
export interface LoraPlace {
  name: string;
  address: string;
}

/** How the weights of a model are packed when it is fetched; `docs/quantization.md` has the formats. */
export type Quant = "q8" | "q6" | "q4" | "mixed";

/** `none` leaves weights as they are published; `auto` takes what is kept, or decides by size. */
export type QuantChoice = Quant | "none" | "auto";

/** Addresses of the engine's code and of CLIP's merges. */
export interface EngineFiles {
  wasm: string;
  merges: string;
}

export interface LoadParams {
  device: DeviceChoice;
  /** Lets the GPU compute in f16. */
  f16: boolean;
  /** Address of the model's folder, with a slash at its end. */
  model: string;
  /** Access token for the origin of that address. */
  token: string | undefined;
  /** Files of a local model, by their paths in it, where the page has them. */
  files: GivenFile[] | undefined;
  quant: QuantChoice;
  canvas: OffscreenCanvas;
  /** Addresses of what the worker fetches for itself, where its script does not know them. */
  engineFiles?: EngineFiles | undefined;
}

/** How large a model is, in bytes, and how much of it is in this browser. */
export interface Survey {
  /** Of its files as they are kept, which may be packed, and of what is kept of them. */
  size: number;
  kept: number;
  /** Still to be fetched, in the size that it has where it comes from. */
  missing: number;
  whole: boolean;
}

/** What a model's card says of its licence. */
export interface Licence {
  name: string;
  link: string;
}

/** A model of which anything is kept in this browser. */
export interface ModelSummary {
  address: string;
  /** Bytes of all its files, and of what is kept of them. */
  size: number;
  kept: number;
  /** Milliseconds since 1970. */
  started: number;
  whole: boolean;
  /** What its weights were packed to when they came; `none` for those that are kept as they were published. */
  quant: Quant | "none";
  /** Commit of a hub that it is of. */
  commit: string | undefined;
  licence: Licence | undefined;
}

export interface Loaded {
  info: ModelInfo;
  device: Device;
  adapter: string;
  /** Why the CPU was taken although nobody chose it. */
  reason?: string;
}

/**
 * What the canvas showed at one moment of a run, made small: at most 256 pixels on the long side, in the picture's ratio.
 * It is transferred; whoever takes it closes it when it is of no more use.
 */
export type Snapshot = ImageBitmap;

/** How a picture came about; `index` is the last step of a run that was stopped. */
export type Outcome =
  | { type: "finished"; width: number; height: number; png: Blob; picture: Snapshot }
  | { type: "stopped"; index: number; total: number };

/** Requests by kind. */
export interface Requests {
  load: { params: LoadParams; result: Loaded; event: LoadEvent };
  tokens: { params: { prompt: string }; result: { count: number; limit: number }; event: never };
  generate: { params: GenerateParams; result: Outcome; event: GenerateEvent };
  models: { params: Record<never, never>; result: ModelSummary[]; event: never };
  /** What is known of a model; where nothing is kept of it, its host is asked when `ask` allows that. */
  survey: {
    params: Pick<LoadParams, "model" | "token" | "files"> & { ask: boolean };
    result: Survey | null;
    event: DownloadEvent;
  };
  finish: {
    params: Pick<LoadParams, "model" | "token" | "files">;
    result: null;
    event: DownloadEvent;
  };
  /** Every LoRA of which anything is kept. */
  loras: { params: Record<never, never>; result: ModelSummary[]; event: never };
  /** Fetches what is missing of a LoRA; its address ends in `.safetensors`. */
  keepLora: {
    params: Pick<LoadParams, "model" | "token" | "files">;
    result: null;
    event: DownloadEvent;
  };
  /** Lets prompts ask for these LoRAs and no others. What of them the model cannot use is among a run's warnings. */
  useLoras: { params: { loras: LoraPlace[] }; result: null; event: never };
  /** Says what the user gave; nothing is kept yet. */
  recognise: { params: { files: GivenFile[] }; result: Recognised; event: never };
  /** Its result: paths of files that were damaged; the model then is not whole. */
  verify: { params: { model: string }; result: string[]; event: VerifyEvent };
  delete: { params: { model: string }; result: null; event: never };
  /** Writes a whole model into `folder`, or without one into a file, which is there for as long as the worker. */
  save: {
    params: { model: string; folder: FileSystemDirectoryHandle | undefined };
    result: { name: string; file?: File };
    event: SaveEvent;
  };
}
export type Kind = keyof Requests;

type PrepareEvent = { type: "prepare"; stage: string; loaded: number; total: number };

/** `waiting` is for another tab that writes to the same model; sizes are those that files have where they come from. */
export type DownloadEvent = { type: "waiting" } | { type: "download"; loaded: number; total: number };
export type VerifyEvent = { type: "waiting" } | { type: "checking"; loaded: number; total: number };
export type SaveEvent = { type: "saving"; loaded: number; total: number };
export type LoadEvent = DownloadEvent | PrepareEvent;

/** `picture` of `started` is the noise that the run begins with, those of `step` what the latents look like after it. */
export type GenerateEvent =
  | PrepareEvent
  | { type: "started"; total: number; warnings: string[]; picture: Snapshot }
  | {
      type: "step";
      /** Number of the step, from 1. */
      index: number;
      total: number;
      timestep: number;
      /** Noise level of what went into the step; infinite where a model starts from pure noise. */
      sigma: number;
      picture: Snapshot;
    }
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
