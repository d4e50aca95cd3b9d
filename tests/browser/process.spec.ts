// "See how it works" and several pictures of one run, with the scripted engine.
import { type EaselPage, expect, site, test } from "./easel_page.ts";
import { SCRIPTED_MODEL, SCRIPTED_SIZE } from "./scripted_model.ts";

const THE_PICTURE = `The picture, ${SCRIPTED_MODEL.width} by ${SCRIPTED_MODEL.height} pixels`;
const DIM_GREY = [105, 105, 105];
const TEAL = [0, 128, 128];

async function open(easel: EaselPage): Promise<void> {
  await easel.page.goto(site("scripted", "?device=cpu"));
  await easel.ready();
  await easel.type("a star");
}

const scrubber = ({ page }: EaselPage) => page.getByRole("slider", { name: "From noise to picture" });

/** What the scrubber says. */
async function said(easel: EaselPage, text: string | RegExp): Promise<void> {
  await expect(scrubber(easel)).toHaveAttribute("aria-valuetext", text);
}

/** The colour of what lies over the canvas; `undefined` while the canvas itself is to be seen. */
function colourOver({ page }: EaselPage): Promise<number[] | undefined> {
  return page.locator("#over").evaluate((over: HTMLCanvasElement) => {
    const data = over.hidden ? undefined : over.getContext("2d")?.getImageData(5, 5, 1, 1).data;
    return data && [...data].slice(0, 3);
  });
}

test("the scrubber goes by keyboard between noise and picture, and says where it is", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await easel.set({ Seed: "7" });
  await expect(page.locator("#scrubber")).toBeHidden();
  await easel.draw();
  await said(easel, THE_PICTURE);
  await expect(page.locator("#filmstrip canvas")).toHaveCount(10);
  await expect.poll(() => colourOver(easel)).toEqual(TEAL);
  await scrubber(easel).focus();
  await page.keyboard.press("ArrowLeft");
  await said(easel, "Step 8 of 8, sigma 1.8, time 125");
  await page.keyboard.press("Home");
  await said(easel, "Noise, from the seed 7");
  expect(await colourOver(easel)).toEqual(DIM_GREY);
  await page.keyboard.press("ArrowRight");
  await said(easel, "Step 1 of 8, sigma infinite, time 999");
  await page.keyboard.press("End");
  await expect.poll(() => colourOver(easel)).toEqual(TEAL);
});

test("the explanation follows the scrubber and leads to its four stages", async ({ easel }) => {
  const { page } = easel;
  const text = page.locator("#moment-text");
  await open(easel);
  await expect(text).toContainText("begins as noise");
  await easel.draw();
  for (const [name, words] of [
    ["Noise", "chance"],
    ["First guess", "“a star”"],
    ["The loop", "large shapes"],
    ["The picture", "decoder"],
  ] as const) {
    const button = page.getByRole("button", { name, exact: true });
    await button.click();
    await expect(button).toHaveAttribute("aria-current", "step");
    await expect(text).toContainText(words);
  }
});

test("the filmstrip is scrubbed with the pointer", async ({ easel }) => {
  await open(easel);
  await easel.draw();
  const strip = easel.page.locator("#filmstrip");
  await strip.click({ position: { x: 3, y: 20 } });
  await said(easel, /^Noise/);
  await easel.page.mouse.down();
  await strip.hover({ position: { x: 90, y: 20 } });
  await said(easel, /^Step 1 of 8/);
});

test("who looks back while a picture is drawn stays there", async ({ easel }) => {
  await open(easel);
  await easel.set({ Steps: "40" });
  await easel.button.click();
  await said(easel, /^Step \d+ of 40/);
  await scrubber(easel).press("Home");
  await expect(easel.page.getByRole("status")).toHaveText("Done");
  await said(easel, /^Noise/);
});

test("of a long run every other step stays", async ({ easel }) => {
  await open(easel);
  await easel.set({ Steps: "104" });
  await easel.draw();
  await expect(scrubber(easel)).toHaveAttribute("max", /^[5-7]\d$/);
  await said(easel, THE_PICTURE);
  await scrubber(easel).press("Home");
  await scrubber(easel).press("ArrowRight");
  await said(easel, /^Step 1 of 104/);
  await scrubber(easel).press("ArrowRight");
  await said(easel, /^Step 2 of 104/);
  await scrubber(easel).press("ArrowRight");
  await said(easel, /^Step 4 of 104/);
});

test("the way from noise to picture is saved as an animation", async ({ easel }) => {
  await open(easel);
  await easel.set({ Seed: "3" });
  await easel.draw();
  const { name, bytes } = await easel.save(easel.page.getByRole("button", { name: "Save animation" }));
  expect(name).toBe("a-star-3-steps.png");
  const frames = await easel.page.evaluate(decodeAnimation, bytes.toString("base64"));
  expect(frames.length).toBe(10);
  expect(frames[0]).toEqual({ colour: DIM_GREY, width: 256, ms: 700 });
  expect(frames.at(-1)).toEqual({ colour: TEAL, width: 256, ms: 2500 });
});

interface DecodedFrame {
  colour: number[];
  width: number;
  ms: number;
}

/** Runs in the page: decodes an animated PNG with the browser's own decoder. */
async function decodeAnimation(base64: string): Promise<DecodedFrame[]> {
  const data = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const decoder = new ImageDecoder({ data, type: "image/png" });
  await decoder.tracks.ready;
  await decoder.completed;
  const frames: DecodedFrame[] = [];
  for (let frameIndex = 0; frameIndex < (decoder.tracks.selectedTrack?.frameCount ?? 0); frameIndex += 1) {
    const { image } = await decoder.decode({ frameIndex });
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    context?.drawImage(image, 0, 0);
    const colour = [...(context?.getImageData(0, 0, 1, 1).data ?? [])].slice(0, 3);
    frames.push({ colour, width: image.displayWidth, ms: (image.duration ?? 0) / 1000 });
    image.close();
  }
  return frames;
}

test("several pictures are drawn one after another and can be gone back to", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await easel.set({ Seed: "5", Steps: "3" });
  await page.getByLabel("Pictures", { exact: true }).selectOption("3");
  await easel.button.click();
  await expect(page.locator("#progress-text")).toHaveText(`${SCRIPTED_SIZE} · seeds 5 to 7`);
  const pictures = page.getByRole("list", { name: "Pictures of this run" }).getByRole("button");
  await expect(pictures).toHaveCount(3);
  await expect(pictures.last()).toHaveAttribute("aria-pressed", "true");
  expect((await easel.save()).name).toBe("a-star-7.png");
  await page.getByRole("button", { name: "Picture 1, seed 5" }).click();
  expect((await easel.save()).name).toBe("a-star-5.png");
  expect(await colourOver(easel)).toEqual(TEAL);
  await scrubber(easel).press("Home");
  await said(easel, "Noise, from the seed 5");
  await page.reload();
  await easel.ready();
  await expect(page.getByLabel("Pictures", { exact: true })).toHaveValue("3");
});

test("Stop ends all pictures of a run", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await easel.set({ Steps: "12" });
  await page.getByLabel("Pictures", { exact: true }).selectOption("8");
  await easel.button.click();
  await expect(page.getByRole("status")).toHaveText("Drawing picture 2 of 8");
  await page.keyboard.press("Escape");
  await expect(page.getByRole("status")).toHaveText("Stopped");
  await expect(page.locator("#progress-text")).toHaveText("after 1 of 8 pictures");
  await expect(page.locator("#series button")).toHaveCount(1);
});
