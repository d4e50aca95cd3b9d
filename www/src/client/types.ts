// What the engine's users give and get.
import type { Device, DeviceChoice, ModelInfo, QuantChoice, Snapshot } from "../shared/protocol.ts";

export type { Device, DeviceChoice, ModelInfo, QuantChoice, Snapshot };

/** Something that takes a while. */
export interface Progress {
  /**
   * `waiting` for another tab that fetches the same model, `download`, `weights` and the like while the model is loaded,
   * `measuring` and `compiling` before a picture (long ones on a GPU that is met first), `decoding` after its last step.
   */
  stage: string;
  /** Of `total`: bytes of a download, otherwise pieces of work. */
  loaded: number;
  /** 0 where nobody can tell. */
  total: number;
}

export interface LoadOptions {
  /** `auto`, the default, takes the GPU unless there is none, or only software that imitates one. */
  device?: DeviceChoice | undefined;
  /** `f16` lets a GPU that can keep activations in half precision, and compute products so where it measures that to be faster. */
  precision?: "f32" | "f16" | undefined;
  /** How weights are packed when they are fetched; `auto`, the default, keeps small models as they are published. */
  quant?: QuantChoice | undefined;
  /** Access token for gated models. It is sent to the origin of the model's address and nowhere else. */
  token?: string | undefined;
  /** The hub that `owner/name` means; Hugging Face where nothing is said. */
  hub?: string | URL | undefined;
  /** The folder with `worker.js`, `easel_bg.wasm` and `merges.txt` of the package, if a site serves them from another place. */
  engineFolder?: string | URL | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Ends the load; what was fetched stays in the browser. */
  signal?: AbortSignal | undefined;
}

/** A LoRA, and how strongly a picture is to follow it. */
export interface LoraOption {
  /** Address of its `.safetensors` file, on a hub also `owner/name/resolve/main/file.safetensors`. It is fetched once. */
  source: string | URL;
  /** From -10 to 10; 1 where nothing is said. */
  strength?: number | undefined;
}

/** A picture to draw. What is left out is the model's own (`Easel.info`). */
export interface GenerateOptions {
  /** Weights by `(word:1.2)`, as in other tools. */
  prompt: string;
  negativePrompt?: string | undefined;
  /** From 1 to 1000. */
  steps?: number | undefined;
  guidanceScale?: number | undefined;
  /** A name of `Easel.info.samplers`. */
  sampler?: string | undefined;
  /** A whole number from 0 to 2^53, or a random one. It gives torch's noise, the same picture every time. */
  seed?: number | undefined;
  /** A multiple of `Easel.info.factor`, as is `height`. */
  width?: number | undefined;
  height?: number | undefined;
  /** A picture to start from: a file, a canvas, an `ImageBitmap` or the like, stretched to the size. */
  image?: ImageBitmapSource | undefined;
  /** What of `image` to draw anew: white is drawn, black or transparent is kept, grey is mixed. */
  mask?: ImageBitmapSource | undefined;
  /** LoRAs for this picture; the prompt in its file then names them by `<lora:file:strength>`. */
  loras?: readonly LoraOption[] | undefined;
  /** How much of `image` is given up, 0 to 1; 0.8 where nothing is said, and 1 with a mask. */
  strength?: number | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Ends the run within a step; the promises then are rejected with an `AbortError`. */
  signal?: AbortSignal | undefined;
}

/** A step of a picture that is being drawn. */
export interface Step {
  /** From 1 to `total`. */
  index: number;
  total: number;
  /** The scheduler's time, from about 1000 to 0. */
  timestep: number;
  /** Noise level of what went into the step; infinite where a model starts from pure noise. */
  sigma: number;
  /** What the picture looks like so far, at most 256 pixels long. Call its `close()` when it is of no more use. */
  picture: Snapshot;
}

/** A finished picture. */
export interface Picture {
  width: number;
  height: number;
  seed: number;
  png: Blob;
  /** What was left out of the prompts, in sentences. */
  warnings: string[];
}
