import { button, make } from "./make.ts";

/** A row of buttons in a list, one for each text. */
export function fillChips(
  list: HTMLUListElement,
  names: readonly string[],
  press: (at: number) => void,
): HTMLButtonElement[] {
  const chips = names.map((name, at) => button(name, () => press(at), { className: "chip" }));
  list.replaceChildren(...chips.map((chip) => make("li", {}, chip)));
  return chips;
}

/** What one of a row of choices shows: its text, and what stands above it. */
export interface Choice {
  name: string;
  icon?: HTMLElement;
}

/** Radio buttons in a fieldset's `.choices`; `choose` hears which one was taken. */
export function fillChoices(
  fieldset: HTMLElement,
  choices: readonly Choice[],
  choose: (at: number) => void,
): HTMLInputElement[] {
  const inputs = choices.map((_, at) => {
    const input = make("input", { type: "radio", name: fieldset.id });
    input.addEventListener("change", () => choose(at));
    return input;
  });
  const labels = choices.map(({ name, icon }, at) => make("label", {}, inputs[at] ?? "", icon ?? "", name));
  fieldset.querySelector(".choices")?.replaceChildren(...labels);
  return inputs;
}
