import { element } from "./elements.ts";

/** Opens a panel as it was left the last time; `first` says how it is on a first visit. */
export function keepOpen(id: string, first: boolean): void {
  const panel = element(id, HTMLDetailsElement);
  const key = `easel.open ${id}`;
  try {
    const kept = localStorage.getItem(key);
    panel.open = kept === null ? first : kept === "true";
  } catch {
    panel.open = first;
  }
  panel.addEventListener("toggle", () => {
    try {
      localStorage.setItem(key, String(panel.open));
    } catch {
      // Without storage it is opened as on a first visit.
    }
  });
}
