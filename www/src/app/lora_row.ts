import { fileSize } from "../shared/pace.ts";
import type { ModelSummary } from "../shared/protocol.ts";
import { button } from "./make.ts";

/** What can be done with a kept LoRA. */
export interface LoraActions {
  /** Sets its strength in the prompt; 0 leaves it out. */
  strengthen: (strength: number) => void;
  /** Fetches what is missing of it; absent where the user has to give the file again. */
  finish: (() => void) | undefined;
  delete: () => void;
}

/** A kept LoRA in the list. */
export class LoraRow {
  readonly item = document.createElement("li");
  readonly name: string;
  readonly #actions: LoraActions;
  readonly #size = document.createElement("span");
  readonly #slider = document.createElement("input");
  readonly #output = document.createElement("output");
  readonly #buttons = document.createElement("div");

  constructor(name: string, actions: LoraActions) {
    this.name = name;
    this.#actions = actions;
    const title = document.createElement("p");
    title.className = "label-row";
    title.append(name, this.#size);
    Object.assign(this.#slider, { type: "range", min: "0", max: "1.5", step: "0.05", value: "0" });
    this.#slider.setAttribute("aria-label", `Strength of ${name}`);
    this.#slider.addEventListener("input", () => actions.strengthen(this.#slider.valueAsNumber));
    const strength = document.createElement("div");
    strength.className = "row";
    strength.append(this.#slider, this.#output);
    this.#buttons.className = "buttons";
    this.item.append(title, strength, this.#buttons);
  }

  show({ whole, size, kept }: ModelSummary): void {
    this.#size.textContent = whole ? fileSize(size) : `${fileSize(kept)} of ${fileSize(size)}`;
    this.#slider.disabled = !whole;
    const remove = button("Delete", () => this.#actions.delete());
    const { finish } = this.#actions;
    this.#buttons.replaceChildren(...(whole || !finish ? [] : [button("Finish", finish)]), remove);
  }

  /** The prompt may say more than the slider can. */
  showStrength(strength: number): void {
    this.#slider.value = String(strength);
    this.#output.textContent = strength === 0 ? "off" : String(strength);
  }
}
