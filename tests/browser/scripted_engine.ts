// Stands in for the wasm engine in tests of the page: it draws colours at once, and fails as its prompt tells it.
import type { ModelInfo, Source } from "easel-wasm";
import type { Device, GenerateParams } from "../../www/src/shared/protocol.ts";
import { SCRIPTED_MODEL } from "./scripted_model.ts";

const CONFIGS = ["model_index.json", "unet/config.json"];
const WEIGHTS = ["unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.safetensors"];
const STEP_MS = 40;

function fail(code: string, message: string): never {
  throw Object.assign(new Error(message), { name: "EaselError", code });
}

const FAULTS: Record<string, () => Promise<void> | void> = {
  "lose the device": () => fail("device_lost", "the GPU went away"),
  hang: () => new Promise(() => {}),
  trap: () => {
    throw new WebAssembly.RuntimeError("unreachable");
  },
  "reject elsewhere": () => {
    void Promise.reject(new Error("nobody waits for this"));
    return new Promise(() => {});
  },
  "throw elsewhere": () => {
    setTimeout(() => fail("gpu", "nobody catches this"));
    return new Promise(() => {});
  },
};

class Run {
  readonly total: number;
  readonly warnings: string[];
  readonly #params: GenerateParams;
  readonly #canvas: OffscreenCanvas;
  #index = 0;

  constructor(params: GenerateParams, canvas: OffscreenCanvas) {
    this.#params = params;
    this.#canvas = canvas;
    // PNDM calls the model once more than it is asked to.
    this.total = params.steps + (params.sampler === "pndm" ? 1 : 0);
    const tags = params.prompt.match(/<hypernet:[^>]*>/g) ?? [];
    this.warnings = tags.map((tag) => `the tag \`${tag}\` is ignored`);
    canvas.width = params.width;
    canvas.height = params.height;
    this.#paint("dimgrey");
  }

  async step() {
    if (this.#index === this.total) return undefined;
    if (this.#index === 2) await FAULTS[this.#params.prompt]?.();
    await new Promise((resolve) => setTimeout(resolve, STEP_MS));
    this.#index += 1;
    this.#paint(`hsl(${(360 * this.#index) / this.total} 80% 50%)`);
    const noise = 1 - (this.#index - 1) / this.total;
    // A model that starts from pure noise has no number for it.
    const sigma = this.#index === 1 ? Number.POSITIVE_INFINITY : 14 * noise;
    return { index: this.#index, total: this.total, timestep: 999 * noise, sigma };
  }

  async finish() {
    const { width, height, image, mask_image } = this.#params;
    this.#paint("teal");
    const rgba = new Uint8Array(width * height * 4).map((_, at) => {
      const kept = image && (mask_image?.[at >> 2] ?? 0) < 128;
      return (kept ? image[at] : [0, 128, 128, 255][at % 4]) ?? 0;
    });
    return { width, height, rgba };
  }

  free() {}

  #paint(colour: string) {
    const context = this.#canvas.getContext("2d");
    if (!context) return;
    context.fillStyle = colour;
    context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
  }
}

export class Engine {
  readonly device: Device;
  readonly adapter = "scripted";
  #canvas = new OffscreenCanvas(1, 1);

  private constructor(device: Device) {
    this.device = device;
  }

  static async create(device: Device): Promise<Engine> {
    return new Engine(device);
  }

  async load(
    source: Source,
    onProgress: (stage: string, loaded: number, total: number) => void,
    checkpoint?: string,
  ): Promise<ModelInfo> {
    const [half = "", full = ""] = WEIGHTS;
    const folder = [...CONFIGS, (await source.size(half)) === undefined ? full : half];
    const files = checkpoint === undefined ? folder : [checkpoint, "merges.txt"];
    for (const [at, path] of files.entries()) {
      const size = await source.size(path);
      if (size === undefined) fail("file_not_found", `${path} is missing`);
      await source.read(path, 0, size);
      onProgress("weights", at + 1, files.length);
    }
    // A probe for a file that models may lack.
    await source.size("unet/diffusion_pytorch_model.safetensors.index.json");
    return SCRIPTED_MODEL;
  }

  tokens(prompt: string) {
    if (prompt.includes("(:")) fail("bad_prompt", "prompt: a weight is missing after `:`");
    return { count: prompt.split(/\s+/).filter(Boolean).length, limit: SCRIPTED_MODEL.token_limit };
  }

  attach(canvas: OffscreenCanvas): void {
    this.#canvas = canvas;
  }

  /** Its warnings show that the engine knows the LoRA. */
  async addLora(name: string, _source: Source, file: string): Promise<{ warnings: string[] }> {
    return { warnings: [`the LoRA ${name} is of ${file}`] };
  }

  removeLora(_name: string): void {}

  readonly strategies = "{}";

  adoptStrategies(_table: string): void {}

  async prepare(
    _params: GenerateParams,
    onProgress: (stage: string, loaded: number, total: number) => void,
  ): Promise<void> {
    onProgress("measuring", 0, 1);
    onProgress("compiling", 0, 1);
  }

  async start(params: GenerateParams): Promise<Run> {
    this.tokens(params.prompt);
    return new Run(params, this.#canvas);
  }

  free() {}
}

export default async function init(): Promise<void> {}

/** Finds nothing to pack, so that there is nothing to hash. */
export const Transcoder = { ofPart: () => undefined, ofCheckpoint: () => undefined };
export const FileHash = { create: () => undefined };
