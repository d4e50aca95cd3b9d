import { fillChips } from "./chips.ts";
import { element } from "./elements.ts";

const area = element("examples-area", HTMLElement);

/** Prompts that the bundled model draws well. */
const EXAMPLES = [
  "a red apple",
  "a green apple",
  "a star",
  "a purple heart",
  "a sunflower",
  "cherries",
  "a deciduous tree",
  "a taxi",
];

/** Offers the examples as buttons that fill the prompt. */
export function showExamples(choose: (prompt: string) => void): void {
  fillChips(element("examples", HTMLUListElement), EXAMPLES, (at) => choose(EXAMPLES[at] ?? ""));
  area.hidden = false;
}

export function hideExamples(): void {
  area.hidden = true;
}
