import { element } from "./elements.ts";

const dialog = element("shortcuts", HTMLDialogElement);

/** Ctrl/⌘+Enter generates, Esc stops, `?` lists the shortcuts. */
export function setUpShortcuts(generate: () => void, stop: () => void): void {
  element("help", HTMLButtonElement).addEventListener("click", () => dialog.showModal());
  document.addEventListener("keydown", (event) => {
    // Inside the list, keys are the browser's: Esc closes it.
    if (dialog.open) return;
    if (event.key === "Escape") stop();
    if (event.key === "?" && !isTextField(event.target)) dialog.showModal();
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    generate();
  });
}

function isTextField(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && target.matches("textarea, select, input:not([type=range], [type=radio])")
  );
}
