import type { Easel } from "../client/easel.ts";
import type { Generation } from "../client/generation.ts";
import { sourceAddress } from "../client/source.ts";
import type { Picture, Progress, Step } from "../client/types.ts";
import { asEaselError, EaselError } from "../shared/errors.ts";
import { StagePace } from "../shared/pace.ts";
import { EaselImageAttributes } from "./easel_image_attributes.ts";
import { EaselImageView } from "./easel_image_view.ts";
import { type Lease, lease } from "./engine_pool.ts";
import { phase } from "./phases.ts";

/** Events of `<easel-image>`; none of them bubbles. */
export interface EaselImageEventMap {
  /** The model is loaded. */
  load: CustomEvent<Easel>;
  /** A load or a run got on. */
  progress: CustomEvent<Progress>;
  /** A step was computed. Its bitmap is good until the listeners have returned. */
  step: CustomEvent<Step>;
  /** The picture is finished. */
  generate: CustomEvent<Picture>;
  /** Something failed; not sent for a run that was stopped. */
  error: CustomEvent<EaselError>;
  /** A run was stopped: by the visitor, by `stop`, or by the next run. */
  stop: CustomEvent<EaselError>;
}

/** Listeners by the types of the events. */
export interface EaselImage {
  addEventListener<K extends keyof EaselImageEventMap>(
    type: K,
    listener: (this: EaselImage, event: EaselImageEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof EaselImageEventMap>(
    type: K,
    listener: (this: EaselImage, event: EaselImageEventMap[K]) => unknown,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | EventListenerOptions,
  ): void;
}

/**
 * `<easel-image model="owner/name" prompt="a red apple" controls>`: a picture that is drawn where it is shown.
 *
 * Nothing is fetched before the visitor presses the button or the page calls `generate`, unless `loading` is `eager`.
 * Elements with the same model share one engine and take turns. Taking an element out of the document stops it.
 *
 * Slots: `poster` is shown until there is a picture, `button` and `stop` are the button's labels. Parts: `picture`,
 * `poster`, `canvas`, `bar`, `button`, `progress`, `status` and, beside it, `error`. Custom properties: `--easel-size`,
 * `--easel-radius`, `--easel-background`, `--easel-accent`, `--easel-on-accent`.
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only what listeners of known events are given
export class EaselImage extends EaselImageAttributes {
  static readonly observedAttributes = ["alt", "prompt", "poster", "width", "height", "loading", "controls"];
  readonly #view = new EaselImageView(this.attachShadow({ mode: "open" }));
  #lease: { model: string; share: Lease; told: boolean } | undefined;
  #run: AbortController | undefined;
  readonly #pace = new StagePace();

  constructor() {
    super();
    this.#view.button.addEventListener("click", () => this.#press());
    this.#view.controls = false;
    this.#view.reserve(1, 1);
  }

  /** Whether a model is being loaded or a picture drawn for it. */
  get running(): boolean {
    return this.#run !== undefined;
  }

  /**
   * Draws what the attributes ask for; a run under way is stopped first. Rejects with the `EaselError` that the event
   * `error` brings, or with an `AbortError` when it was stopped.
   */
  async generate(): Promise<Picture> {
    this.stop();
    const run = new AbortController();
    this.#run = run;
    this.#view.running = true;
    this.#view.progress = undefined;
    this.#view.status = "Getting ready";
    try {
      if (!this.isConnected) throw new EaselError("disposed", "the element is not in a document");
      const picture = await this.#draw(run.signal);
      if (run.signal.aborted) throw stopped();
      this.#view.status = "Done";
      this.#send("generate", picture);
      return picture;
    } catch (thrown) {
      const error = run.signal.aborted ? stopped() : asEaselError(thrown);
      if (this.#run === run || this.#run === undefined) this.#tell(error);
      throw error;
    } finally {
      if (this.#run === run) this.#end();
    }
  }

  /** Ends what is under way, within a step. What was fetched of a model stays in the browser. */
  stop(): void {
    if (!this.#run) return;
    this.#run.abort();
    this.#end();
    this.#send("stop", stopped());
  }

  /** @internal */
  connectedCallback(): void {
    this.#begin();
  }

  /** @internal */
  disconnectedCallback(): void {
    // An element that is moved is connected again at once.
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.stop();
      this.#release();
    });
  }

  /** @internal */
  attributeChangedCallback(name: string): void {
    if (name === "controls") this.#view.controls = this.controls;
    else if (name === "poster") this.#view.poster = this.poster;
    else if (name === "alt" || name === "prompt") this.#view.alt = this.alt;
    else if (name === "loading") this.#begin();
    else this.#view.reserve(this.width || this.height || 1, this.height || this.width || 1);
  }

  #begin(): void {
    // The other attributes may be set after this.
    queueMicrotask(() => {
      const begins = this.isConnected && this.loading === "eager" && !this.#lease && !this.#run;
      // Listeners hear of errors.
      if (begins) this.generate().catch(() => {});
    });
  }

  #press(): void {
    if (this.#run) {
      this.stop();
      this.#view.status = "Stopped";
    } else this.generate().catch(() => {});
  }

  async #draw(signal: AbortSignal): Promise<Picture> {
    const engine = await this.#engine(signal);
    const { width, height } = { ...engine.info, ...this.#size() };
    this.#view.reserve(width, height);
    this.#view.status = "Drawing";
    const onProgress = (progress: Progress) => signal.aborted || this.#show(progress);
    const run = engine.generate({ ...this.wish, signal, onProgress });
    await this.#follow(run, signal, width, height);
    const picture = await run.result;
    const bitmap = await createImageBitmap(picture.png);
    if (!signal.aborted) this.#view.paint(bitmap, width, height);
    bitmap.close();
    return picture;
  }

  async #follow(run: Generation, signal: AbortSignal, width: number, height: number): Promise<void> {
    for await (const step of run) {
      // What was stopped may come to the end of a step, of which nobody is to hear.
      if (signal.aborted) {
        step.picture.close();
        continue;
      }
      this.#view.status = "Drawing";
      this.#view.progress = step.index / step.total;
      this.#view.secondsLeft = this.#pace.secondsLeft("drawing", step.index, step.total, performance.now());
      this.#view.paint(step.picture, width, height);
      this.#send("step", step);
      step.picture.close();
    }
  }

  #size(): { width?: number; height?: number } {
    const { width, height } = this;
    return { ...(width !== null && { width }), ...(height !== null && { height }) };
  }

  /** The engine of the model that is named now. */
  async #engine(signal: AbortSignal): Promise<Easel> {
    if (this.model === "")
      throw new EaselError("model_address", "this picture names no model to draw it with");
    const model = sourceAddress(this.model);
    if (this.#lease?.model !== model.href) this.#release();
    this.#lease ??= {
      model: model.href,
      share: lease(model, (progress) => this.#run && this.#show(progress)),
      told: false,
    };
    const current = this.#lease;
    try {
      const engine = await unlessAborted(current.share.engine, signal);
      if (engine.disposed) throw new EaselError("disposed", "the engine broke down: draw again");
      if (!current.told) this.#send("load", engine);
      current.told = true;
      return engine;
    } catch (error) {
      // The next attempt takes a new engine; one that has begun already keeps this one.
      if (!this.#run || this.#run.signal === signal) this.#release();
      throw error;
    }
  }

  #release(): void {
    this.#lease?.share.release();
    this.#lease = undefined;
  }

  #show(progress: Progress): void {
    const { stage, loaded, total } = progress;
    this.#view.status = phase(progress);
    this.#view.progress = total > 0 && stage !== "decoding" ? loaded / total : undefined;
    this.#view.secondsLeft = this.#pace.secondsLeft(stage, loaded, total, performance.now());
    this.#send("progress", progress);
  }

  #tell(error: EaselError): void {
    if (error.code === "cancelled") {
      this.#view.status = "Stopped";
      return;
    }
    if (error.fatal) this.#release();
    this.#view.error = `${error.message} (${error.code})`;
    this.#send("error", error);
  }

  #end(): void {
    this.#run = undefined;
    this.#view.running = false;
  }

  #send<K extends keyof EaselImageEventMap>(type: K, detail: EaselImageEventMap[K]["detail"]): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function stopped(): EaselError {
  return new EaselError("cancelled", "the picture was stopped");
}

/** A result that one of several waits for no longer. */
function unlessAborted<T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(stopped());
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    result.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
