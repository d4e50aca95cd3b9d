import { EngineClient } from "../client/engine_client.ts";
import { asEaselError, type EaselError } from "../shared/errors.ts";
import { isLocal, modelName } from "../shared/model_address.ts";
import type { DeviceChoice, LoadEvent, Survey } from "../shared/protocol.ts";
import { stayAwake } from "./awake.ts";
import { draw } from "./drawing.ts";
import { element } from "./elements.ts";
import { adoptModel, noteUsedSeed, pictureCount, prompt, readForm } from "./form.ts";
import { givenFiles } from "./given_files.ts";
import { allowsF16 } from "./location.ts";
import type { LoraList } from "./loras.ts";
import { adoptNegativeNote } from "./negative_note.ts";
import { isWaiting, type State, showState } from "./primary_button.ts";
import { Replay } from "./process/replay.ts";
import { quantFor } from "./quant_choice.ts";
import { offerSettings } from "./settings/setting_choices.ts";
import { endPicture, freshCanvas } from "./stage.ts";
import {
  hideError,
  hideProgress,
  LoadProgress,
  showDevice,
  showError,
  showOffer,
  showProgress,
  showStatus,
} from "./status.ts";
import { tokenFor } from "./token.ts";
import { TokenCounter } from "./token_counter.ts";

/** The page's one engine and what it is doing. */
export class App {
  #model: URL;
  #device: DeviceChoice;
  /** What the engine was last loaded for. */
  #loadedFor: DeviceChoice;
  #client: EngineClient | undefined;
  #state: State = "loading";
  #stop: AbortController | undefined;
  #askedToKeep = false;
  /** Somebody wants a picture as soon as the model is here. */
  #wished = false;
  readonly #onLoadEnd: (error?: EaselError) => void;
  readonly #loras: LoraList;
  readonly #counter = new TokenCounter(prompt, element("token-count", HTMLElement));
  readonly #replay = new Replay();

  /** `onLoadEnd` is told whenever a load has ended, well or with an error; `loras` knows those that prompts may ask for. */
  constructor(model: URL, device: DeviceChoice, onLoadEnd: (error?: EaselError) => void, loras: LoraList) {
    this.#model = model;
    this.#device = this.#loadedFor = device;
    this.#onLoadEnd = onLoadEnd;
    this.#loras = loras;
  }

  /** Puts another model in the place of this one. */
  turnTo(model: URL): void {
    this.#model = model;
    this.#wished = false;
    this.#close();
    hideError();
    showStatus("Looking for the model");
    showProgress("");
    this.#enter("loading");
  }

  /** Whether this is still about a model, and nobody has asked for it yet. */
  waitsFor(model: URL): boolean {
    return model.href === this.#model.href && this.#client === undefined;
  }

  /** Waits for the user to ask for the model; called again when more is known of it. */
  offer(survey: Survey | undefined): void {
    showOffer(this.#model.origin === location.origin ? undefined : modelName(this.#model), survey);
    hideProgress();
    this.#enter("offered", survey?.missing);
  }

  /** Says why the model cannot be offered. */
  refuse(error: EaselError): void {
    this.#fail(error, "The model could not be found");
    this.#onLoadEnd(error);
  }

  /** Computes on another device from now on; a run ends on its own first, and nothing is fetched that nobody asked for. */
  turnToDevice(device: DeviceChoice): void {
    this.#device = device;
    const draws = this.#state === "running" || this.#state === "stopping";
    if (this.#client && !draws) void this.load();
  }

  /** Loads the model into a new engine. */
  async load(): Promise<void> {
    const device = this.#device;
    this.#loadedFor = device;
    this.#close();
    const client = new EngineClient();
    this.#client = client;
    this.#stop = new AbortController();
    this.#enter("loading");
    hideError();
    showStatus("Loading the engine");
    showProgress("");
    const model = this.#model;
    try {
      const canvas = freshCanvas();
      this.#replay.canvasGone();
      const f16 = allowsF16(new URL(location.href));
      const [token, files] = [tokenFor(model), givenFiles(model)];
      const params = { device, f16, model: model.href, token, files, quant: quantFor(model), canvas };
      const progress = new LoadProgress(isLocal(model));
      const onEvent = (event: LoadEvent) => {
        const state = event.type === "prepare" ? "loading" : "downloading";
        if (state !== this.#state) this.#enter(state);
        progress.show(event);
      };
      const options = { onEvent, signal: this.#stop.signal, transfer: [canvas] };
      const loaded = await client.request("load", params, options);
      adoptModel(loaded.info);
      offerSettings(loaded.info);
      adoptNegativeNote(loaded.info);
      showDevice(loaded);
      showStatus("Ready");
      hideProgress();
      this.#enter("ready");
      this.#counter.attach(client);
      this.#askToKeep();
      this.#onLoadEnd();
      if (this.#wished) void this.#generate();
    } catch (error) {
      if (client !== this.#client) return;
      this.#wished = false;
      this.#fail(error, "The model could not be loaded");
      this.#onLoadEnd(asEaselError(error));
    }
  }

  /** Asks that the model stay when the browser needs room; where it may go, it is fetched again. */
  #askToKeep(): void {
    if (this.#askedToKeep) return;
    this.#askedToKeep = true;
    navigator.storage.persist().catch(() => {});
  }

  /** What the primary button does in the present state. */
  press(): void {
    if (isWaiting()) return;
    const actions: Record<State, () => unknown> = {
      offered: () => this.#loadAndDraw(),
      failed: () => this.load(),
      downloading: () => this.#stop?.abort(),
      ready: () => this.#generate(),
      running: () => this.stop(),
      loading: () => this.#giveUpLoading(),
      // A step may take minutes: the engine ends with it, and the model is loaded again.
      stopping: () => this.load(),
    };
    actions[this.#state]();
  }

  /** Draws, as soon as the model is here; a run that is going on goes on. */
  generate(): void {
    if (this.#state === "ready") void this.#generate();
    else if (this.#state === "offered" || this.#state === "failed") this.#loadAndDraw();
    else this.#wished ||= this.#state === "loading" || this.#state === "downloading";
  }

  /** Whoever has said what to draw need not say twice that it be drawn. */
  #loadAndDraw(): void {
    this.#wished = prompt.value !== "";
    void this.load();
  }

  /** Lets go of all LoRAs, so that they can be deleted. */
  async releaseLoras(): Promise<void> {
    await this.#client?.request("useLoras", { loras: [] });
  }

  /** Asks a run to end after the step it is at. */
  stop(): void {
    if (this.#state !== "running") return;
    this.#enter("stopping");
    this.#stop?.abort();
  }

  /** Ends the engine and what it is doing; nobody hears of that any more. */
  #close(): void {
    const client = this.#client;
    this.#client = undefined;
    client?.close();
  }

  #giveUpLoading(): void {
    this.#wished = false;
    this.#close();
    showStatus("Loading was cancelled");
    hideProgress();
    this.#enter("failed");
  }

  async #generate(): Promise<void> {
    this.#wished = false;
    const params = readForm();
    const client = this.#client;
    if (!params || !client) return;
    hideError();
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    this.#enter("running");
    try {
      await client.request("useLoras", { loras: await this.#loras.namedIn(params.prompt) });
      const finished = await stayAwake(() => draw(client, params, pictureCount(), this.#replay, signal));
      if (finished > 0) noteUsedSeed(params.seed);
      this.#enter("ready");
    } catch (error) {
      if (client !== this.#client) return;
      this.#fail(error, "The picture could not be drawn");
    }
    if (this.#device !== this.#loadedFor) void this.load();
  }

  #fail(thrown: unknown, status: string): void {
    const error = asEaselError(thrown);
    const drawing = this.#state === "running" || this.#state === "stopping";
    const again = !drawing || error.fatal;
    if (drawing) endPicture();
    showError(error);
    showStatus(status);
    hideProgress();
    this.#enter(again ? "failed" : "ready");
  }

  #enter(state: State, bytes?: number): void {
    this.#state = state;
    showState(state, bytes);
  }
}
