import { element } from "./elements.ts";
import { fieldValue, onFormChange } from "./form.ts";

/** Says beside a negative prompt that it has no effect: without guidance a model is not asked for it. */
export function setUpNegativeNote(): void {
  const note = element("negative-note", HTMLElement);
  onFormChange(() => {
    note.hidden = fieldValue("negative_prompt") === "" || Number(fieldValue("guidance_scale")) > 1;
  });
}
