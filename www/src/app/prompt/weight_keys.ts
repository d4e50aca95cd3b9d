import { prompt } from "../form.ts";
import { reweigh } from "./weights.ts";

const CHANGE = 0.1;

/** Lets Ctrl/⌘ with an arrow change the weight of what is selected in the prompt. */
export function setUpWeightKeys(): void {
  prompt.addEventListener("keydown", (event) => {
    const change = { ArrowUp: CHANGE, ArrowDown: -CHANGE }[event.key];
    if (change === undefined || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const { value: text, selectionStart: start, selectionEnd: end } = prompt;
    const changed = reweigh({ text, start, end }, change);
    if (changed.text !== text) replaceText(changed.text);
    prompt.setSelectionRange(changed.start, changed.end);
  });
}

/** Writes as typing does, so that the browser can undo it; scripts have no other way to its history. */
function replaceText(text: string): void {
  prompt.select();
  if (document.execCommand("insertText", false, text)) return;
  prompt.value = text;
  prompt.dispatchEvent(new Event("input"));
}
