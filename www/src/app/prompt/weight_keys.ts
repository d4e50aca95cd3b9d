import { element } from "../elements.ts";
import { prompt } from "../form.ts";
import { reweigh } from "./weights.ts";

const CHANGE = 0.1;

/** Lets Ctrl/⌘ with an arrow change the weight of what is selected in the prompts. */
export function setUpWeightKeys(): void {
  for (const area of [prompt, element("negative-prompt", HTMLTextAreaElement)]) {
    area.addEventListener("keydown", (event) => {
      const change = { ArrowUp: CHANGE, ArrowDown: -CHANGE }[event.key];
      if (change === undefined || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
      event.preventDefault();
      weigh(area, change);
    });
  }
}

function weigh(area: HTMLTextAreaElement, change: number): void {
  const { value: text, selectionStart: start, selectionEnd: end } = area;
  const changed = reweigh({ text, start, end }, change);
  if (changed.text !== text) replaceText(area, changed.text);
  area.setSelectionRange(changed.start, changed.end);
}

/** Writes as typing does, so that the browser can undo it; scripts have no other way to its history. */
function replaceText(area: HTMLTextAreaElement, text: string): void {
  area.select();
  if (document.execCommand("insertText", false, text)) return;
  area.value = text;
  area.dispatchEvent(new Event("input"));
}
