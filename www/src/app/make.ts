type Content = Node | string;

/** An element with some of its properties, and contents; texts are texts. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...contents: Content[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...contents);
  return made;
}

/** A button that does not send a form. */
export function button(
  text: string,
  press: () => void,
  properties: Partial<HTMLButtonElement> = {},
): HTMLButtonElement {
  const made = make("button", { type: "button", className: "small", ...properties }, text);
  made.addEventListener("click", press);
  return made;
}
