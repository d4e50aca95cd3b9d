import { asEaselError } from "../shared/errors.ts";
import { isLocal, modelName } from "../shared/model_address.ts";
import { Pace } from "../shared/pace.ts";
import type {
  DeviceChoice,
  GenerateEvent,
  GenerateParams,
  LoadEvent,
  ModelInfo,
  Outcome,
} from "../shared/protocol.ts";
import { element } from "./elements.ts";
import { EngineClient } from "./engine_client.ts";
import { adoptModel, noteUsedSeed, prompt, readForm } from "./form.ts";
import { givenFiles } from "./given_files.ts";
import { allowsF16 } from "./location.ts";
import type { LoraList } from "./loras.ts";
import { beginPicture, endPicture, freshCanvas, offerDownload } from "./stage.ts";
import {
  hideError,
  hideProgress,
  showDevice,
  showError,
  showLoadEvent,
  showPreparation,
  showProgress,
  showStatus,
  showStep,
  showWarnings,
} from "./status.ts";
import { tokenFor } from "./token.ts";
import { TokenCounter } from "./token_counter.ts";

const LABELS = {
  offered: "Download",
  loading: "Loading…",
  downloading: "Pause",
  ready: "Generate",
  running: "Stop",
  stopping: "Stopping…",
  failed: "Load again",
} as const;
type State = keyof typeof LABELS;

/** After these the engine is not to be used again. */
const FATAL = new Set(["internal", "gpu", "device_lost", "out_of_memory"]);

const button = element("go", HTMLButtonElement);

/** The page's one engine and what it is doing. */
export class App {
  #model: URL;
  #device: DeviceChoice;
  #client: EngineClient | undefined;
  #state: State = "loading";
  #stop: AbortController | undefined;
  #askedToKeep = false;
  #tune: (info: ModelInfo) => ModelInfo;
  readonly #onLoadEnd: () => void;
  readonly #loras: LoraList;
  readonly #counter = new TokenCounter(prompt, element("token-count", HTMLElement));

  /** `onLoadEnd` is told whenever a load has ended, well or not; `loras` knows those that prompts may ask for. */
  constructor(
    model: URL,
    device: DeviceChoice,
    tune: (info: ModelInfo) => ModelInfo,
    onLoadEnd: () => void,
    loras: LoraList,
  ) {
    this.#model = model;
    this.#device = device;
    this.#tune = tune;
    this.#onLoadEnd = onLoadEnd;
    this.#loras = loras;
  }

  /** Waits for the user to ask for the model: a link alone should not fetch gigabytes. */
  offer(): void {
    showStatus(`${modelName(this.#model)} is not in this browser yet`);
    hideProgress();
    this.#enter("offered");
  }

  /** Loads another model in the place of this one; `tune` may change what it says of its defaults. */
  open(model: URL, tune: (info: ModelInfo) => ModelInfo): Promise<void> {
    this.#model = model;
    this.#tune = tune;
    return this.load();
  }

  /** Loads the model into a new engine. */
  async load(device: DeviceChoice = this.#device): Promise<void> {
    this.#device = device;
    this.#client?.close();
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
      const f16 = allowsF16(new URL(location.href));
      const [token, files] = [tokenFor(model), givenFiles(model)];
      const params = { device, f16, model: model.href, token, files, canvas };
      const onEvent = (event: LoadEvent) => {
        this.#enter(event.type === "prepare" ? "loading" : "downloading");
        showLoadEvent(event, isLocal(model));
      };
      const options = { onEvent, signal: this.#stop.signal, transfer: [canvas] };
      const loaded = await client.request("load", params, options);
      adoptModel(this.#tune(loaded.info));
      showDevice(loaded);
      showStatus("Ready");
      hideProgress();
      this.#enter("ready");
      this.#counter.attach(client);
      this.#askToKeep();
    } catch (error) {
      if (client === this.#client) this.#fail(error, "The model could not be loaded");
    }
    if (client === this.#client) this.#onLoadEnd();
  }

  /** Asks that the model stay when the browser needs room; where it may go, it is fetched again. */
  #askToKeep(): void {
    if (this.#askedToKeep) return;
    this.#askedToKeep = true;
    navigator.storage.persist().catch(() => {});
  }

  /** What the primary button does in the present state. */
  press(): void {
    if (this.#state === "ready") void this.#generate();
    else if (this.#state === "running") this.stop();
    else if (this.#state === "downloading") this.#stop?.abort();
    else if (this.#state === "failed" || this.#state === "offered") void this.load();
  }

  /** Draws, when nothing else is going on. */
  generate(): void {
    if (this.#state === "ready") void this.#generate();
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

  async #generate(): Promise<void> {
    const params = readForm();
    const client = this.#client;
    if (!params || !client) return;
    hideError();
    showWarnings([]);
    beginPicture(params.prompt, params.width, params.height);
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    this.#enter("running");
    showStatus("Reading the prompt");
    showProgress("");
    try {
      const loras = await this.#loras.namedIn(params.prompt);
      const notes = await client.request("useLoras", { loras });
      const onEvent = follow(notes);
      const stopped: Outcome = { type: "stopped", index: 0, total: params.steps };
      const outcome = signal.aborted
        ? stopped
        : await client.request("generate", params, { onEvent, signal });
      this.#end(outcome, params);
    } catch (error) {
      if (client === this.#client) this.#fail(error, "The picture could not be drawn");
    }
  }

  #end(outcome: Outcome, params: GenerateParams): void {
    endPicture();
    if (outcome.type === "finished") {
      noteUsedSeed(params.seed);
      offerDownload(outcome.png, params.prompt, params.seed);
      showStatus("Done");
      hideProgress(`${outcome.width}×${outcome.height} · seed ${params.seed}`);
    } else {
      showStatus("Stopped");
      hideProgress(`after ${outcome.index} of ${outcome.total} steps`);
    }
    this.#enter("ready");
  }

  #fail(thrown: unknown, status: string): void {
    const error = asEaselError(thrown);
    const again = this.#state === "loading" || this.#state === "downloading" || FATAL.has(error.code);
    endPicture();
    showError(error);
    showStatus(status);
    hideProgress();
    this.#enter(again ? "failed" : "ready");
  }

  #enter(state: State): void {
    if (state === this.#state) return;
    this.#state = state;
    button.textContent = LABELS[state];
    button.disabled = state === "loading" || state === "stopping";
    document.body.dataset.state = state;
  }
}

/** Shows a run's events as they come; its warnings after `notes`. */
function follow(notes: readonly string[]): (event: GenerateEvent) => void {
  let pace = new Pace(0, performance.now());
  return (event) => {
    if (event.type === "prepare") {
      showPreparation(event);
    } else if (event.type === "started") {
      pace = new Pace(event.total, performance.now());
      showStatus("Drawing");
      showWarnings([...notes, ...event.warnings]);
      showStep(0, event.total, undefined);
    } else if (event.type === "step") {
      pace.step(performance.now());
      showStep(event.index, event.total, pace.secondsLeft());
    } else {
      showStatus("Decoding the picture");
      showProgress("");
    }
  };
}
