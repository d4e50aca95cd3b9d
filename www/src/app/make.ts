type Content = Node | string;

const SVG = "http://www.w3.org/2000/svg";

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

/** A drawing of `index.html`, by the end of its id. */
export function glyph(name: string): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "glyph");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#glyph-${name}`);
  svg.append(use);
  return svg;
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

/** A button for what cannot be undone: the first press asks, the second one does it. */
export function deleteButton(act: () => void): HTMLButtonElement {
  const made = button("Delete", () => {
    if (made.dataset.sure) return act();
    made.dataset.sure = "true";
    made.textContent = "Delete for good?";
  });
  return made;
}

/** Puts buttons in the place of others; the keyboard's focus stays on the one of that name, or goes to one near it. */
export function replaceButtons(row: HTMLElement, ...buttons: HTMLElement[]): void {
  const focused = row.contains(document.activeElement) ? document.activeElement : undefined;
  row.replaceChildren(...buttons);
  if (!focused) return;
  const same = buttons.find(({ textContent }) => textContent === focused.textContent);
  (same ?? buttons[0] ?? row.parentElement?.querySelector("button"))?.focus();
}
