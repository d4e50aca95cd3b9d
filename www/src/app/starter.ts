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

/** Its scheduler's config says nothing of guidance; pictures are best with this. */
const GUIDANCE_SCALE = 4;

/** What the bundled model says of itself, with the guidance that suits it. */
export function withStarterDefaults(info: ModelInfo): ModelInfo {
  return { ...info, guidance_scale: GUIDANCE_SCALE };
}

/** Offers the examples as buttons that fill the prompt. */
export function showExamples(choose: (prompt: string) => void): void {
  fillChips(element("examples", HTMLUListElement), EXAMPLES, (at) => choose(EXAMPLES[at] ?? ""));
  area.hidden = false;
}

export function hideExamples(): void {
  area.hidden = true;
}
