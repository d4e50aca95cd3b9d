// The shipped page with the real engine and the bundled model, as a new user meets it.
import { writeFileSync } from "node:fs";
import { type EaselPage, expect, pngSize, site, test } from "./easel_page.ts";
import { starterSide } from "./starter_model.ts";

const PROMPT = "a purple heart on an orange background";
const STEP_PATIENCE = 120_000;

async function open(easel: EaselPage, device: string): Promise<void> {
  await easel.page.goto(site("shipped", `?device=${device}`));
  await easel.ready();
}

// The GPU here is an imitation in software, so it draws fewer steps than the model asks for.
for (const { device, fewer } of [
  { device: "cpu", fewer: undefined },
  { device: "gpu", fewer: 3 },
]) {
  test(`draws a picture on the ${device}, every step of it on the canvas`, async ({ easel }) => {
    test.setTimeout(600_000);
    await open(easel, device);
    await easel.type(PROMPT);
    await easel.set({ Seed: "4", ...(fewer && { Steps: String(fewer) }) });
    const steps = Number(await easel.page.getByLabel("Steps").inputValue());
    const { frames, texts } = await easel.draw(500_000);
    await expect(easel.page.getByRole("status")).toHaveText("Done");
    expect(texts.filter((text) => /^\d+\/\d+ · .* left$/.test(text)).length).toBe(steps);
    // A busy machine skips frames of the screen; the filmstrip below has all of them.
    expect(new Set(frames).size).toBeGreaterThan(0.5 * steps);
    await easel.page.screenshot({ path: `test-results/product-${device}.png` });
    const { name, bytes } = await easel.save();
    expect(name).toBe("a-purple-heart-on-an-orange-background-4.png");
    expect(pngSize(bytes)).toEqual({ width: starterSide(), height: starterSide() });
    writeFileSync(`test-results/picture-${device}.png`, bytes);
    const colour = await meanColour(easel);
    expect(colour.corner.red).toBeGreaterThan(colour.corner.blue + 60);
    expect(colour.centre.blue).toBeGreaterThan(colour.centre.green + 30);
    // The noise, every step and the picture, all of them different and none of them blank.
    const film = await filmstrip(easel);
    expect(film.length).toBe(steps + 2);
    expect(new Set(film.map(({ pixels }) => pixels)).size).toBe(steps + 2);
    expect(film.filter(({ spread }) => spread < 20)).toEqual([]);
  });
}

/** The frames of the filmstrip: their pixels, and how far apart their darkest and lightest are. */
function filmstrip({ page }: EaselPage): Promise<{ pixels: string; spread: number }[]> {
  return page.locator("#filmstrip canvas").evaluateAll((tiles) =>
    tiles.map((tile) => {
      const canvas = new OffscreenCanvas(16, 16);
      const context = canvas.getContext("2d");
      if (!context || !(tile instanceof HTMLCanvasElement)) throw new Error("no 2D canvas");
      context.drawImage(tile, 0, 0, 16, 16);
      const { data } = context.getImageData(0, 0, 16, 16);
      const greens = data.filter((_, at) => at % 4 === 1);
      return { pixels: data.join(), spread: Math.max(...greens) - Math.min(...greens) };
    }),
  );
}

interface Colour {
  red: number;
  green: number;
  blue: number;
}

/** Mean colours of the finished picture: a corner is background, the centre is the thing itself. */
async function meanColour({ download }: EaselPage): Promise<{ corner: Colour; centre: Colour }> {
  return download.evaluate(async (link: HTMLAnchorElement) => {
    const image = new Image();
    image.src = link.href;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    if (!context) throw new Error("no 2D canvas");
    context.drawImage(image, 0, 0);
    const mean = (x: number, y: number, side: number) => {
      const { data } = context.getImageData(x, y, side, side);
      const channel = (offset: number) =>
        data.filter((_, at) => at % 4 === offset).reduce((sum, value) => sum + value, 0) / (side * side);
      return { red: channel(0), green: channel(1), blue: channel(2) };
    };
    const [small, half] = [Math.round(image.width / 6), Math.round(image.width / 2)];
    return { corner: mean(0, 0, small), centre: mean(half - small / 2, half - small / 2, small) };
  });
}

test("the same seed gives the same picture, another seed another", async ({ easel }) => {
  test.setTimeout(300_000);
  await open(easel, "cpu");
  await easel.type(PROMPT);
  const pictures: string[] = [];
  for (const seed of ["1", "1", "2"]) {
    await easel.set({ Steps: "2", Seed: seed });
    await easel.draw();
    pictures.push((await easel.save()).bytes.toString("base64"));
  }
  expect(pictures[0]).toBe(pictures[1]);
  expect(pictures[0]).not.toBe(pictures[2]);
});

test("Stop answers within a step, and the next picture can be drawn", async ({ easel }) => {
  test.setTimeout(300_000);
  await open(easel, "cpu");
  await easel.type(PROMPT);
  await easel.set({ Steps: "200" });
  await easel.button.click();
  const progress = easel.page.locator("#progress-text");
  await expect(progress).toHaveText(/^([2-9]|\d\d+)\//, { timeout: STEP_PATIENCE });
  const before = await easel.button.evaluate((button: HTMLButtonElement) => {
    const { textContent } = document.getElementById("progress-text") ?? {};
    button.click();
    return Number.parseInt(textContent ?? "", 10);
  });
  await expect(easel.page.getByRole("status")).toHaveText("Stopped", { timeout: STEP_PATIENCE });
  const after = Number((await progress.textContent())?.match(/^after (\d+) of 200 steps$/)?.[1]);
  // One step was under way when the button was pressed; the news of another may have been.
  expect(after - before).toBeLessThanOrEqual(2);
  await easel.set({ Steps: "1" });
  await easel.button.click();
  await expect(easel.download).toBeVisible({ timeout: STEP_PATIENCE });
});

test("the page leads to the licences of what it ships", async ({ easel: { page } }) => {
  await page.goto(site("shipped"));
  const href = await page.getByRole("link", { name: /^Licences/ }).getAttribute("href");
  const response = await page.request.get(new URL(href ?? "", page.url()).href);
  expect(response.headers()["content-type"]).toContain("text/plain");
  const text = await response.text();
  for (const work of [
    "@noble/hashes 2",
    "client-zip 2",
    "workbox-core 7",
    "burn 0.22",
    "wgpu 30",
    "wasm-bindgen 0.2",
  ]) {
    expect(text).toContain(`\n${work}`);
  }
  expect(text).toContain("Noto Emoji");
  expect(text).toContain("Permission is hereby granted, free of charge");
});

test("draws after a reload with the network off", async ({ easel, context }) => {
  test.setTimeout(300_000);
  await open(easel, "cpu");
  await easel.page.evaluate(async () => {
    await navigator.serviceWorker.ready;
  });
  await context.setOffline(true);
  await easel.page.reload();
  await easel.ready();
  await easel.type(PROMPT);
  await easel.set({ Steps: "2" });
  await easel.button.click();
  await expect(easel.download).toBeVisible({ timeout: STEP_PATIENCE });
});

test.describe("a first visit on a connection that need not save data", () => {
  test.use({ savesData: false });

  test("is enough to draw with the network off, with no press", async ({ easel, context }) => {
    test.setTimeout(300_000);
    await easel.page.goto(site("shipped", "?device=cpu"));
    await expect(easel.page.getByText("Ready for offline use.")).toBeVisible({ timeout: STEP_PATIENCE });
    // There is nothing to ask for any more.
    await expect(easel.button).toHaveText("Generate", { timeout: STEP_PATIENCE });
    await context.setOffline(true);
    await easel.page.reload();
    await expect(easel.button).toHaveText("Generate", { timeout: STEP_PATIENCE });
    await easel.type(PROMPT);
    await easel.set({ Steps: "2" });
    await easel.button.click();
    await expect(easel.download).toBeVisible({ timeout: STEP_PATIENCE });
  });
});

const UNET = "unet/diffusion_pytorch_model.safetensors";

test("weights that do not belong to the config are refused with the file's name", async ({ easel }) => {
  await easel.page.route("**/manifest.json", (route) => route.fulfill({ status: 404 }));
  await easel.page.route(`**/${UNET}`, async (route) => {
    const bytes = await (await route.fetch()).body();
    // The header's length, which says that the header is larger than the file.
    bytes.fill(0xff, 0, 6);
    await route.fulfill({ body: bytes, contentType: "application/octet-stream" });
  });
  await easel.page.goto(site("shipped", "?device=cpu"));
  await easel.get();
  await expect(easel.alert).toContainText(UNET, { timeout: STEP_PATIENCE });
  await expect(easel.alert).toContainText("bad_safetensors");
});

for (const { prompt, steps, code } of [
  { prompt: "a (red:abc) apple", steps: "2", code: "bad_prompt" },
  { prompt: "a (red:) apple", steps: "2", code: "bad_prompt" },
]) {
  test(`the prompt "${prompt}" is explained, and the next one is drawn`, async ({ easel }) => {
    test.setTimeout(180_000);
    await open(easel, "cpu");
    await easel.type(prompt);
    await easel.set({ Steps: steps });
    await easel.button.click();
    await expect(easel.alert).toContainText(code);
    await easel.type("a (red:1.2) apple");
    await easel.button.click();
    await expect(easel.download).toBeVisible({ timeout: STEP_PATIENCE });
    await expect(easel.alert).toBeHidden();
  });
}
