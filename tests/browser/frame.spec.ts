// The frame `embed.html` in a page of another origin, with the scripted engine.
import type { Page } from "@playwright/test";
import { expect, site, test } from "./easel_page.ts";
import { Site } from "./embedding_site.ts";
import { SCRIPTED_MODEL } from "./scripted_model.ts";

let host: Site;

test.beforeAll(async () => {
  host = await Site.open({
    "Content-Security-Policy": `default-src 'none'; frame-src ${new URL(site("scripted")).origin}`,
  });
});

test.afterAll(() => host.close());

interface Answer {
  easel: number;
  id: string | number | null;
  type: string;
  code?: string;
}

declare global {
  /** What the frame said. */
  var heard: Answer[];
}

/** Opens the host's page with the frame in it, and notes what the frame says. */
async function open(page: Page, fragment = "", sandbox = ""): Promise<void> {
  const address = `${site("scripted")}embed.html#${fragment}`;
  const attribute = sandbox && `sandbox="${sandbox}"`;
  host.put(
    "/",
    `<!doctype html><title>Host</title><iframe title="Easel" src="${address}" ${attribute}></iframe>`,
  );
  await page.addInitScript(() => {
    globalThis.heard = [];
    addEventListener("message", ({ data }) => globalThis.heard.push(data));
  });
  await page.goto(`${host.origin}/`);
  await expect(page.frameLocator("iframe").getByRole("heading", { name: "Easel" })).toBeAttached();
}

const saidSoFar = (page: Page) => page.evaluate(() => globalThis.heard);

/** Posts a message to the frame. */
function post(page: Page, message: unknown): Promise<void> {
  return page.evaluate((data) => frames[0]?.postMessage(data, "*"), message);
}

/** The answer that ends what a message began. */
async function answer(page: Page, id: string | number): Promise<Answer> {
  const ends = (type: string) => type === "picture" || type === "error";
  let found: Answer | undefined;
  await expect
    .poll(async () => (found = (await saidSoFar(page)).find((told) => told.id === id && ends(told.type))))
    .toBeDefined();
  if (!found) throw new Error("unreachable");
  return found;
}

test("a page in another origin has pictures drawn by messages", async ({ easel }) => {
  const { page } = easel;
  await open(page, "prompt=a+red+apple&steps=3", "allow-scripts allow-same-origin");
  await expect.poll(async () => (await saidSoFar(page))[0]).toEqual({ easel: 1, id: null, type: "ready" });
  await post(page, { easel: 1, id: "a", type: "generate", seed: 7 });
  const done = await answer(page, "a");
  const { width, height } = SCRIPTED_MODEL;
  expect(done).toMatchObject({ type: "picture", width, height, seed: 7 });
  const told = await page.evaluate(() => [
    ...new Set(globalThis.heard.map(({ type, id }) => `${type} ${id}`)),
    globalThis.heard
      .filter(({ type }) => type === "step")
      .every((step) => "picture" in step && step.picture instanceof ImageBitmap),
  ]);
  expect(told).toEqual(["ready null", "progress a", "step a", "picture a", true]);
  await expect(page.frameLocator("iframe").getByRole("img", { name: "a red apple" })).toBeVisible();
  await post(page, { easel: 1, id: 2, type: "generate", prompt: "a star", steps: 500 });
  await expect
    .poll(async () => (await saidSoFar(page)).some(({ id, type }) => id === 2 && type === "step"))
    .toBe(true);
  await post(page, { easel: 1, id: 3, type: "stop" });
  expect(await answer(page, 2)).toMatchObject({ type: "error", code: "cancelled" });
});

test("messages with one id are answered each, and as what they began", async ({ easel }) => {
  const { page } = easel;
  await open(page, "prompt=a+star&steps=500");
  await post(page, { easel: 1, id: "x", type: "generate" });
  await expect.poll(async () => (await saidSoFar(page)).some(({ type }) => type === "step")).toBe(true);
  await post(page, { easel: 1, id: "x", type: "generate", steps: 3 });
  const ends = async () => {
    const told = await saidSoFar(page);
    return told
      .filter(({ type }) => type === "picture" || type === "error")
      .map(({ id, type }) => [id, type]);
  };
  await expect.poll(ends).toHaveLength(2);
  expect(await ends()).toEqual([
    ["x", "error"],
    ["x", "picture"],
  ]);
  const ids = (await saidSoFar(page)).filter(({ type }) => type !== "ready").map(({ id }) => id);
  expect(new Set(ids)).toEqual(new Set(["x"]));
});

test("null is the model's own value, for texts too", async ({ easel }) => {
  const { page } = easel;
  await open(page, "prompt=a+red+apple&steps=2&sampler=pndm&alt=An+apple&negative-prompt=blurry");
  const own = { model: null, sampler: null, alt: null, negativePrompt: null, steps: 2, seed: null };
  await post(page, { easel: 1, id: 1, type: "generate", ...own });
  expect(await answer(page, 1)).toMatchObject({ type: "picture" });
  // With `pndm` there would be a step more.
  const steps = (await saidSoFar(page)).filter(({ type }) => type === "step");
  expect(steps).toHaveLength(2);
  await expect(page.frameLocator("iframe").getByRole("img", { name: "a red apple" })).toBeVisible();
});

test("a run that the visitor begins is told of to its end, also when it is stopped", async ({ easel }) => {
  const { page } = easel;
  await open(page, "prompt=a+star&steps=500");
  const visitor = page.frameLocator("iframe");
  const own = async (type: string) =>
    (await saidSoFar(page)).filter((told) => told.id === null && told.type === type);
  // From now on the frame knows whom to tell.
  await post(page, { easel: 1, id: 0, type: "stop" });
  await visitor.getByRole("button", { name: "Draw" }).click();
  await expect.poll(() => own("step")).not.toEqual([]);
  await visitor.getByRole("button", { name: "Stop" }).click();
  await expect.poll(() => own("error")).toMatchObject([{ code: "cancelled" }]);
  await visitor.getByRole("button", { name: "Draw" }).click();
  await expect(visitor.getByRole("button", { name: "Stop" })).toBeVisible();
  await post(page, { easel: 1, id: 1, type: "generate", steps: 2 });
  expect(await answer(page, 1)).toMatchObject({ type: "picture" });
  expect(await own("error")).toMatchObject([{ code: "cancelled" }, { code: "cancelled" }]);
  const told = await saidSoFar(page);
  // Nothing of a run comes after its end, under whatever name.
  expect(told.slice(told.findLastIndex(({ code }) => code === "cancelled") + 1)).toEqual(
    told.filter(({ id }) => id === 1),
  );
  expect(told.filter(({ id, type }) => id === 1 && type === "step")).toHaveLength(2);
});

test("hostile messages do nothing, and wrong ones are answered with the reason", async ({ easel }) => {
  const { page } = easel;
  await open(page, "prompt=a+star&steps=2");
  const hostile = [
    null,
    "generate",
    42,
    [],
    { type: "generate" },
    { easel: 1, type: "generate" },
    { easel: "1", id: 1, type: "generate" },
    { easel: 1, id: { toString: 1 }, type: "generate" },
    { easel: 1, id: "x".repeat(101), type: "generate" },
  ];
  for (const message of hostile) await post(page, message);
  const wrong = [
    { easel: 2, id: "version", type: "generate" },
    { easel: 1, id: "type", type: "constructor" },
    { easel: 1, id: "text", type: "generate", prompt: { html: 1 } },
    { easel: 1, id: "long", type: "generate", prompt: "a".repeat(20_001) },
    { easel: 1, id: "number", type: "generate", steps: Number.NaN },
    { easel: 1, id: "host", type: "generate", model: "https://elsewhere.example/model/" },
  ];
  for (const message of wrong) await post(page, message);
  const codes = await Promise.all(wrong.map(async ({ id }) => (await answer(page, id)).code));
  const bad = "bad_message";
  expect(codes).toEqual(["unsupported_version", bad, bad, bad, bad, "model_host"]);
  // Answers come in order: by now those of the hostile ones would be here.
  expect((await saidSoFar(page)).filter(({ type }) => type !== "error").map(({ type }) => type)).toEqual([
    "ready",
  ]);
  const markup = `<img src=x onerror="parent.postMessage(1,'*')">`;
  await post(page, { easel: 1, id: "markup", type: "generate", prompt: markup, alt: markup });
  expect(await answer(page, "markup")).toMatchObject({ type: "picture" });
  await expect(page.frameLocator("iframe").getByRole("img", { name: markup })).toBeVisible();
  expect(await saidSoFar(page)).not.toContain(1);
});

test("a frame listens to the origin that its address names and to its parent alone", async ({ easel }) => {
  const { page } = easel;
  await open(page, "prompt=a+star&steps=2&origin=https://other.example");
  await post(page, { easel: 1, id: 1, type: "generate" });
  const status = page.frameLocator("iframe").getByRole("status");
  // A message of the frame's own window, which is not its parent, comes after the one above.
  await page.frames()[1]?.evaluate(async () => {
    postMessage({ easel: 1, id: 2, type: "generate" }, "*");
    await new Promise((resolve) => addEventListener("message", resolve, { once: true }));
  });
  await expect(status).toHaveText("");
  expect(await saidSoFar(page)).toEqual([]);
  await page.frameLocator("iframe").getByRole("button", { name: "Draw" }).click();
  await expect(status).toHaveText("Done");
  expect(await saidSoFar(page)).toEqual([]);
});

test("a fault in the frame's address is told, and the frame hears a page that does better", async ({
  easel,
}) => {
  const { page } = easel;
  await open(page, `prompt=a+star&steps=2&model=https://elsewhere.example/model/&origin=${host.origin}`);
  const problem = page.frameLocator("iframe").getByRole("alert");
  await expect(problem).toContainText("(model_host)");
  await expect
    .poll(async () => (await saidSoFar(page)).map(({ id, type, code = "" }) => `${id} ${type} ${code}`))
    .toEqual(["null ready ", "null error model_host"]);
  await post(page, { easel: 1, id: 1, type: "generate" });
  expect(await answer(page, 1)).toMatchObject({ type: "error", code: "model_address" });
  await post(page, { easel: 1, id: 2, type: "generate", model: "models/starter/" });
  expect(await answer(page, 2)).toMatchObject({ type: "picture" });
  await expect(problem).toHaveText("");
});
