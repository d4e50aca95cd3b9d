// The models that this browser keeps: opened, finished, checked and deleted here. They have a worker of their own, so
// that a download goes on while a picture is drawn.

import { EngineClient } from "../client/engine_client.ts";
import { builtPlaces } from "../shared/built_places.ts";
import { asEaselError } from "../shared/errors.ts";
import { hubModel, modelName } from "../shared/model_address.ts";
import { fileSize } from "../shared/pace.ts";
import { element } from "./elements.ts";
import { readLocation } from "./location.ts";
import { type ModelActions, ModelRow } from "./model_row.ts";
import { sentence } from "./status.ts";
import { forgetToken, giveToken, tokenFor } from "./token.ts";

const panel = element("models", HTMLDetailsElement);
const form = element("open-model", HTMLFormElement);
const address = element("model-address", HTMLInputElement);
const token = element("token", HTMLInputElement);
const keepToken = element("keep-token", HTMLInputElement);
const tokenNote = element("token-note", HTMLElement);
const tokenText = element("token-text", HTMLElement);
const problem = element("model-problem", HTMLElement);
const list = element("model-list", HTMLUListElement);
const storage = element("storage", HTMLElement);

/** The panel "Models". */
export class ModelList {
  readonly #open: (name: string) => void;
  readonly #rows = new Map<string, ModelRow>();
  #client: EngineClient | undefined;
  #current: URL | undefined;

  /** `open` loads a model by what the user typed. */
  constructor(open: (name: string) => void) {
    this.#open = open;
    panel.addEventListener("toggle", () => this.refresh());
    element("forget-token", HTMLButtonElement).addEventListener("click", () => {
      if (this.#current) forgetToken(this.#current);
      this.#showToken();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  /** Notes which model the page is about. */
  setCurrent(model: URL): void {
    this.#current = model;
    address.value = shortName(model);
    this.#showToken();
  }

  /** Whether anything of a model is in this browser. */
  async keeps(model: URL): Promise<boolean> {
    this.#client ??= new EngineClient();
    const models = await this.#client.request("models", {}).catch(() => []);
    return models.some(({ address }) => address === model.href);
  }

  /** Shows what is kept now, when anybody can see it. */
  refresh(): void {
    if (panel.open) void this.#show();
  }

  #submit(): void {
    problem.textContent = "";
    try {
      const name = address.value.trim();
      if (token.value) this.#takeToken(name);
      this.#open(name);
    } catch (error) {
      problem.textContent = sentence(asEaselError(error).message);
    }
  }

  #takeToken(name: string): void {
    const page = new URL(location.href);
    page.searchParams.set("model", name);
    giveToken(readLocation(page).model, token.value.trim(), keepToken.checked);
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
      this.#row(model.address).show(model);
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
      open: () => this.#open(model),
      finish: (signal, onEvent) =>
        attempt(async (client) => {
          const params = { model, token: tokenFor(new URL(model)) };
          await client.request("finish", params, { signal, onEvent });
          return "";
        }),
      verify: (signal, onEvent) =>
        attempt(async (client) => {
          const damaged = await client.request("verify", { model }, { signal, onEvent });
          const names = damaged.join(", ");
          return names ? `Damaged, and to be fetched again: ${names}.` : "All that is here is intact.";
        }),
      delete: () =>
        attempt(async (client) => {
          await client.request("delete", { model });
          return "";
        }),
    };
  }
}

/** What leads to a model when it is typed: `owner/name` where that is enough, nothing for the page's own models. */
function shortName(model: URL): string {
  const { hub, modelBaseUrl, page } = builtPlaces(new URL(location.href));
  if (model.origin === page.origin) return "";
  const place = hubModel(model);
  const plain = place?.hub.href === hub.href && place.revision === "main" && place.folder === "";
  return plain && !modelBaseUrl ? modelName(model) : model.href;
}

async function showStorage(): Promise<void> {
  const { usage, quota } = await navigator.storage.estimate();
  if (usage === undefined || quota === undefined) return;
  storage.textContent = `${fileSize(usage)} are in use of the ${fileSize(quota)} that this browser allows the page.`;
}
