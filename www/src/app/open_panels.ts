import { element } from "./elements.ts";
import { keepText, recallText } from "./memory.ts";

/** Opens a panel as it was left the last time; `first` says how it is on a first visit. */
export function keepOpen(id: string, first: boolean): void {
  const panel = element(id, HTMLDetailsElement);
  const key = `easel.open ${id}`;
  panel.open = (recallText(key) ?? String(first)) === "true";
  panel.addEventListener("toggle", () => keepText(key, String(panel.open)));
}
