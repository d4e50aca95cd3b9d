// What the bundled model draws, for those who do not know yet.
import things from "../../../models/starter/things.txt?raw";
import { fillChips } from "./chips.ts";
import { element } from "./elements.ts";

const area = element("examples-area", HTMLElement);
const dialog = element("things", HTMLDialogElement);

/** Stands in the place of a prompt, and is drawn when nothing else is typed. */
export const SUGGESTION = "a purple heart on an orange background";

/** Prompts that the bundled model draws well. */
const EXAMPLES = [
  "a red apple",
  "a sunflower",
  "a fox",
  "a panda",
  "a penguin",
  "a rainbow",
  "fire",
  "a mushroom",
  "a strawberry on a blue background",
  "a purple heart on a yellow background",
  "a frog on a pink background",
  "a red apple left of a green apple",
];

/** Offers the examples, and a list of all that the model knows, as buttons that fill the prompt. */
export function showExamples(choose: (prompt: string) => void): void {
  fillChips(element("examples", HTMLUListElement), EXAMPLES, (at) => choose(EXAMPLES[at] ?? ""));
  const names = things.trim().split("\n");
  fillChips(element("thing-list", HTMLUListElement), names, (at) => {
    dialog.close();
    choose(names[at] ?? "");
  });
  element("show-things", HTMLButtonElement).onclick = () => dialog.showModal();
  area.hidden = false;
}

export function hideExamples(): void {
  area.hidden = true;
}
