// The moments of a picture's way from noise, and what is said about them.
import type { GenerateParams } from "../../shared/protocol.ts";

/** One moment: what the canvas showed after it. */
export type Moment =
  | { kind: "noise" }
  | { kind: "step"; index: number; total: number; timestep: number; sigma: number }
  | { kind: "picture"; width: number; height: number };

/** The four parts of the way, as they are named above the explanation. */
export const STAGES = ["Noise", "First guess", "The loop", "The picture"] as const;

const LONGEST_QUOTE = 60;
/** Up to this share of the steps, what is large settles; after it, what is small. */
const EARLY = 0.5;

/** Which of `STAGES` a moment belongs to. */
export function stageOf(moment: Moment): number {
  if (moment.kind === "noise") return 0;
  if (moment.kind === "picture") return 3;
  return moment.index === 1 ? 1 : 2;
}

/** "Step 7 of 20, sigma 3.1, time 540". */
export function factsOf(moment: Moment, { seed }: GenerateParams): string {
  if (moment.kind === "noise") return `Noise, from the seed ${seed}`;
  if (moment.kind === "picture") return `The picture, ${moment.width} by ${moment.height} pixels`;
  const { index, total, timestep, sigma } = moment;
  return `Step ${index} of ${total}, sigma ${sigmaText(sigma)}, time ${Math.round(timestep)}`;
}

function sigmaText(sigma: number): string {
  return Number.isFinite(sigma) ? String(Number(sigma.toPrecision(2))) : "infinite";
}

/** What happens at a moment, in plain words and with the prompt's own. */
export function explanationOf(moment: Moment, { prompt, guidance_scale, seed }: GenerateParams): string {
  const words = quote(prompt);
  switch (moment.kind) {
    case "noise":
      return (
        `Every picture begins as chance: a small grid of random numbers, shown here as colours. ` +
        `They come from the seed ${seed} alone. None of ${words} is in them yet, ` +
        `and another seed leads to another picture.`
      );
    case "picture":
      return (
        `The numbers that remain are no picture yet, only a small sketch of one. ` +
        `A decoder paints it at its full size, ${moment.width} by ${moment.height} pixels, with all edges and textures.`
      );
    case "step":
      return moment.index === 1 ? guessText(words) : loopText(moment, words, guidance_scale);
  }
}

function guessText(words: string): string {
  return (
    `The model looks at the noise with ${words} in mind, and guesses which part of it is noise. ` +
    `A little of that is taken away. What is left is a blur: the first idea of where things and colours might be.`
  );
}

function loopText(
  { index, total }: { index: number; total: number },
  words: string,
  guidance: number,
): string {
  const now =
    index <= EARLY * total
      ? "Now the large shapes and the colours settle."
      : "The large shapes stand; now the edges and details follow.";
  const pull = guidance > 1 ? ` The guidance, ${guidance}, says how hard the words pull.` : "";
  return `The same again and again: look, compare with ${words}, take a little noise away. ${now}${pull}`;
}

function quote(prompt: string): string {
  const text = prompt.trim().replace(/\s+/g, " ");
  if (text === "") return "a prompt without words";
  const short = [...text].slice(0, LONGEST_QUOTE).join("");
  return `“${short}${short === text ? "" : "…"}”`;
}

/** What is said before there is a picture. */
export const BEFORE_ANY =
  "A picture begins as noise. Step by step the model takes away what does not look like your words, and in the end a " +
  "decoder paints the result. After a run you can go through its steps here.";
