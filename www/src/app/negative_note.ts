import type { ModelInfo } from "../shared/protocol.ts";
import { element } from "./elements.ts";
import { fieldValue, onFormChange } from "./form.ts";

const note = element("negative-note", HTMLElement);

/** Says beside a negative prompt that it has no effect: without guidance a model is not asked for it. */
export function setUpNegativeNote(): void {
  onFormChange(() => {
    note.hidden = fieldValue("negative_prompt") === "" || Number(fieldValue("guidance_scale")) > 1;
  });
}

/** What is said of a model: guidance is no help where a model was taught to do without. */
export function adoptNegativeNote({ guidance_scale }: ModelInfo): void {
  note.textContent = guidance_scale > 1 ? "needs a guidance above 1" : "this model takes none";
}
