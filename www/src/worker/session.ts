import { Engine, type Run } from "easel-wasm";
import { version } from "../../../package.json";
import { EaselError } from "../shared/errors.ts";
import { formatInfotext } from "../shared/infotext.ts";
import { modelName } from "../shared/model_address.ts";
import { withText } from "../shared/png_text.ts";
import type {
  Device,
  GenerateEvent,
  GenerateParams,
  LoadEvent,
  Loaded,
  LoadParams,
  LoraPlace,
  Outcome,
} from "../shared/protocol.ts";
import { settingsOf } from "../shared/settings.ts";
import { mendAdapters } from "./adapter_features.ts";
import { type DeviceDecision, decideDevice, isLargeHere } from "./device.ts";
import { packingTools, startEngine } from "./engine_code.ts";
import { LorasInUse } from "./loras_in_use.ts";
import { USUAL } from "./model_download.ts";
import { PackingProvider } from "./packing.ts";
import { encodePng, pixels, snapshot } from "./picture.ts";
import { providerOf } from "./provider.ts";
import { ModelSource } from "./source.ts";
import { keepStrategies, keptStrategies } from "./strategies.ts";

/** One engine with one model, and at most one run at a time. */
export class Session {
  #engine: Engine | undefined;
  #canvas: OffscreenCanvas | undefined;
  #running = false;
  readonly #loras = new LorasInUse();
  /** What measurements are kept under: the engine itself is not told one GPU from another. */
  #adapter = "";
  /** What files say of the model. */
  #model = "";
  #ownSampler = "";

  async load(params: LoadParams, signal: AbortSignal, emit: (event: LoadEvent) => void): Promise<Loaded> {
    if (this.#engine) throw new EaselError("busy", "a model is already loaded here");
    mendAdapters();
    await startEngine(params.engineFiles);
    const { engine, decision } = await createEngine(params.device, params.f16);
    this.#engine = engine;
    this.#adapter = `${decision.adapter ?? ""} ${engine.f16 ? "f16" : "f32"}`;
    engine.adoptStrategies(await keptStrategies(this.#adapter));
    const options = { ...USUAL, token: params.token, signal, emit };
    const published = providerOf(new URL(params.model), params.files, options);
    const provider = new PackingProvider(published, params.quant, packingTools);
    const source = await ModelSource.open(provider, options);
    const onPart = (stage: string, loaded: number, total: number) =>
      emit({ type: "prepare", stage, loaded, total });
    engine.lowMemory = isLargeHere(source.bytes);
    const info = await engine.load(source, onPart, source.checkpoint).catch((error) => {
      source.close();
      throw error;
    });
    this.#model = modelName(new URL(params.model));
    this.#ownSampler = info.sampler;
    engine.attach(params.canvas);
    this.#canvas = params.canvas;
    const loaded: Loaded = { info, device: decision.device, adapter: decision.adapter ?? engine.adapter };
    return decision.reason === undefined ? loaded : { ...loaded, reason: decision.reason };
  }

  /** See the request of the same name. */
  async useLoras(loras: readonly LoraPlace[], signal: AbortSignal): Promise<null> {
    if (this.#running) throw new EaselError("busy", "a picture is already being drawn");
    // Before a model is there, nothing is held that could be given back.
    if (loras.length === 0 && !this.#canvas) return null;
    await this.#loras.use(this.#loaded().engine, loras, signal);
    return null;
  }

  tokens(prompt: string): { count: number; limit: number } {
    return this.#loaded().engine.tokens(prompt);
  }

  async generate(
    params: GenerateParams,
    signal: AbortSignal,
    emit: (event: GenerateEvent) => void,
  ): Promise<Outcome> {
    if (this.#running) throw new EaselError("busy", "a picture is already being drawn");
    this.#running = true;
    let run: Run | undefined;
    try {
      const { engine, canvas } = this.#loaded();
      await prepare(engine, this.#adapter, params, emit);
      run = await engine.start(params);
      const { total } = run;
      const warnings = [...this.#loras.warnings, ...run.warnings];
      emit({ type: "started", total, warnings, picture: await snapshot(canvas) });
      return this.#signed(await draw(run, canvas, signal, emit), params);
    } finally {
      run?.free();
      this.#running = false;
    }
  }

  /** The outcome with the settings in its file. */
  #signed(outcome: Outcome, params: GenerateParams): Outcome {
    if (outcome.type !== "finished") return outcome;
    const sampler = params.sampler || this.#ownSampler;
    const text = formatInfotext(settingsOf({ ...params, sampler }, this.#model), `easel ${version}`);
    return { ...outcome, png: withText(outcome.png, "parameters", text) };
  }

  #loaded(): { engine: Engine; canvas: OffscreenCanvas } {
    const [engine, canvas] = [this.#engine, this.#canvas];
    if (!engine || !canvas) throw new EaselError("internal", "no model is loaded yet");
    return { engine, canvas };
  }
}

/** Measures and compiles what was not before, and keeps what was measured. */
async function prepare(
  engine: Engine,
  adapter: string,
  params: GenerateParams,
  emit: (event: GenerateEvent) => void,
): Promise<void> {
  let measured = false;
  await engine.prepare(params, (stage, loaded, total) => {
    measured ||= stage === "measuring";
    emit({ type: "prepare", stage, loaded, total });
  });
  if (measured) await keepStrategies(adapter, engine.strategies);
}

async function draw(
  run: Run,
  canvas: OffscreenCanvas,
  signal: AbortSignal,
  emit: (event: GenerateEvent) => void,
): Promise<Outcome> {
  let index = 0;
  for (;;) {
    await nextFrame();
    if (signal.aborted) return { type: "stopped", index, total: run.total };
    const step = await run.step();
    if (!step) break;
    index = step.index;
    emit({ type: "step", ...step, picture: await snapshot(canvas) });
  }
  emit({ type: "decoding" });
  await nextFrame();
  if (signal.aborted) return { type: "stopped", index, total: run.total };
  const { width, height, rgba } = await run.finish();
  const picture = pixels(width, height, rgba);
  const png = await encodePng(picture);
  return { type: "finished", width, height, png, picture: await snapshot(picture) };
}

/** Lets the canvas reach the screen and messages reach us; a hidden page gives no frames, so a timer bounds the wait. */
function nextFrame(): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, 50);
    const frame = requestAnimationFrame(done);
    function done(): void {
      clearTimeout(timer);
      cancelAnimationFrame(frame);
      // A message that waits is a task of its own: the next task comes after it.
      setTimeout(resolve, 0);
    }
  });
}

async function createEngine(
  choice: LoadParams["device"],
  f16: boolean,
): Promise<{ engine: Engine; decision: DeviceDecision }> {
  const decision = await decideDevice(choice);
  try {
    const { device, software, subgroup } = decision;
    return { engine: await Engine.create(device, software, subgroup, f16), decision };
  } catch (error) {
    if (choice !== "auto" || decision.device === "cpu") throw error;
    const device: Device = "cpu";
    const reason = `the graphics adapter could not be used (${error instanceof Error ? error.message : error})`;
    return { engine: await Engine.create(device), decision: { device, reason } };
  }
}
