/** A row of buttons in a list, one for each text. */
export function fillChips(
  list: HTMLUListElement,
  names: readonly string[],
  press: (at: number) => void,
): HTMLButtonElement[] {
  const buttons = names.map((name, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "chip";
    button.textContent = name;
    button.addEventListener("click", () => press(at));
    return button;
  });
  list.replaceChildren(
    ...buttons.map((button) => {
      const item = document.createElement("li");
      item.append(button);
      return item;
    }),
  );
  return buttons;
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
    const input = document.createElement("input");
    input.type = "radio";
    input.name = fieldset.id;
    input.addEventListener("change", () => choose(at));
    return input;
  });
  const labels = choices.map(({ name, icon }, at) => {
    const label = document.createElement("label");
    label.append(inputs[at] ?? "", ...(icon ? [icon] : []), name);
    return label;
  });
  fieldset.querySelector(".choices")?.replaceChildren(...labels);
  return inputs;
}
