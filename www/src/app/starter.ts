import type { ModelInfo } from "../shared/protocol.ts";
import { element } from "./elements.ts";

/** Prompts that the bundled model draws well. */
const EXAMPLES = [
  "a purple heart on an orange background",
  "a red apple",
  "a green apple",
  "a star",
  "a sunflower on a pink background",
  "cherries",
  "a deciduous tree on a purple background",
  "a drawing of an automobile on a green background",
  "a dog face on a yellow background",
  "a drawing of a penguin",
  "a drawing of a sailboat",
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
  const list = element("examples", HTMLUListElement);
  list.replaceChildren(
    ...EXAMPLES.map((text) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "chip";
      button.textContent = text;
      button.addEventListener("click", () => choose(text));
      item.append(button);
      return item;
    }),
  );
  element("examples-area", HTMLElement).hidden = false;
}

export function hideExamples(): void {
  element("examples-area", HTMLElement).hidden = true;
}
