/// <reference lib="esnext.disposable" preserve="true" />
import { asEaselError, EaselError } from "../shared/errors.ts";
import type {
  DownloadEvent,
  GenerateEvent,
  GenerateParams,
  LoadEvent,
  Loaded,
  Outcome,
} from "../shared/protocol.ts";
import { EngineClient } from "./engine_client.ts";
import { mergesUrl, wasmUrl, workerUrl } from "./engine_files.ts";
import { Generation } from "./generation.ts";
import { askedLoras } from "./loras.ts";
import { brightness, pixelsOf } from "./pixels.ts";
import { sourceAddress } from "./source.ts";
import type { Device, GenerateOptions, LoadOptions, ModelInfo, Progress } from "./types.ts";
import { startWorker } from "./worker_start.ts";

/**
 * A loaded model in a worker of its own. Pictures are drawn one after another, in the order in which they were asked for.
 *
 * ```js
 * const easel = await Easel.load("owner/name", { onProgress: ({ loaded, total }) => show(loaded / total) });
 * const run = easel.generate({ prompt: "a red apple" });
 * for await (const { picture } of run) context.drawImage(picture, 0, 0);
 * const { png } = await run.result;
 * easel.dispose();
 * ```
 */
export class Easel {
  /** What the model is, and its own settings. */
  readonly info: ModelInfo;
  /** Address of the model's folder. */
  readonly model: string;
  readonly device: Device;
  /** Name of the GPU, as much as the browser tells. */
  readonly adapter: string;
  /** Why the CPU was taken although nobody chose it. */
  readonly reason: string | undefined;
  /** The same as `dispose`, for `await using`. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  readonly #client: EngineClient;
  readonly #options: Pick<LoadOptions, "hub" | "token">;
  /** Addresses of LoRAs that are here. */
  readonly #loras = new Set<string>();
  /** Fulfilled when every picture that was asked for has ended. */
  #idle: Promise<unknown> = Promise.resolve();
  #disposed: EaselError | undefined;

  static {
    // Younger than other things that are used here.
    const dispose = Symbol.asyncDispose as symbol | undefined;
    const value = async function (this: Easel) {
      this.dispose();
    };
    if (dispose) Object.defineProperty(Easel.prototype, dispose, { value });
  }

  private constructor(
    client: EngineClient,
    model: string,
    options: Pick<LoadOptions, "hub" | "token">,
    { info, device, adapter, reason }: Loaded,
  ) {
    this.#client = client;
    this.#options = options;
    this.model = model;
    this.info = info;
    this.device = device;
    this.adapter = adapter;
    this.reason = reason;
  }

  /**
   * Loads a model into a new worker, and fetches what the browser does not keep of it yet.
   *
   * `source` is `owner/name` on the hub, the address of a folder in diffusers layout, or a path below the page.
   * Rejects with an `EaselError`: `model_address`, `network`, `quota`, `forbidden`, `cancelled` and others.
   */
  static async load(source: string | URL, options: LoadOptions = {}): Promise<Easel> {
    const model = sourceAddress(source, options.hub).href;
    const { signal } = options;
    if (signal?.aborted) throw cancelled(signal);
    const files = engineFiles(options.engineFolder);
    const client = new EngineClient(startWorker(files.worker));
    const close = () => client.close();
    signal?.addEventListener("abort", close);
    try {
      return new Easel(client, model, options, await loadInto(client, model, files, options));
    } catch (error) {
      client.close();
      throw signal?.aborted ? cancelled(signal) : error;
    } finally {
      signal?.removeEventListener("abort", close);
    }
  }

  /** Whether it can draw no more: it was disposed of, or its engine broke down. */
  get disposed(): boolean {
    return this.#disposed !== undefined;
  }

  /**
   * Asks for a picture; it begins when those asked for before have ended. Whatever is wrong with the options comes as a
   * rejection: `bad_parameter`, `bad_prompt`, `disposed` and others.
   */
  generate(options: GenerateOptions): Generation {
    const params = this.#params(options);
    return new Generation(params.seed, options, (onEvent, signal) =>
      this.#enqueue(params, options, onEvent, signal),
    );
  }

  /** Tokens of a prompt, and how many fit in one chunk of what the model reads. Rejects with `bad_prompt`. */
  async tokens(prompt: string): Promise<{ count: number; limit: number }> {
    if (this.#disposed) throw this.#disposed;
    return this.#client.request("tokens", { prompt: String(prompt) });
  }

  /** Frees the worker and all that it holds; what is being drawn is rejected as `cancelled`. The model stays in the browser. */
  dispose(): void {
    this.#disposed ??= new EaselError("disposed", "this engine was disposed of: load it again");
    this.#client.close();
  }

  #params({ prompt, negativePrompt, guidanceScale, seed, ...rest }: GenerateOptions): GenerateParams {
    const { info } = this;
    return {
      prompt: String(prompt),
      negative_prompt: negativePrompt ?? "",
      guidance_scale: guidanceScale ?? info.guidance_scale,
      seed: seed ?? randomSeed(),
      steps: rest.steps ?? info.steps,
      sampler: rest.sampler ?? info.sampler,
      width: rest.width ?? info.width,
      height: rest.height ?? info.height,
      ...(rest.strength !== undefined && { strength: rest.strength }),
    };
  }

  #enqueue(
    params: GenerateParams,
    options: GenerateOptions,
    onEvent: (event: GenerateEvent) => void,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const turn = this.#idle;
    // Pictures are taken as they are now: whoever gave them may draw on, or close them.
    const pictures = initImage(options, params);
    // Its failure is thrown below, when it is waited for.
    pictures.catch(() => {});
    const stopped = { type: "stopped", index: 0, total: params.steps } as const;
    const run = turn.then(async () => {
      if (this.#disposed) throw this.#disposed;
      if (signal.aborted) return stopped;
      const prompt = await this.#useLoras(params.prompt, options, signal);
      const all = { ...params, prompt, ...(await pictures) };
      return this.#client.request("generate", all, { onEvent, signal });
    });
    this.#idle = run.catch((error) => this.#note(asEaselError(error)));
    return Promise.race([run, abortedBefore(turn, signal).then(() => stopped)]);
  }

  /** Fetches the LoRAs that a picture asks for, lets the engine know these and no others, and returns the prompt with their tags. */
  async #useLoras(
    text: string,
    { loras = [], onProgress }: GenerateOptions,
    signal: AbortSignal,
  ): Promise<string> {
    const { prompt, places } = askedLoras(text, loras, this.#options.hub);
    for (const { address } of places) {
      if (this.#loras.has(address)) continue;
      const own = new URL(address).origin === new URL(this.model).origin;
      const params = { model: address, token: own ? this.#options.token : undefined, files: undefined };
      const onEvent = (event: DownloadEvent) => onProgress?.(progressOf(event));
      await this.#client.request("keepLora", params, { signal, onEvent });
      this.#loras.add(address);
    }
    await this.#client.request("useLoras", { loras: places }, { signal });
    return prompt;
  }

  /** What a breakdown leaves behind draws no more. */
  #note(error: EaselError): void {
    if (!error.fatal) return;
    this.#disposed ??= new EaselError("disposed", `the engine broke down (${error.message}): load it again`);
    this.#client.close();
  }
}

/** Fulfilled when the signal aborts before the turn has come, and never otherwise. */
function abortedBefore(turn: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const leave = () => resolve();
    if (signal.aborted) leave();
    signal.addEventListener("abort", leave);
    turn.finally(() => signal.removeEventListener("abort", leave));
  });
}

/** The picture to start from, and the mask, as the engine takes them; both are read at once. */
async function initImage(
  { image, mask }: GenerateOptions,
  { width, height }: GenerateParams,
): Promise<Pick<GenerateParams, "image" | "mask_image">> {
  if (!image) return {};
  const [pixels, ofMask] = await Promise.all([
    pixelsOf("image", image, width, height),
    mask && pixelsOf("mask", mask, width, height),
  ]);
  return { image: new Uint8Array(pixels), ...(ofMask && { mask_image: brightness(ofMask) }) };
}

interface EngineFiles {
  worker: URL;
  /** Absent where the worker knows them. */
  others: { wasm: string; merges: string } | undefined;
}

function engineFiles(folder: string | URL | undefined): EngineFiles {
  if (folder === undefined) {
    const others = wasmUrl && mergesUrl && { wasm: wasmUrl.href, merges: mergesUrl.href };
    return { worker: new URL(workerUrl, document.baseURI), others };
  }
  const at = (name: string) => new URL(name, new URL(folder, document.baseURI));
  return {
    worker: at("worker.js"),
    others: { wasm: at("easel_bg.wasm").href, merges: at("merges.txt").href },
  };
}

async function loadInto(
  client: EngineClient,
  model: string,
  { others }: EngineFiles,
  { device = "auto", precision, quant = "auto", token, onProgress }: LoadOptions,
): Promise<Loaded> {
  // Nobody sees this one; steps bring pictures of it.
  const canvas = new OffscreenCanvas(1, 1);
  const own = { files: undefined, engineFiles: others, canvas };
  return client.request(
    "load",
    { device, f16: precision === "f16", quant, model, token, ...own },
    { onEvent: (event) => onProgress?.(progressOf(event)), transfer: [canvas] },
  );
}

function progressOf(event: LoadEvent): Progress {
  if (event.type === "waiting") return { stage: "waiting", loaded: 0, total: 0 };
  const { loaded, total } = event;
  return { stage: event.type === "download" ? "download" : event.stage, loaded, total };
}

function cancelled(signal: AbortSignal): EaselError {
  return new EaselError("cancelled", "the load was stopped", { cause: signal.reason });
}

function randomSeed(): number {
  const [word = 0] = crypto.getRandomValues(new Uint32Array(1));
  return word;
}
