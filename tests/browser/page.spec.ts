// The page itself, with the scripted engine: what is shown, kept and said.
import { type EaselPage, expect, site, test } from "./easel_page.ts";
import { SCRIPTED_MODEL, SCRIPTED_SIZE } from "./scripted_model.ts";

async function open(easel: EaselPage, query = "?device=cpu"): Promise<void> {
  await easel.page.goto(site("scripted", query));
  await easel.ready();
}

test("shows steps and time left, and says when it is done", async ({ easel }) => {
  await open(easel);
  await easel.type("a star");
  const { texts } = await easel.draw();
  const steps = texts.filter((text) => /^[1-8]\/8 · \d+\.\d s left$/.test(text));
  expect(steps.length).toBe(8);
  await expect(easel.page.getByRole("status")).toHaveText("Done");
  await expect(easel.button).toHaveText("Generate");
});

test("on a first visit the button offers the model and its size, and fetches it only then", async ({
  easel,
}) => {
  const fetched: string[] = [];
  easel.page.on("request", (request) => fetched.push(new URL(request.url()).pathname));
  await easel.page.goto(site("scripted", "?device=cpu"));
  await expect(easel.button).toHaveText(/^Get model \(\d+\.\d MB\)$/);
  expect(fetched.filter((path) => path.endsWith(".safetensors"))).toEqual([]);
  await easel.button.click();
  await easel.ready();
  await easel.page.reload();
  await expect(easel.button).toHaveText("Generate");
});

for (const { how, ask } of [
  { how: "the button", ask: (easel: EaselPage) => easel.button.click() },
  { how: "Ctrl+Enter", ask: (easel: EaselPage) => easel.page.keyboard.press("Control+Enter") },
]) {
  test(`on a first visit a prompt is drawn by one press of ${how}`, async ({ easel }) => {
    await easel.page.goto(site("scripted", "?device=cpu"));
    await expect(easel.button).toHaveText(/^Get model/);
    await easel.type("a star");
    await ask(easel);
    await expect(easel.page.getByRole("status")).toHaveText("Done", { timeout: 60_000 });
    await expect(easel.download).toBeVisible();
  });
}

test("an empty prompt draws what stands in its place", async ({ easel }) => {
  await open(easel);
  const prompt = easel.page.getByLabel("Prompt", { exact: true });
  const suggestion = (await prompt.getAttribute("placeholder")) ?? "";
  expect(suggestion).not.toBe("");
  await easel.draw();
  await expect(prompt).toHaveValue(suggestion);
  await open(easel, "?device=cpu&model=models/starter/%3Fother");
  await easel.type("");
  await easel.draw();
  await expect(prompt).toHaveValue("");
});

test("a step that does not end has a way out", async ({ easel }) => {
  await open(easel);
  await easel.type("hang");
  await easel.button.click();
  await expect(easel.page.locator("#progress-text")).toContainText("2/8");
  await easel.button.click();
  await expect(easel.button).toHaveText("Stopping…");
  await expect(easel.button).toHaveText("Stop now");
  await easel.button.click();
  await easel.ready();
  await easel.type("a star");
  await easel.draw();
  await expect(easel.page.getByRole("status")).toHaveText("Done");
});

test("Ctrl+Enter generates and Esc stops", async ({ easel }) => {
  await open(easel);
  await easel.set({ Steps: "1000" });
  await easel.page.getByLabel("Prompt", { exact: true }).press("Control+Enter");
  await expect(easel.page.locator("#progress-text")).toHaveText(/^\d+\/1000/);
  await easel.page.keyboard.press("Escape");
  await expect(easel.page.getByRole("status")).toHaveText("Stopped");
  await expect(easel.button).toHaveText("Generate");
});

test("counts tokens while typing, and says when they take a second chunk", async ({ easel }) => {
  const counter = easel.page.locator("#token-count");
  await open(easel);
  await easel.type("a red apple");
  await expect(counter).toHaveText("3/22 tokens");
  await easel.type("apple ".repeat(30));
  await expect(counter).toHaveText("30/44 tokens in 2 chunks");
});

test("a broken prompt is explained and nothing typed is lost", async ({ easel }) => {
  await open(easel);
  await easel.type("a (red:) (: apple");
  await easel.button.click();
  await expect(easel.alert).toContainText("a weight is missing");
  await expect(easel.alert).toContainText("bad_prompt");
  await expect(easel.page.getByLabel("Prompt", { exact: true })).toHaveValue("a (red:) (: apple");
  await expect(easel.page.locator("#frame")).toHaveAttribute("data-state", "empty");
  await easel.type("a red apple");
  await easel.button.click();
  await expect(easel.alert).toBeHidden();
  await expect(easel.page.getByRole("status")).toHaveText("Done");
});

test("a prompt that is refused leaves the picture before, with its steps and its file", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await easel.type("a star");
  await easel.draw();
  const steps = await page.locator("#filmstrip > *").count();
  await easel.type("a (: star");
  await easel.button.click();
  await expect(easel.alert).toContainText("bad_prompt");
  await expect(easel.download).toBeVisible();
  await expect(easel.canvas).toHaveAccessibleName("Picture of: a star");
  await expect(page.locator("#filmstrip > *")).toHaveCount(steps);
  await expect(page.getByRole("button", { name: "Save animation" })).toBeEnabled();
});

for (const { prompt, code } of [
  { prompt: "lose the device", code: "device_lost" },
  { prompt: "trap", code: "internal" },
  { prompt: "reject elsewhere", code: "internal" },
  { prompt: "throw elsewhere", code: "internal" },
]) {
  test(`after ${code} ("${prompt}") the engine is loaded again`, async ({ easel }) => {
    await open(easel);
    await easel.type(prompt);
    await easel.button.click();
    await expect(easel.alert).toContainText(code);
    await expect(easel.button).toHaveText("Load again");
    await easel.button.click();
    await easel.ready();
    await expect(easel.page.getByLabel("Prompt", { exact: true })).toHaveValue(prompt);
  });
}

test("what was typed is there after a reload", async ({ easel }) => {
  await open(easel);
  await easel.type("a penguin");
  await easel.set({ Steps: "12", "Negative prompt": "rain", Seed: "77" });
  await easel.page.getByLabel("Lock").check();
  await easel.page.reload();
  await easel.ready();
  await expect(easel.page.getByLabel("Prompt", { exact: true })).toHaveValue("a penguin");
  await expect(easel.page.getByLabel("Negative prompt")).toHaveValue("rain");
  await expect(easel.page.getByLabel("Steps")).toHaveValue("12");
  await expect(easel.page.getByLabel("Guidance")).toHaveValue(String(SCRIPTED_MODEL.guidance_scale));
  await easel.button.click();
  await expect(easel.page.getByRole("status")).toHaveText("Done");
  await expect(easel.page.getByLabel("Seed", { exact: true })).toHaveValue("77");
});

test("settings are kept for each model, prompts and seed for all", async ({ easel }) => {
  const steps = easel.page.getByLabel("Steps");
  await open(easel);
  await easel.type("a penguin");
  await easel.set({ Steps: "12", Seed: "77" });
  await open(easel, "?device=cpu&model=models/starter/%3Fother");
  await expect(easel.page.getByLabel("Prompt", { exact: true })).toHaveValue("a penguin");
  await expect(easel.page.getByLabel("Seed", { exact: true })).toHaveValue("77");
  await expect(steps).toHaveValue(String(SCRIPTED_MODEL.steps));
  await open(easel);
  await expect(steps).toHaveValue("12");
});

test("an unlocked seed changes with each picture", async ({ easel }) => {
  await open(easel);
  const seeds = new Set<string>();
  for (let picture = 0; picture < 3; picture += 1) {
    await easel.draw();
    const seed = await easel.page.locator("#seed").inputValue();
    await expect(easel.page.locator("#progress-text")).toHaveText(`${SCRIPTED_SIZE} · seed ${seed}`);
    seeds.add(seed);
  }
  expect(seeds.size).toBe(3);
});

test("a seed that was typed or diced is used for one picture, also after a reload", async ({ easel }) => {
  const field = easel.page.getByLabel("Seed", { exact: true });
  const result = easel.page.locator("#progress-text");
  await open(easel);
  await easel.set({ Seed: "77" });
  await easel.page.reload();
  await easel.ready();
  await easel.draw();
  await expect(result).toHaveText(`${SCRIPTED_SIZE} · seed 77`);
  await easel.page.reload();
  await easel.ready();
  await easel.draw();
  await expect(result).toHaveText(new RegExp(`^${SCRIPTED_SIZE} · seed \\d+$`));
  await expect(field).not.toHaveValue("77");
  await easel.page.getByRole("button", { name: "Random seed" }).click();
  const diced = await field.inputValue();
  await easel.draw();
  await expect(result).toHaveText(`${SCRIPTED_SIZE} · seed ${diced}`);
  await easel.draw();
  await expect(field).not.toHaveValue(diced);
});

test("a seed that is typed during a run is for the next picture", async ({ easel }) => {
  await open(easel);
  await easel.set({ Steps: "20", Seed: "1" });
  await easel.button.click();
  await expect(easel.button).toHaveText("Stop");
  await easel.set({ Seed: "2" });
  await expect(easel.page.locator("#progress-text")).toHaveText(`${SCRIPTED_SIZE} · seed 1`);
  await easel.draw();
  await expect(easel.page.locator("#progress-text")).toHaveText(`${SCRIPTED_SIZE} · seed 2`);
});

test("a sampler that calls the model more often is stopped after so many of its calls", async ({ easel }) => {
  await open(easel);
  await easel.set({ Steps: "100" });
  await easel.page.getByLabel("Sampler").selectOption("PNDM");
  await easel.button.click();
  await expect(easel.page.locator("#progress-text")).toHaveText(/^\d+\/101/);
  await easel.button.click();
  await expect(easel.page.locator("#progress-text")).toHaveText(/^after \d+ of 101 steps$/);
});

test("says what of a prompt was left out, until the next picture", async ({ easel }) => {
  const warnings = easel.page.locator("#warnings");
  await open(easel);
  await easel.type("a star <hypernet:gold:1>");
  await easel.draw();
  await expect(warnings).toHaveText("The tag `<hypernet:gold:1>` is ignored.");
  await easel.type("a star");
  await easel.draw();
  await expect(warnings).toBeHidden();
});

test("asks once that the model be kept, after it was loaded", async ({ easel }) => {
  await easel.page.addInitScript(() => {
    StorageManager.prototype.persist = async () => {
      document.body.dataset.asked = `${document.body.dataset.asked ?? ""}${document.body.dataset.state} `;
      throw new Error("no");
    };
  });
  await open(easel);
  await easel.page.getByText("Advanced").click();
  await easel.page.getByLabel("Device").selectOption("auto");
  await easel.ready();
  await expect(easel.page.locator("body")).toHaveAttribute("data-asked", "ready ");
});

for (const { label, value } of [
  { label: "Steps", value: "0" },
  { label: "Width", value: "65" },
  { label: "Height", value: "2064" },
  { label: "Seed", value: "-1" },
  { label: "Guidance", value: "" },
]) {
  test(`${label} of "${value}" is not accepted, and shown although Advanced was closed`, async ({
    easel,
  }) => {
    await open(easel);
    await easel.set({ [label]: value });
    await easel.page.getByText("Advanced").click();
    await easel.button.click();
    await expect(easel.page.getByLabel(label, { exact: true })).toBeFocused();
    await expect(easel.button).toHaveText("Generate");
  });
}

test("automatic choice takes the CPU where WebGPU is software, and says so", async ({ easel }) => {
  await open(easel, "");
  await expect(easel.page.locator("#device-note")).toContainText("Drawing on the CPU");
  await expect(easel.page.locator("#device-note")).toContainText("Chrome");
  await easel.page.getByText("Advanced").click();
  await easel.page.getByLabel("Device").selectOption("gpu");
  await easel.ready();
  await expect(easel.page.locator("#device-note")).toHaveText(/^Drawing on the GPU: .*swiftshader/);
});

test("a model on a host that the build does not allow is refused", async ({ easel }) => {
  await easel.page.goto(site("scripted", "?model=https://example.org/model"));
  await expect(easel.alert).toContainText("https://example.org/model/".slice(0, -1));
  await expect(easel.alert).toContainText("model_host");
  await expect(easel.page.getByRole("progressbar")).toBeHidden();
  await expect(easel.button).toHaveText("Use this page's own model");
  await easel.button.click();
  await easel.ready();
  await expect(easel.page).toHaveURL(site("scripted"));
});

test("a device is chosen without fetching anything, and kept", async ({ easel }) => {
  const { page } = easel;
  await page.goto(site("scripted"));
  await expect(easel.button).toHaveText(/^Get model/);
  await page.getByText("Advanced").click();
  await page.getByLabel("Device").selectOption("cpu");
  await expect(easel.button).toHaveText(/^Get model/);
  await easel.ready();
  await expect(page.locator("#device-note")).toHaveText("Drawing on the CPU.");
  await page.reload();
  await easel.ready();
  await expect(page.locator("#device-note")).toHaveText("Drawing on the CPU.");
});

test("another device waits for the end of a run", async ({ easel }) => {
  const { page } = easel;
  await open(easel, "");
  await easel.set({ Steps: "30" });
  await easel.type("a star");
  await easel.button.click();
  await expect(page.locator("#progress-text")).toHaveText(/^\d+\/30/);
  await page.getByLabel("Device").selectOption("cpu");
  await expect(easel.download).toBeVisible();
  await expect(page.locator("#device-note")).toHaveText("Drawing on the CPU.");
});

test("all that the page's own model draws is in a list, which fills the prompt", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await page.getByRole("button", { name: "See them all" }).click();
  const list = page.getByRole("list", { name: "What this model draws" });
  await expect(list.getByRole("button")).toHaveCount(100);
  expect(await easel.violations()).toEqual([]);
  await list.getByRole("button", { name: "an owl", exact: true }).click();
  await expect(list).toBeHidden();
  await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("an owl");
});

test("an example fills the prompt", async ({ easel }) => {
  await open(easel);
  await easel.page.getByRole("button", { name: "a rainbow" }).click();
  await expect(easel.page.getByLabel("Prompt", { exact: true })).toHaveValue("a rainbow");
});

test("a phone has one column, with Generate in reach", async ({ easel }) => {
  const { page } = easel;
  await page.setViewportSize({ width: 390, height: 844 });
  await open(easel);
  await easel.type("a star");
  await easel.button.click();
  await expect(easel.download).toBeVisible();
  await expect(easel.button).toBeInViewport({ ratio: 1 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  await page.screenshot({ path: "test-results/phone.png" });
});

test("on a phone the Tab key comes to the picture before the form, as the eye does", async ({ easel }) => {
  const { page } = easel;
  await page.setViewportSize({ width: 390, height: 844 });
  await open(easel);
  await page.locator("header button").last().focus();
  await page.keyboard.press("Tab");
  await expect(page.getByRole("region", { name: "Picture" }).locator(":focus")).toHaveCount(1);
  await page.getByLabel("Prompt", { exact: true }).focus();
  await page.keyboard.press("Shift+Tab");
  await expect(page.getByRole("region", { name: "Picture" }).locator(":focus")).toHaveCount(1);
});
