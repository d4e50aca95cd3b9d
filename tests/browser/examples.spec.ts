// The bundled model draws what its example prompts say, as far as colours tell, and is small.
import { type EaselPage, expect, site, test } from "./easel_page.ts";

/** Side of the small picture that is looked at. */
const SIDE = 32;

type Hue = "white" | "grey" | "black" | "red" | "orange" | "yellow" | "green" | "blue" | "purple" | "pink";
type Part = "frame" | "left" | "right" | "all";

/** Of each example the colours that must cover so much of a part of the picture, at least. */
const EXPECTED: Record<string, [Part, Hue[], number][]> = {
  "a red apple": [
    ["all", ["red"], 0.1],
    ["all", ["green"], 0.01],
  ],
  "a sunflower": [
    ["all", ["yellow"], 0.03],
    ["all", ["orange"], 0.05],
  ],
  "a fox": [["all", ["orange"], 0.15]],
  "a panda": [
    ["all", ["black"], 0.04],
    ["all", ["white", "grey", "black"], 0.97],
  ],
  "a penguin": [
    ["all", ["black"], 0.03],
    ["all", ["orange", "yellow"], 0.02],
  ],
  "a rainbow": [
    ["all", ["red", "orange"], 0.06],
    ["all", ["yellow"], 0.03],
    ["all", ["blue"], 0.03],
  ],
  fire: [["all", ["orange", "red"], 0.1]],
  "a mushroom": [["all", ["red", "orange"], 0.15]],
  "a strawberry on a blue background": [
    ["frame", ["blue"], 0.95],
    ["all", ["red"], 0.1],
  ],
  "a purple heart on a yellow background": [
    ["frame", ["yellow"], 0.95],
    ["all", ["purple"], 0.15],
  ],
  "a frog on a pink background": [
    ["frame", ["pink"], 0.95],
    ["all", ["yellow", "green"], 0.15],
  ],
  "a red apple left of a green apple": [
    ["left", ["red", "orange"], 0.1],
    ["left", ["white"], 0.6],
    ["right", ["green"], 0.1],
    ["right", ["white"], 0.6],
  ],
};

/** Most bytes of the packed model, which a first visit waits for. */
const MOST_BYTES = 25_000_000;

test("comes in few bytes", async ({ request }) => {
  const manifest = await request.get(site("shipped", "models/starter/manifest.json"));
  const { files } = (await manifest.json()) as { files: { size: number }[] };
  expect(files.length).toBeGreaterThan(0);
  expect(files.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(MOST_BYTES);
});

test("draws what its examples say", async ({ easel }) => {
  test.setTimeout(300_000);
  const { page } = easel;
  await page.goto(site("shipped", "?device=cpu"));
  await easel.ready();
  const examples = page.getByRole("list", { name: "Try" }).getByRole("button");
  expect(await examples.allTextContents()).toEqual(Object.keys(EXPECTED));
  for (const example of await examples.all()) {
    const prompt = (await example.textContent()) ?? "";
    await example.click();
    await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue(prompt);
    await easel.set({ Seed: "4" });
    await easel.draw();
    const hues = await drawnHues(easel);
    for (const [part, wanted, least] of EXPECTED[prompt] ?? []) {
      const inPart = hues.filter((_, at) => isIn(part, at % SIDE, Math.floor(at / SIDE)));
      const share = inPart.filter((hue) => wanted.includes(hue)).length / inPart.length;
      expect(share, `${prompt}: ${wanted.join(" or ")} of ${part}`).toBeGreaterThanOrEqual(least);
    }
  }
});

function isIn(part: Part, x: number, y: number): boolean {
  const atEdge = Math.min(x, y, SIDE - 1 - x, SIDE - 1 - y) === 0;
  return { all: true, frame: atEdge, left: x < SIDE / 2, right: x >= SIDE / 2 }[part];
}

/** Names of the colours of the picture that can be downloaded, row by row. */
async function drawnHues({ download }: EaselPage): Promise<Hue[]> {
  const pixels = await download.evaluate(async (link: HTMLAnchorElement, side) => {
    const image = new Image();
    image.src = link.href;
    await image.decode();
    const context = new OffscreenCanvas(side, side).getContext("2d");
    if (!context) throw new Error("no 2D canvas");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, side, side);
    return [...context.getImageData(0, 0, side, side).data];
  }, SIDE);
  const channel = (pixel: number, of: number) => pixels[4 * pixel + of] ?? 0;
  return Array.from({ length: SIDE * SIDE }, (_, i) => hue(channel(i, 0), channel(i, 1), channel(i, 2)));
}

/** Where the hues that have a name end, in degrees. */
const HUES: [number, Hue][] = [
  [15, "red"],
  [45, "orange"],
  [70, "yellow"],
  [170, "green"],
  [255, "blue"],
  [315, "purple"],
  [352, "pink"],
];

function hue(red: number, green: number, blue: number): Hue {
  const [most, least] = [Math.max(red, green, blue), Math.min(red, green, blue)];
  const range = most - least;
  if (range < 40) return most > 200 ? "white" : most < 90 ? "black" : "grey";
  const sixth =
    most === red
      ? (green - blue) / range
      : most === green
        ? 2 + (blue - red) / range
        : 4 + (red - green) / range;
  const degrees = (60 * sixth + 360) % 360;
  return HUES.find(([end]) => degrees < end)?.[1] ?? "red";
}
