// What the page offers beside its fields: shapes, effort, styles, weights, themes, shortcuts; and how it stands.
import { type EaselPage, expect, site, test } from "./easel_page.ts";
import { SCRIPTED_MODEL } from "./scripted_model.ts";

async function open(easel: EaselPage, query = "?device=cpu"): Promise<void> {
  await easel.page.goto(site("scripted", query));
  await easel.ready();
}

test("shapes write the sides that suit the model, and follow them", async ({ easel }) => {
  const { page } = easel;
  const sides = async () => [
    await page.locator("#width").inputValue(),
    await page.locator("#height").inputValue(),
  ];
  await open(easel);
  await expect(page.getByRole("radio", { name: "Square" })).toBeChecked();
  await page.getByRole("radio", { name: "Landscape" }).check();
  const { width, factor } = SCRIPTED_MODEL;
  expect(await sides()).toEqual([width, width - factor].map(String));
  await page.getByText("Advanced").click();
  await page.getByRole("button", { name: "Swap width and height" }).click();
  await expect(page.getByRole("radio", { name: "Portrait" })).toBeChecked();
  await easel.set({ Width: "128" });
  await expect(page.locator("#shapes :checked")).toHaveCount(0);
});

test("effort writes the numbers that suit the model, and follows them", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await expect(page.getByRole("radio", { name: "Balanced" })).toBeChecked();
  await page.getByRole("radio", { name: "Balanced" }).press("ArrowRight");
  await expect(page.getByRole("radio", { name: "Quality" })).toBeChecked();
  await page.getByText("Advanced").click();
  await expect(page.getByLabel("Steps")).toHaveValue(String(2 * SCRIPTED_MODEL.steps));
  await easel.set({ Steps: "9" });
  await expect(page.locator("#presets :checked")).toHaveCount(0);
  await page.getByRole("radio", { name: "Fast" }).check();
  await page.reload();
  await easel.ready();
  await expect(page.getByRole("radio", { name: "Fast" })).toBeChecked();
  await expect(page.getByLabel("Steps")).toHaveValue(String(SCRIPTED_MODEL.steps / 2));
});

test("a negative prompt without guidance is said to have no effect", async ({ easel }) => {
  const { page } = easel;
  const note = page.getByText("needs a guidance above 1");
  await open(easel);
  await easel.ready();
  await page.getByText("Advanced", { exact: true }).click();
  await page.getByLabel("Guidance").fill("1");
  await expect(note).toBeHidden();
  await page.getByLabel("Negative prompt").fill("blurry");
  await expect(note).toBeVisible();
  await page.getByLabel("Guidance").fill("1.5");
  await expect(note).toBeHidden();
});

test("styles are words in the prompt, and go again", async ({ easel }) => {
  const { page } = easel;
  const prompt = page.getByLabel("Prompt", { exact: true });
  const chip = (name: string) => page.getByRole("button", { name, exact: true });
  await open(easel);
  await easel.type("a star");
  await chip("On pink").click();
  await expect(prompt).toHaveValue("a star on a pink background");
  await chip("On orange").click();
  await expect(prompt).toHaveValue("a star on an orange background");
  await expect(chip("On orange")).toHaveAttribute("aria-pressed", "true");
  await expect(chip("On pink")).toHaveAttribute("aria-pressed", "false");
  await chip("On orange").click();
  await expect(prompt).toHaveValue("a star");
  await open(easel, "?device=cpu&model=models/starter/%3Fother");
  await expect(chip("On pink")).toHaveCount(0);
  await chip("Ink drawing").click();
  await chip("Golden hour").click();
  await expect(prompt).toHaveValue(/^a star, black ink .*, golden hour, /);
});

test("Ctrl with an arrow weighs the word at the cursor, and can be undone", async ({ easel }) => {
  const prompt = easel.page.getByLabel("Prompt", { exact: true });
  await open(easel);
  await prompt.fill("a red star");
  await prompt.press("End");
  await prompt.press("Control+ArrowUp");
  await prompt.press("Control+ArrowUp");
  await expect(prompt).toHaveValue("a red (star:1.2)");
  await prompt.press("Control+ArrowDown");
  await prompt.press("Control+ArrowDown");
  await expect(prompt).toHaveValue("a red star");
  await prompt.press("Control+ArrowDown");
  await expect(prompt).toHaveValue("a red (star:0.9)");
  await prompt.press("Control+z");
  await expect(prompt).toHaveValue("a red star");
});

test("the theme is the system's until another is chosen, which is kept", async ({ easel }) => {
  const { page } = easel;
  const button = page.getByRole("button", { name: "Dark colours" });
  const isDark = () =>
    page.evaluate(() => {
      const [red = 255] = getComputedStyle(document.body).backgroundColor.match(/\d+/g)?.map(Number) ?? [];
      return red < 100;
    });
  await page.emulateMedia({ colorScheme: "dark" });
  await open(easel);
  expect(await isDark()).toBe(true);
  await expect(button).toHaveAttribute("aria-pressed", "true");
  await button.click();
  expect(await isDark()).toBe(false);
  await page.reload();
  await expect(button).toHaveAttribute("aria-pressed", "false");
  expect(await isDark()).toBe(false);
});

test("? lists the shortcuts, except in a text", async ({ easel }) => {
  const { page } = easel;
  const dialog = page.getByRole("dialog", { name: "Keyboard shortcuts" });
  await open(easel);
  await page.getByLabel("Prompt", { exact: true }).press("?");
  await expect(dialog).toBeHidden();
  await page.getByRole("button", { name: "Keyboard shortcuts" }).focus();
  await page.keyboard.press("?");
  await expect(dialog).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(dialog).toBeHidden();
});

test("all is done by keyboard alone", async ({ easel }) => {
  const { page } = easel;
  const tabTo = async (id: string) => {
    for (let presses = 0; presses < 60; presses += 1) {
      await page.keyboard.press("Tab");
      if ((await page.evaluate(() => document.activeElement?.id)) === id) return;
    }
    throw new Error(`${id} is not reached by Tab`);
  };
  await page.goto(site("scripted", "?device=cpu"));
  await expect(easel.button).toHaveText(/MB/);
  await tabTo("prompt");
  await page.keyboard.type("a star");
  await tabTo("go");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("status")).toHaveText("Done", { timeout: 60_000 });
  await tabTo("scrubber");
  await page.keyboard.press("ArrowLeft");
  await expect(page.locator("#scrubber")).toHaveAttribute("aria-valuetext", /^Step 8 of 8/);
});

test("nothing moves from the first visit to the picture", async ({ easel }) => {
  const { page } = easel;
  await page.addInitScript(() => {
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const { value } = entry as PerformanceEntry & { value: number };
        const { dataset } = document.documentElement;
        const moved = entry as PerformanceEntry & { sources: { node?: Element }[] };
        dataset.shift = String(Number(dataset.shift ?? 0) + value);
        dataset.moved = `${dataset.moved ?? ""} ${moved.sources.map(({ node }) => node?.id || node?.nodeName)}`;
      }
    }).observe({ type: "layout-shift", buffered: true });
  });
  await open(easel);
  await easel.type("a star");
  await easel.draw();
  await expect(easel.download).toBeVisible();
  const { shift = "0", moved } = await page.evaluate(() => ({ ...document.documentElement.dataset }));
  // Below 0.1 is good by the measure of web vitals.
  expect(Number(shift), `moved: ${moved}`).toBeLessThan(0.02);
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`no view has accessibility faults in ${colorScheme}`, async ({ easel }) => {
    const { page } = easel;
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.goto(site("scripted", "?device=cpu"));
    await expect(easel.button).toHaveText(/MB/);
    expect(await easel.violations(), "first visit").toEqual([]);
    await easel.ready();
    await easel.set({ Steps: "2" });
    await page.getByLabel("Pictures", { exact: true }).selectOption("2");
    await easel.button.click();
    await expect(page.getByRole("status")).toHaveText("Done");
    expect(await easel.violations(), "a picture").toEqual([]);
    await page.screenshot({ path: `test-results/${colorScheme}.png`, fullPage: true });
    await easel.type("a (red:) (: apple");
    await easel.button.click();
    await expect(easel.alert).toBeVisible();
    expect(await easel.violations(), "an error").toEqual([]);
    await page.setViewportSize({ width: 390, height: 844 });
    expect(await easel.violations(), "a phone").toEqual([]);
    await page.getByRole("button", { name: "Keyboard shortcuts" }).click();
    expect(await easel.violations(), "the shortcuts").toEqual([]);
  });
}
