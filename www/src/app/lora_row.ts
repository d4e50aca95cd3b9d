import { fileSize } from "../shared/pace.ts";
import type { ModelSummary } from "../shared/protocol.ts";
import { button, deleteButton, make, replaceButtons } from "./make.ts";

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
  readonly item: HTMLLIElement;
  readonly name: string;
  readonly #actions: LoraActions;
  readonly #size = make("span");
  readonly #slider = make("input", { type: "range", min: "0", max: "1.5", step: "0.05", value: "0" });
  readonly #output = make("output");
  readonly #buttons = make("div", { className: "buttons" });

  constructor(name: string, actions: LoraActions) {
    this.name = name;
    this.#actions = actions;
    this.#slider.ariaLabel = `Strength of ${name}`;
    this.#slider.addEventListener("input", () => actions.strengthen(this.#slider.valueAsNumber));
    const title = make("p", { className: "label-row" }, name, this.#size);
    const strength = make("div", { className: "row" }, this.#slider, this.#output);
    this.item = make("li", {}, title, strength, this.#buttons);
  }

  show({ whole, size, kept }: ModelSummary): void {
    this.#size.textContent = whole ? fileSize(size) : `${fileSize(kept)} of ${fileSize(size)}`;
    this.#slider.disabled = !whole;
    const remove = deleteButton(() => this.#actions.delete());
    const { finish } = this.#actions;
    replaceButtons(this.#buttons, ...(whole || !finish ? [] : [button("Finish", finish)]), remove);
  }

  /** The prompt may say more than the slider can. */
  showStrength(strength: number): void {
    this.#slider.value = String(strength);
    this.#output.textContent = strength === 0 ? "off" : String(strength);
  }
}
