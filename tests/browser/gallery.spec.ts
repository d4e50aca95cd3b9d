// The gallery, with the scripted engine.
import { readFileSync } from "node:fs";
import type { Page } from "@playwright/test";
import { readPng } from "../../www/src/shared/png_text.ts";
import { violations } from "./accessibility.ts";
import { type EaselPage, expect, site, test } from "./easel_page.ts";
import { SCRIPTED_MODEL, SCRIPTED_SIZE } from "./scripted_model.ts";

const SAMPLER = SCRIPTED_MODEL.samplers.find(({ name }) => name === SCRIPTED_MODEL.sampler)?.label;
const cells = (page: Page) => page.locator("#gallery li");
const viewer = (page: Page) => page.getByRole("dialog", { name: "Picture" });
const named = (page: Page, name: string) => page.getByRole("button", { name, exact: true });

async function open(easel: EaselPage, query = "?device=cpu"): Promise<void> {
  await easel.page.goto(site("scripted", query));
  await easel.ready();
}

/** Draws pictures of these prompts, with seeds from 1 up, and waits until they are kept. */
async function draw(easel: EaselPage, ...prompts: string[]): Promise<void> {
  await easel.set({ Steps: "1" });
  for (const [at, prompt] of prompts.entries()) {
    await easel.type(prompt);
    await easel.set({ Seed: String(at + 1) });
    await easel.draw();
    await expect(named(easel.page, prompt)).toBeVisible();
  }
  await lookAt(easel.page);
}

/** Scrolls to the gallery: pictures far from the window are no elements. */
async function lookAt(page: Page): Promise<void> {
  await page.locator("#gallery").evaluate((gallery) => gallery.scrollIntoView({ block: "end" }));
}

/** Waits until so many pictures are shown. */
async function shows(page: Page, count: number): Promise<void> {
  await expect(page.locator("#gallery")).toContainText(count === 1 ? "One picture" : `${count} pictures`);
  await lookAt(page);
  await expect(cells(page)).toHaveCount(count);
}

test("every picture is kept with its settings, over a reload, and in the file itself", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await easel.set({ "Negative prompt": "rain" });
  await draw(easel, "a red fox, sitting", "狐");
  const { name, bytes } = await easel.save();
  expect(name).toBe("狐-2.png");
  const { guidance_scale, width, height } = SCRIPTED_MODEL;
  const numbers = `Steps: 1, Sampler: ${SAMPLER}, CFG scale: ${guidance_scale}, Seed: 2, Size: ${width}x${height}`;
  const text = `狐\nNegative prompt: rain\n${numbers}, Model: starter, RNG: CPU, Version: easel 0.1.0`;
  expect(await readPng(new Blob([new Uint8Array(bytes)]))).toMatchObject({
    texts: [{ keyword: "parameters", text }],
  });
  await page.reload();
  await shows(page, 2);
  await named(page, "a red fox, sitting").click();
  await expect(viewer(page).locator("dl")).toContainText("Negative promptrain");
  await expect(viewer(page).locator("dl")).toContainText(`Sampler${SAMPLER}`);
  await expect(viewer(page).locator("dl")).toContainText(`Size${SCRIPTED_SIZE}`);
  await expect(page.locator("#gallery")).toContainText(/Pictures take [\d.]+ MB, models and all else/);
});

test("keys alone: from the grid through the viewer and back", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await draw(easel, "one", "two", "three");
  await page.reload();
  await easel.ready();
  await shows(page, 3);
  await named(page, "Export as zip").focus();
  await page.keyboard.press("Tab");
  await expect(named(page, "three")).toBeFocused();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("s");
  await expect(named(page, "two, starred")).toBeFocused();
  await page.keyboard.press("End");
  await expect(named(page, "one")).toBeFocused();
  await page.keyboard.press("Enter");
  const image = viewer(page).locator("img");
  await expect(image).toHaveAttribute("alt", "one");
  await expect(named(page, "Older picture")).toBeDisabled();
  await page.keyboard.press("ArrowLeft");
  await expect(image).toHaveAttribute("alt", "two");
  await page.keyboard.press("s");
  await expect(named(page, "☆ Star")).toBeVisible();
  await page.keyboard.press("ArrowLeft");
  await expect(image).toHaveAttribute("alt", "three");
  await page.keyboard.press("s");
  await expect(named(page, "★ Starred")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(viewer(page)).toBeHidden();
  await expect(named(page, "three, starred")).toBeFocused();
  await named(page, "Starred only").click();
  await shows(page, 1);
});

test("deleting the last picture can be undone although the viewer closes with it", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await draw(easel, "one");
  await named(page, "one").click();
  await expect(viewer(page)).toBeVisible();
  await page.keyboard.press("Delete");
  await expect(viewer(page)).toBeHidden();
  await expect(cells(page)).toHaveCount(0);
  await named(page, "Undo").click();
  await shows(page, 1);
});

test("keys of the viewer go on after a press of a button that is made anew", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await draw(easel, "one", "two", "three");
  await named(page, "three").click();
  await named(page, "Start from it").focus();
  for (const alt of ["two", "one"]) {
    await page.keyboard.press("ArrowRight");
    await expect(viewer(page).locator("img")).toHaveAttribute("alt", alt);
  }
});

test("deleting can be undone until its message goes", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await draw(easel, "one", "two");
  await named(page, "one").focus();
  await page.keyboard.press("Delete");
  await shows(page, 1);
  await named(page, "Undo").click();
  await shows(page, 2);
  await named(page, "two").click();
  await expect(viewer(page).locator("img")).toHaveAttribute("alt", "two");
  await page.keyboard.press("Delete");
  await expect(viewer(page).locator("img")).toHaveAttribute("alt", "one");
  await expect(viewer(page).getByText("Deleted.")).toBeVisible();
  await page.reload();
  await shows(page, 2);
  await easel.ready();
  await page.clock.install();
  await named(page, "two").focus();
  await page.keyboard.press("Delete");
  await page.clock.fastForward(11_000);
  await expect(page.getByText("Deleted.")).toBeHidden();
  await expect(page.locator("#gallery")).toContainText("One picture");
  await page.reload();
  await shows(page, 1);
  await expect(named(page, "one")).toBeVisible();
});

test("two pictures are compared by pointer and by keys", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await draw(easel, "one", "two", "three");
  await named(page, "three").click();
  await expect(viewer(page).locator("img")).toHaveAttribute("alt", "three");
  await page.keyboard.press("c");
  const slider = page.getByRole("slider", { name: "Share of the picture that is compared" });
  await expect(slider).toHaveValue("50");
  const box = await page.locator(".comparison-frame").boundingBox();
  if (!box) throw new Error("nothing is compared");
  await page.mouse.move(box.x + box.width * 0.5, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.25, box.y + 60);
  await page.mouse.up();
  await expect(slider).toHaveValue("25");
  await slider.press("ArrowRight");
  await expect(slider).toHaveValue("26");
  await named(page, "Older picture").click();
  expect(await violations(page)).toEqual([]);
  await page.screenshot({ path: "test-results/compare.png" });
  await named(page, "End comparing").click();
  await expect(viewer(page).locator("img")).toHaveAttribute("alt", "three");
});

test("settings are used, with a way back, and pictures are drawn again", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await draw(easel, "one");
  await easel.type("something else");
  await easel.set({ Steps: "7", Seed: "9" });
  await named(page, "one").click();
  await named(page, "Use these settings").click();
  await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("one");
  await expect(page.getByLabel("Seed", { exact: true })).toHaveValue("1");
  await named(page, "Undo").click();
  await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("something else");
  await expect(page.getByLabel("Steps")).toHaveValue("7");
  await named(page, "one").click();
  await named(page, "Draw again").click();
  await shows(page, 2);
  await expect(page.locator("#progress-text")).toHaveText(`${SCRIPTED_SIZE} · seed 1`);
});

test("the gallery is exported as a zip, all or what is starred", async ({ easel }) => {
  const { page } = easel;
  // A dialog of the system is nothing that a test can answer.
  await page.addInitScript(() => Reflect.deleteProperty(window, "showSaveFilePicker"));
  await open(easel);
  await draw(easel, "one", "two");
  const exported = async () => {
    const saving = page.waitForEvent("download");
    await named(page, "Export as zip").click();
    const file = await saving;
    expect(file.suggestedFilename()).toMatch(/^easel-\d{4}-\d\d-\d\d\.zip$/);
    return readFileSync(await file.path());
  };
  const whole = await exported();
  expect(whole.readUInt32LE(0)).toBe(0x04034b50);
  // The end record has the number of files at 10; names stand before each file.
  expect(whole.readUInt16LE(whole.length - 22 + 10)).toBe(2);
  expect(whole.indexOf("one-1-1.png")).toBeGreaterThan(0);
  const start = whole.indexOf("\x89PNG\r\n", 0, "latin1");
  const { texts } = (await readPng(new Blob([new Uint8Array(whole.subarray(start))]))) ?? {};
  expect(texts?.[0]?.text).toContain("two\nSteps: 1");
  await named(page, "two").focus();
  await page.keyboard.press("s");
  await named(page, "Starred only").click();
  const starred = await exported();
  expect(starred.readUInt16LE(starred.length - 22 + 10)).toBe(1);
});

test("an export can be stopped", async ({ easel }) => {
  const { page } = easel;
  await page.addInitScript(() => {
    const write = () =>
      new Promise<void>((resolve) => {
        Object.assign(window, { goOn: resolve });
      });
    const createWritable = async () => new WritableStream({ write });
    Object.assign(window, { showSaveFilePicker: async () => ({ createWritable }) });
  });
  await open(easel);
  await draw(easel, "one");
  await named(page, "Export as zip").click();
  await page.waitForFunction(() => "goOn" in window);
  await named(page, "Stop the export").click();
  // A stream that is given up still ends what it is writing.
  await page.evaluate("goOn()");
  await expect(page.locator("#gallery")).toContainText("The export was stopped.");
  await expect(named(page, "Export as zip")).toBeVisible();
});

test("two tabs show the same pictures", async ({ easel, context }) => {
  await open(easel);
  const other = await context.newPage();
  await other.goto(site("scripted", "?device=cpu"));
  await expect(other.locator("#gallery")).toContainText("Every picture that is finished is kept here");
  // A page behind another gets no frames, which drawing waits for.
  await easel.page.bringToFront();
  await draw(easel, "one");
  await expect(named(other, "one")).toBeVisible();
  await named(easel.page, "one").focus();
  await easel.page.keyboard.press("s");
  await expect(named(other, "one, starred")).toBeVisible();
});

test("a picture that finds no room stays on the stage, and the user hears what to do", async ({ easel }) => {
  await easel.page.addInitScript(() => {
    // A transaction that the browser has no room for is aborted so.
    const { add } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.add = function (this: IDBObjectStore, value: unknown) {
      const request = add.call(this, value);
      const error = new DOMException("full", "QuotaExceededError");
      Object.defineProperty(this.transaction, "error", { value: error });
      this.transaction.abort();
      return request;
    };
  });
  await open(easel);
  await easel.set({ Steps: "1" });
  await easel.draw();
  await expect(easel.alert).toContainText(
    "Download it now, then delete pictures here or a model under Models",
  );
  await expect(easel.alert).toContainText("quota");
  expect((await easel.save()).bytes.length).toBeGreaterThan(100);
});

test("thousands of pictures are few elements, and their thumbnails are let go", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await draw(easel, "one");
  await page.evaluate(async () => {
    const db = await new Promise<IDBDatabase>((resolve) => {
      const request = indexedDB.open("easel-gallery");
      request.onsuccess = () => resolve(request.result);
    });
    const transaction = db.transaction(["pictures"], "readwrite");
    const store = transaction.objectStore("pictures");
    store.get(1).onsuccess = ({ target }) => {
      const picture = (target as IDBRequest).result;
      for (let at = 0; at < 3000; at += 1) store.add({ ...picture, settings: { prompt: `copy ${at}` } });
    };
    await new Promise((resolve) => {
      transaction.oncomplete = resolve;
    });
    db.close();
  });
  await page.addInitScript(() => {
    const live = new Set<string>();
    const [create, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
    URL.createObjectURL = (of) => {
      const url = create.call(URL, of);
      live.add(url);
      document.documentElement.dataset.urls = String(live.size);
      return url;
    };
    URL.revokeObjectURL = (url) => {
      revoke.call(URL, url);
      live.delete(url);
      document.documentElement.dataset.urls = String(live.size);
    };
  });
  await page.reload();
  await expect(page.locator("#gallery")).toContainText("3001 pictures");
  for (const place of [0.5, 1]) {
    await page.evaluate((share) => scrollTo(0, document.documentElement.scrollHeight * share), place);
    const seen = () => {
      const cell = document.elementFromPoint(innerWidth / 3, innerHeight / 3)?.closest("li");
      return cell?.querySelector("img")?.complete;
    };
    await expect.poll(() => page.evaluate(seen)).toBe(true);
  }
  await expect(named(page, "one")).toBeVisible();
  expect(await cells(page).count()).toBeLessThan(150);
  expect(Number(await page.locator("html").getAttribute("data-urls"))).toBeLessThan(150);
  await named(page, "one").focus();
  await page.keyboard.press("Home");
  await expect(named(page, "copy 2999")).toBeFocused();
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`the gallery and the viewer have no accessibility faults in ${colorScheme}`, async ({ easel }) => {
    const { page } = easel;
    await page.emulateMedia({ colorScheme });
    await open(easel);
    await draw(easel, "one", "two");
    await named(page, "two").focus();
    await page.keyboard.press("s");
    expect(await violations(page)).toEqual([]);
    await page.screenshot({ path: `test-results/gallery-${colorScheme}.png`, fullPage: true });
    await named(page, "two, starred").click();
    await expect(viewer(page).locator("img")).toBeVisible();
    expect(await violations(page)).toEqual([]);
    await page.screenshot({ path: `test-results/viewer-${colorScheme}.png` });
    await page.setViewportSize({ width: 390, height: 800 });
    await page.screenshot({ path: `test-results/viewer-phone-${colorScheme}.png` });
  });
}
