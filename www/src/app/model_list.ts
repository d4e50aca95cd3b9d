// The models that this browser keeps: opened, finished, checked, saved and deleted here. They have a worker of their own, so
// that a download goes on while a picture is drawn.

import { EngineClient } from "../client/engine_client.ts";
import { builtPlaces } from "../shared/built_places.ts";
import { BUNDLED } from "../shared/bundled_model.ts";
import { asEaselError } from "../shared/errors.ts";
import { hubModel, isLocal, modelName } from "../shared/model_address.ts";
import { fileSize } from "../shared/pace.ts";
import type { DownloadEvent, GivenFile, Survey } from "../shared/protocol.ts";
import { element } from "./elements.ts";
import { setUpFileOpeners } from "./file_openers.ts";
import { chooseFolder } from "./folder_picker.ts";
import { givenFiles, noteFiles } from "./given_files.ts";
import { readLocation, starterModel } from "./location.ts";
import type { LoraList } from "./loras.ts";
import { type ModelActions, ModelRow } from "./model_row.ts";
import { noteQuant } from "./quant_choice.ts";
import { saveFile } from "./save_file.ts";
import { sentence } from "./status.ts";
import { forgetToken, giveToken, tokenFor } from "./token.ts";

const panel = element("models", HTMLDetailsElement);
const more = element("model-more", HTMLDetailsElement);
const form = element("open-model", HTMLFormElement);
const address = element("model-address", HTMLInputElement);
const quant = element("model-quant", HTMLSelectElement);
const token = element("token", HTMLInputElement);
const keepToken = element("keep-token", HTMLInputElement);
const tokenNote = element("token-note", HTMLElement);
const tokenText = element("token-text", HTMLElement);
const problem = element("model-problem", HTMLElement);
const list = element("model-list", HTMLUListElement);
const storage = element("storage", HTMLElement);
const ownModel = element("own-model", HTMLElement);

/** The panel "Models". */
export class ModelList {
  readonly #open: (name: string) => void;
  readonly #loras: LoraList;
  readonly #onDelete: (address: string) => void;
  readonly #rows = new Map<string, ModelRow>();
  #client: EngineClient | undefined;
  #current: URL | undefined;

  /**
   * `open` loads a model by what the user typed; `loras` takes the LoRAs among the files that are given; `onDelete` hears of
   * models that the user has deleted.
   */
  constructor(open: (name: string) => void, loras: LoraList, onDelete: (address: string) => void) {
    this.#open = open;
    this.#loras = loras;
    this.#onDelete = onDelete;
    panel.addEventListener("toggle", () => this.refresh());
    element("forget-token", HTMLButtonElement).addEventListener("click", () => {
      if (this.#current) forgetToken(this.#current);
      this.#showToken();
    });
    element("open-own-model", HTMLButtonElement).addEventListener("click", () => open(BUNDLED));
    setUpFileOpeners((files) => void this.#give(files));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  /** Notes which model the page is about. */
  setCurrent(model: URL): void {
    this.#current = model;
    address.value = shortName(model);
    ownModel.hidden = model.href === starterModel().href;
    this.#showToken();
  }

  /** Shows where a token is given. */
  askForToken(): void {
    panel.open = more.open = true;
  }

  /** What is known of a model: what this browser keeps of it or, with `ask`, what its host says. */
  async survey(model: URL, ask: boolean): Promise<Survey | undefined> {
    this.#client ??= new EngineClient();
    const params = { model: model.href, token: tokenFor(model), files: givenFiles(model), ask };
    return (await this.#client.request("survey", params)) ?? undefined;
  }

  /** Fetches what is missing of a model. */
  async keep(model: URL, signal: AbortSignal, onEvent: (event: DownloadEvent) => void): Promise<void> {
    this.#client ??= new EngineClient();
    const params = { model: model.href, token: tokenFor(model), files: givenFiles(model) };
    await this.#client.request("finish", params, { signal, onEvent });
  }

  /** Shows what is kept now, when anybody can see it. */
  refresh(): void {
    if (panel.open) void this.#show();
  }

  #submit(): void {
    problem.textContent = "";
    try {
      const name = address.value.trim();
      const page = new URL(location.href);
      page.searchParams.set("model", name);
      const { model } = readLocation(page);
      if (token.value) this.#takeToken(model);
      noteQuant(model, quant.value);
      this.#open(name);
    } catch (error) {
      problem.textContent = sentence(asEaselError(error).message);
    }
  }

  /** Opens the model that files are, which are then copied into the browser. */
  async #give(files: Promise<GivenFile[]>): Promise<void> {
    problem.textContent = "";
    try {
      this.#client ??= new EngineClient();
      const found = await this.#client.request("recognise", { files: await files });
      noteFiles(new URL(found.address), found.files);
      const url = new URL(found.address);
      if (found.kind === "lora") {
        panel.open = true;
        await this.#loras.keep(() => found.address);
        return;
      }
      noteQuant(url, quant.value);
      this.#open(found.address);
    } catch (error) {
      panel.open = true;
      problem.textContent = sentence(asEaselError(error).message);
      problem.scrollIntoView({ block: "nearest" });
    }
  }

  #takeToken(model: URL): void {
    giveToken(model, token.value.trim(), keepToken.checked);
    token.value = "";
  }

  #showToken(): void {
    const model = this.#current;
    tokenNote.hidden = !model || tokenFor(model) === undefined;
    tokenText.textContent = model ? `A token for ${model.host} is in use.` : "";
  }

  async #show(): Promise<void> {
    this.#client ??= new EngineClient();
    const models = await this.#client.request("models", {});
    const gone = new Set(this.#rows.keys());
    for (const model of models) {
      gone.delete(model.address);
      this.#row(model.address).show(model, model.address === this.#current?.href);
    }
    for (const key of gone) this.#rows.delete(key);
    list.replaceChildren(...models.map((model) => this.#row(model.address).item));
    await showStorage();
  }

  #row(model: string): ModelRow {
    const row = this.#rows.get(model) ?? new ModelRow(this.#actions(model));
    this.#rows.set(model, row);
    return row;
  }

  #actions(model: string): ModelActions {
    const attempt = async (work: (client: EngineClient) => Promise<string>): Promise<string> => {
      this.#client ??= new EngineClient();
      const said = await work(this.#client).catch((error) => sentence(asEaselError(error).message));
      this.refresh();
      return said;
    };
    return {
      open: () => {
        noteQuant(new URL(model), "auto");
        this.#open(model);
      },
      finish: (signal, onEvent) =>
        attempt(async () => {
          await this.keep(new URL(model), signal, onEvent);
          return "";
        }),
      verify: (signal, onEvent) =>
        attempt(async (client) => {
          const damaged = await client.request("verify", { model }, { signal, onEvent });
          const names = damaged.join(", ");
          return names ? `Damaged, and to be fetched again: ${names}.` : "All that is here is intact.";
        }),
      save: async (signal, onEvent) => {
        const folder = await chooseFolder("readwrite");
        if (folder === "cancelled") return "";
        return attempt(async (client) => {
          const chosen = folder === "unsupported" ? undefined : folder;
          const saved = await client.request("save", { model, folder: chosen }, { signal, onEvent });
          if (saved.file) saveFile(saved.file, saved.name);
          return `Saved as ${saved.name}. Drop it on this page to open it again, here or on another device.`;
        });
      },
      delete: () =>
        attempt(async (client) => {
          await client.request("delete", { model });
          this.#onDelete(model);
          return "";
        }),
    };
  }
}

/**
 * What leads to a model when it is typed: `owner/name` where that is enough, nothing for the page's own models and for
 * those of this device.
 */
function shortName(model: URL): string {
  const { hub, modelBaseUrl, page } = builtPlaces(new URL(location.href));
  if (model.origin === page.origin || isLocal(model)) return "";
  const place = hubModel(model);
  const plain = place?.hub.href === hub.href && place.revision === "main" && place.folder === "";
  return plain && !modelBaseUrl ? modelName(model) : model.href;
}

async function showStorage(): Promise<void> {
  const { usage, quota } = await navigator.storage.estimate();
  if (usage === undefined || quota === undefined) return;
  storage.textContent = `${fileSize(usage)} are in use of the ${fileSize(quota)} that this browser allows the page.`;
}
