import { fillChips } from "./chips.ts";
import { element } from "./elements.ts";

const area = element("examples-area", HTMLElement);

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

/** Offers the examples as buttons that fill the prompt. */
export function showExamples(choose: (prompt: string) => void): void {
  fillChips(element("examples", HTMLUListElement), EXAMPLES, (at) => choose(EXAMPLES[at] ?? ""));
  area.hidden = false;
}

export function hideExamples(): void {
  area.hidden = true;
}
