import { BUNDLED_GUIDANCE } from "../shared/bundled_model.ts";
import type { ModelInfo } from "../shared/protocol.ts";
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

/** What the bundled model says of itself, with the guidance that suits it. */
export function withStarterDefaults(info: ModelInfo): ModelInfo {
  return { ...info, guidance_scale: BUNDLED_GUIDANCE };
}

/** Offers the examples as buttons that fill the prompt. */
export function showExamples(choose: (prompt: string) => void): void {
  fillChips(element("examples", HTMLUListElement), EXAMPLES, (at) => choose(EXAMPLES[at] ?? ""));
  area.hidden = false;
}

export function hideExamples(): void {
  area.hidden = true;
}
