// The npm package on another site, from a CDN's origin and under a strict policy, with the scripted engine.
import { readFileSync } from "node:fs";
import type { Page } from "@playwright/test";
import { buildNpmPackage } from "../../tools/lib/npm_package.mjs";
import { expect, test } from "./easel_page.ts";
import { inRoot, putModel, Site } from "./embedding_site.ts";
import { SCRIPTED_MODEL } from "./scripted_model.ts";

const PACKAGE = inRoot("build", "npm-scripted");
const CORS = { "Access-Control-Allow-Origin": "*" };

declare global {
  /** The API, where the page has loaded it. */
  var easel: Promise<typeof import("../../www/src/client/index.ts")>;
}

interface Sites {
  /** Whose page it is. */
  host: Site;
  /** Serves the package. */
  cdn: Site;
  /** Serves the model. */
  models: Site;
}

let sites: Sites;

/** What a careful site allows: the CDN's scripts, no inline ones, no `eval`, and connections to two hosts. */
function policy({ cdn, models }: Omit<Sites, "host">): string {
  return [
    "default-src 'none'",
    `script-src 'self' ${cdn.origin} 'wasm-unsafe-eval'`,
    `worker-src blob: ${cdn.origin}`,
    `connect-src ${cdn.origin} ${models.origin}`,
    "style-src 'none'",
    "img-src 'self'",
    "require-trusted-types-for 'script'; trusted-types easel",
  ].join("; ");
}

test.beforeAll(async () => {
  test.setTimeout(120_000);
  await buildNpmPackage({ folder: PACKAGE, bindings: inRoot("tests", "browser", "scripted_engine.ts") });
  const cdn = (await Site.open(CORS)).folder("/easel/", `${PACKAGE}/`);
  const models = await Site.open(CORS);
  putModel(models);
  const host = await Site.open({ "Content-Security-Policy": policy({ cdn, models }) });
  host.put("/page.js", `import "${cdn.origin}/easel/dist/element.js";`);
  host.put("/api.js", `globalThis.easel = import("${cdn.origin}/easel/dist/easel.js");`);
  host.put("/poster.svg", readFileSync(inRoot("www", "public", "icon.svg")));
  sites = { host, cdn, models };
});

test.afterAll(() => {
  for (const site of Object.values(sites)) site.close();
});

test.beforeEach(() => {
  for (const site of Object.values(sites)) site.asked.length = 0;
});

/** Opens a page of the host with this body. */
async function open(page: Page, body: string, script = "page"): Promise<void> {
  const { host, models } = sites;
  const content = body.replaceAll("MODEL", `${models.origin}/model/`);
  host.put(
    "/some/where/index.html",
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>Host</title>` +
      `<main><h1>Host</h1>${content}</main><script type="module" src="/${script}.js"></script></html>`,
  );
  await page.goto(`${host.origin}/some/where/index.html`);
}

const fetched = () => [...sites.models.asked, ...sites.cdn.asked.filter((path) => path.includes("worker"))];

/** Notes the element's events as `globalThis.events`. */
function watchEvents(page: Page): Promise<void> {
  return page.locator("easel-image").evaluateAll((elements) => {
    const events: string[] = [];
    Object.assign(globalThis, { events });
    for (const element of elements) {
      for (const type of ["load", "progress", "step", "generate", "error"]) {
        element.addEventListener(type, (event) => {
          const { code } = (event as CustomEvent).detail;
          if (events.at(-1) !== type) events.push(type);
          if (type === "error") events.push(code);
        });
      }
    }
  });
}

const events = (page: Page) => page.evaluate(() => (globalThis as unknown as { events: string[] }).events);

test("an element draws when the visitor presses its button, and fetches nothing before", async ({
  easel,
}) => {
  const { page } = easel;
  await open(
    page,
    `<easel-image model="MODEL" prompt="a red apple" poster="/poster.svg" steps="3" controls></easel-image>`,
  );
  await watchEvents(page);
  await expect(page.getByRole("img", { name: "a red apple" })).toBeVisible();
  expect(await easel.violations()).toEqual([]);
  expect(fetched()).toEqual([]);
  await page.getByRole("button", { name: "Draw" }).click();
  await expect(page.getByRole("status")).toHaveText("Done");
  expect(await events(page)).toEqual(["progress", "load", "progress", "step", "progress", "generate"]);
  // Teal is what the scripted engine ends with.
  const pixel = await page.locator("easel-image canvas").evaluate((canvas: HTMLCanvasElement) => {
    return [...(canvas.getContext("2d")?.getImageData(canvas.width - 1, canvas.height - 1, 1, 1).data ?? [])];
  });
  expect(pixel).toEqual([0, 128, 128, 255]);
  await page.getByRole("button", { name: "Draw" }).press("Enter");
  await expect(page.getByRole("button", { name: "Stop" })).toBeVisible();
  await expect(page.getByRole("status")).toHaveText("Done");
});

test("elements share an engine and take turns, also an eager one without controls", async ({ easel }) => {
  const { page } = easel;
  const eager = `<easel-image model="MODEL" prompt="one" steps="3" loading="eager" alt=""></easel-image>`;
  await open(page, eager + eager.replace("one", "two"));
  for (const status of await page.getByRole("status").all()) await expect(status).toHaveText("Done");
  expect(sites.cdn.asked.filter((path) => path.endsWith("worker.js"))).toHaveLength(1);
  expect(page.workers()).toHaveLength(1);
});

test("an element that is moved goes on, one that is taken out stops and frees its engine", async ({
  easel,
}) => {
  const { page } = easel;
  await open(
    page,
    `<easel-image model="MODEL" prompt="a star" steps="200" controls></easel-image><p id="there"></p>`,
  );
  const running = () =>
    page.locator("easel-image").evaluate((element) => "running" in element && element.running);
  await page.getByRole("button", { name: "Draw" }).click();
  await expect(page.getByRole("status")).toHaveText("Drawing");
  await page.locator("easel-image").evaluate((element) => document.getElementById("there")?.append(element));
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)));
  expect(await running()).toBe(true);
  const name = await page.locator("easel-image").evaluate(async (element) => {
    const run = (element as HTMLElement & { generate(): Promise<unknown> })
      .generate()
      .catch(({ name }) => name);
    element.remove();
    return run;
  });
  expect(name).toBe("AbortError");
  await expect.poll(() => page.workers().length).toBe(0);
});

test("errors are told in words and by the event, and the next try works", async ({ easel }) => {
  const { page } = easel;
  await open(page, `<easel-image prompt="lose the device" model="MODELnowhere/" controls></easel-image>`);
  await watchEvents(page);
  const button = page.getByRole("button", { name: "Draw" });
  await button.click();
  await expect(page.getByRole("status")).toContainText("(file_not_found)");
  const set = (name: string, value: string) =>
    page.locator("easel-image").evaluate((element, pair) => Object.assign(element, pair), { [name]: value });
  await set("model", `${sites.models.origin}/model/`);
  await button.click();
  await expect(page.getByRole("status")).toContainText("(device_lost)");
  await set("prompt", "a star");
  await button.click();
  await expect(page.getByRole("status")).toHaveText("Done");
  const told = (await events(page)).filter((name) => name !== "progress" && name !== "step");
  expect(told).toEqual(["error", "file_not_found", "load", "error", "device_lost", "load", "generate"]);
});

test("attributes are text, whatever is in them, and properties reflect them", async ({ easel }) => {
  const { page } = easel;
  const hostile = `"><img src=x onerror=alert(1)><script>alert(2)</script>`;
  await open(page, `<easel-image id="e" controls></easel-image>`);
  const reflected = await page.locator("easel-image").evaluate((element, text) => {
    Object.assign(element, {
      prompt: text,
      negativePrompt: text,
      poster: text,
      steps: 7,
      guidance: 1.5,
      seed: 3,
    });
    element.setAttribute("width", "no number");
    const { steps, guidance, seed, width } = element as unknown as Record<string, unknown>;
    const [shadow] = [element.shadowRoot];
    return {
      attributes: ["prompt", "negative-prompt", "steps", "guidance"].map((name) =>
        element.getAttribute(name),
      ),
      numbers: [steps, guidance, seed, width],
      children: shadow?.querySelectorAll("img, script").length,
      alt: shadow?.querySelector("[role=img]")?.getAttribute("aria-label"),
    };
  }, hostile);
  expect(reflected).toEqual({
    attributes: [hostile, hostile, "7", "1.5"],
    numbers: [7, 1.5, 3, null],
    children: 1,
    alt: hostile,
  });
});

test("the API gives steps and a picture, in the order of asking", async ({ easel }) => {
  await open(easel.page, "", "api");
  const seen = await easel.page.evaluate(async (model) => {
    const { Easel } = await globalThis.easel;
    const stages = new Set<string>();
    const engine = await Easel.load(model, { onProgress: ({ stage }) => stages.add(stage) });
    const first = engine.generate({ prompt: "a star", steps: 3, seed: 5 });
    const order: string[] = [];
    const second = engine.generate({ prompt: "pears", steps: 1 }).result.then(() => order.push("second"));
    const steps: string[] = [];
    for await (const { index, total, picture } of first) {
      steps.push(`${index}/${total} ${picture instanceof ImageBitmap} ${picture.width}`);
      picture.close();
    }
    const { png, seed, width, height } = await first.result;
    order.push("first");
    await second;
    const tokens = await engine.tokens("a red apple");
    engine.dispose();
    return { stages: [...stages], steps, order, seed, type: png.type, size: [width, height], tokens };
  }, `${sites.models.origin}/model/`);
  const { width, height, token_limit } = SCRIPTED_MODEL;
  expect(seen).toEqual({
    stages: ["download", "weights"],
    steps: [1, 2, 3].map((index) => `${index}/3 true ${width}`),
    order: ["first", "second"],
    seed: 5,
    type: "image/png",
    size: [width, height],
    tokens: { count: 3, limit: token_limit },
  });
});

test("a model loads from a host of another origin that compresses its texts", async ({ easel }) => {
  sites.models.compresses = true;
  try {
    await open(easel.page, "", "api");
    const pipeline = await easel.page.evaluate(async (model) => {
      const { Easel } = await globalThis.easel;
      const engine = await Easel.load(model);
      engine.dispose();
      return engine.info.pipeline;
    }, `${sites.models.origin}/model/`);
    expect(pipeline).toBe("StableDiffusionPipeline");
  } finally {
    sites.models.compresses = false;
  }
});

test("the API fetches LoRAs for the pictures that ask for them, once", async ({ easel }) => {
  const lora = readFileSync(inRoot("tests", "goldens", "loras", "sd1-old.safetensors"));
  sites.models.put("/style.safetensors", lora);
  await open(easel.page, "", "api");
  const seen = await easel.page.evaluate(async (origin) => {
    const { Easel } = await globalThis.easel;
    const engine = await Easel.load(`${origin}/model/`);
    const loras = [{ source: `${origin}/style.safetensors`, strength: 0.8 }];
    const draw = async (options: object) => {
      const { png, warnings } = await engine.generate({ prompt: "a star", steps: 1, ...options }).result;
      const [text] = (await png.text()).match(/a star.*/) ?? [];
      return { text, warnings };
    };
    const pictures = [await draw({ loras })];
    await fetch(`${origin}/the-rest`);
    pictures.push(await draw({}), await draw({ loras }));
    const wrong = await draw({ loras: [{ source: `${origin}/none.safetensors` }] }).catch(({ code }) => code);
    engine.dispose();
    return { pictures, wrong };
  }, sites.models.origin);
  const styled = {
    text: "a star <lora:style:0.8>",
    warnings: ["the LoRA style is of style.safetensors"],
  };
  expect(seen).toEqual({
    pictures: [styled, { text: "a star", warnings: [] }, styled],
    wrong: "file_not_found",
  });
  const rest = sites.models.asked.slice(sites.models.asked.indexOf("/the-rest") + 1);
  expect(rest.filter((path) => path === "/style.safetensors")).toEqual([]);
});

test("the API starts from a picture of any size and kind, where a mask says so", async ({ easel }) => {
  await open(easel.page, "", "api");
  const colours = await easel.page.evaluate(async (model) => {
    const { Easel } = await globalThis.easel;
    const engine = await Easel.load(model);
    const painted = (width: number, ...rectangle: [number, number, number, number]) => {
      const canvas = new OffscreenCanvas(width, width);
      const context = canvas.getContext("2d");
      if (context) context.fillStyle = "white";
      context?.fillRect(...rectangle);
      return canvas;
    };
    const image = await painted(200, 0, 0, 200, 200).convertToBlob();
    const mask = painted(32, 0, 0, 16, 32);
    const { png } = await engine.generate({ prompt: "a star", steps: 1, image, mask }).result;
    const context = new OffscreenCanvas(64, 64).getContext("2d");
    context?.drawImage(await createImageBitmap(png), 0, 0);
    const wrong = engine.generate({ prompt: "a star", image: new Blob(["no picture"]) }).result;
    const code = await wrong.then(
      () => "none",
      (error) => error.code,
    );
    engine.dispose();
    return [...[2, 61].map((x) => String(context?.getImageData(x, 32, 1, 1).data)), code];
  }, `${sites.models.origin}/model/`);
  // What is drawn anew is teal, from the scripted engine.
  expect(colours).toEqual(["0,128,128,255", "255,255,255,255", "bad_parameter"]);
});

test("the API's runs end by signal, by leaving the loop and by dispose, with stable errors", async ({
  easel,
}) => {
  await open(easel.page, "", "api");
  const errors = await easel.page.evaluate(async (model) => {
    const { Easel } = await globalThis.easel;
    const told: string[] = [];
    const note = async (promise: Promise<unknown>) => {
      told.push(
        await promise.then(
          () => "none",
          ({ name, code }) => `${name} ${code}`,
        ),
      );
    };
    await note(Easel.load(model, { signal: AbortSignal.abort() }));
    await note(Easel.load("https://user:word@example.org/"));
    const engine = await Easel.load(model);
    const stop = new AbortController();
    const running = engine.generate({ prompt: "a star", steps: 500, signal: stop.signal });
    const waiting = engine.generate({ prompt: "a star", signal: stop.signal });
    await note(
      (async () => {
        for await (const { index } of running) if (index === 2) stop.abort();
      })(),
    );
    await note(waiting.result);
    const left = engine.generate({ prompt: "a star", steps: 500 });
    for await (const { index } of left) if (index === 2) break;
    await note(left.result);
    await note(engine.generate({ prompt: "a (:" }).result);
    const last = engine.generate({ prompt: "a star", steps: 500 });
    for await (const { index } of last) if (index === 1) break;
    engine.dispose();
    await note(last.result);
    await note(engine.generate({ prompt: "a star" }).result);
    await note(engine.tokens("a star"));
    return told;
  }, `${sites.models.origin}/model/`);
  expect(errors).toEqual([
    "AbortError cancelled",
    "EaselError model_address",
    "AbortError cancelled",
    "AbortError cancelled",
    "AbortError cancelled",
    "EaselError bad_prompt",
    "AbortError cancelled",
    "EaselError disposed",
    "EaselError disposed",
  ]);
});

test("a picture that waits for its turn ends with its signal, and starts from what it was given", async ({
  easel,
}) => {
  await open(easel.page, "", "api");
  const found = await easel.page.evaluate(async (model) => {
    const { Easel } = await globalThis.easel;
    const engine = await Easel.load(model);
    const long = engine.generate({ prompt: "a star", steps: 500 });
    let isDrawing = true;
    const end = () => {
      isDrawing = false;
    };
    long.result.then(end, end);
    const bitmap = new OffscreenCanvas(64, 64);
    bitmap.getContext("2d")?.fillRect(0, 0, 64, 64);
    const image = bitmap.transferToImageBitmap();
    const given = engine.generate({ prompt: "a star", steps: 2, image });
    image.close();
    const stop = new AbortController();
    const waiting = engine.generate({ prompt: "a star", signal: stop.signal });
    stop.abort();
    const code = await waiting.result.then(
      () => "none",
      (error) => error.code,
    );
    const ended = { code, isDrawing };
    long.stop();
    const { width } = await given.result;
    engine.dispose();
    return { ...ended, width };
  }, `${sites.models.origin}/model/`);
  expect(found).toEqual({ code: "cancelled", isDrawing: true, width: SCRIPTED_MODEL.width });
});
