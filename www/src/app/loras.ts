// The LoRAs that this browser keeps, and how strongly the prompt asks for each.

import { EngineClient } from "../client/engine_client.ts";
import { builtPlaces } from "../shared/built_places.ts";
import { asEaselError, EaselError } from "../shared/errors.ts";
import { loraName, loraNames, loraStrength, withLora } from "../shared/lora_tags.ts";
import { checkpointName, isLocal, modelAddress } from "../shared/model_address.ts";
import { fileSize, TransferPace, timeLeft } from "../shared/pace.ts";
import type { DownloadEvent, LoraPlace, ModelSummary } from "../shared/protocol.ts";
import { element } from "./elements.ts";
import { prompt } from "./form.ts";
import { givenFiles } from "./given_files.ts";
import { LoraRow } from "./lora_row.ts";
import { sentence } from "./status.ts";
import { tokenFor } from "./token.ts";

const form = element("add-lora", HTMLFormElement);
const address = element("lora-address", HTMLInputElement);
const note = element("lora-note", HTMLElement);
const cancel = element("lora-cancel", HTMLButtonElement);
const list = element("lora-list", HTMLUListElement);
const panel = element("models", HTMLDetailsElement);

/** The part "LoRAs" of the panel "Models". */
export class LoraList {
  readonly #rows = new Map<string, LoraRow>();
  #client: EngineClient | undefined;
  #fetching: AbortController | undefined;
  readonly #release: () => Promise<void>;

  /** `release` makes the open model's engine let go of all LoRAs. */
  constructor(release: () => Promise<void>) {
    this.#release = release;
    panel.addEventListener("toggle", () => void this.#show());
    prompt.addEventListener("input", () => this.#showStrengths());
    cancel.addEventListener("click", () => this.#fetching?.abort());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const places = builtPlaces(new URL(location.href));
      void this.keep(() => modelAddress(address.value, places).href);
    });
  }

  /** Keeps the LoRA at an address, and says what came of it. */
  async keep(find: () => string): Promise<void> {
    note.textContent = "";
    try {
      const model = find();
      const url = new URL(model);
      await this.#checkName(model);
      const params = { model, token: tokenFor(url), files: givenFiles(url) };
      const pace = new TransferPace();
      this.#fetching = new AbortController();
      const { signal } = this.#fetching;
      cancel.hidden = false;
      const onEvent = (event: DownloadEvent) => {
        note.textContent = progressText(event, pace);
      };
      await this.#worker().request("keepLora", params, { onEvent, signal });
      address.value = "";
      note.textContent = "Kept. Move its slider to use it.";
    } catch (error) {
      note.textContent = sentence(asEaselError(error).message);
    }
    cancel.hidden = true;
    await this.#show();
  }

  /** Tags call a LoRA by its file's name, so that no two may share it. */
  async #checkName(model: string): Promise<void> {
    const name = nameOf(model);
    const kept = await this.#kept();
    if (kept.some((lora) => lora.address !== model && nameOf(lora.address) === name)) {
      const message = `there is another LoRA with the name ${name}: delete it, or give this file another name`;
      throw new EaselError("model_address", message);
    }
  }

  /** Where the LoRAs are that a prompt asks for; throws for a name that none of the kept ones has. */
  async namedIn(text: string): Promise<LoraPlace[]> {
    const names = loraNames(text);
    if (names.size === 0) return [];
    const kept = (await this.#kept()).map((lora) => ({ ...lora, name: nameOf(lora.address) }));
    return [...names].map((name) => {
      const lora = kept.find((lora) => lora.name === name && lora.whole);
      if (lora) return { name, address: lora.address };
      const known = kept.map((lora) => lora.name).join(", ") || "none";
      throw new EaselError(
        "bad_prompt",
        `the prompt asks for the LoRA ${name}, which this browser does not keep whole: there are ${known}`,
      );
    });
  }

  #worker(): EngineClient {
    this.#client ??= new EngineClient();
    return this.#client;
  }

  #kept(): Promise<ModelSummary[]> {
    return this.#worker().request("loras", {});
  }

  async #show(): Promise<void> {
    if (!panel.open) return;
    const kept = await this.#kept();
    const gone = new Set(this.#rows.keys());
    for (const lora of kept) {
      gone.delete(lora.address);
      this.#row(lora.address).show(lora);
    }
    for (const key of gone) this.#rows.delete(key);
    list.replaceChildren(...kept.map((lora) => this.#row(lora.address).item));
    this.#showStrengths();
  }

  #showStrengths(): void {
    for (const row of this.#rows.values()) row.showStrength(loraStrength(prompt.value, row.name));
  }

  #row(model: string): LoraRow {
    const known = this.#rows.get(model);
    if (known) return known;
    const name = nameOf(model);
    const row = new LoraRow(name, {
      strengthen: (strength) => {
        prompt.value = withLora(prompt.value, name, strength);
        prompt.dispatchEvent(new Event("input"));
      },
      finish: isLocal(new URL(model)) ? undefined : () => void this.keep(() => model),
      delete: () => void this.#delete(model, name),
    });
    this.#rows.set(model, row);
    return row;
  }

  async #delete(model: string, name: string): Promise<void> {
    try {
      await this.#release();
      await this.#worker().request("delete", { model });
      prompt.value = withLora(prompt.value, name, 0);
      prompt.dispatchEvent(new Event("input"));
      note.textContent = "";
    } catch (error) {
      note.textContent = sentence(asEaselError(error).message);
    }
    await this.#show();
  }
}

function progressText(event: DownloadEvent, pace: TransferPace): string {
  if (event.type === "waiting") return "Another tab is at work on this LoRA.";
  const { loaded, total } = event;
  const left = pace.secondsLeft(loaded, total, performance.now());
  return `Fetched ${fileSize(loaded)} of ${fileSize(total)}${timeLeft(left)}`;
}

function nameOf(model: string): string {
  return loraName(checkpointName(new URL(model)) ?? "");
}
