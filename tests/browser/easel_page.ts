// The page as a user meets it.
import { readFile } from "node:fs/promises";
import { test as base, expect, type Page } from "@playwright/test";
import { violations } from "./accessibility.ts";

const MODEL_PATIENCE = 120_000;

/** Address of a site: the shipped one, or the one with the scripted engine. */
export function site(name: "shipped" | "scripted", place = ""): string {
  const url = process.env[`EASEL_${name.toUpperCase()}_URL`];
  if (!url) throw new Error("the servers are not running: use `npm test`");
  return url + place;
}

/** What a test does with the page. */
export class EaselPage {
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
  }

  get button() {
    return this.page.locator("#go");
  }

  get alert() {
    return this.page.getByRole("alert");
  }

  get canvas() {
    return this.page.locator("#canvas");
  }

  get download() {
    return this.page.getByRole("link", { name: "Download PNG" });
  }

  /** Asks for the model, where it is not here yet. */
  async get(): Promise<void> {
    const body = this.page.locator("body");
    await expect(body).toHaveAttribute("data-state", /offered|ready|failed/, { timeout: MODEL_PATIENCE });
    if ((await body.getAttribute("data-state")) === "offered") await this.button.click();
  }

  /** Waits until the model is loaded, and asks for it first where that is needed. */
  async ready(): Promise<void> {
    await this.get();
    const loaded = /ready|failed/;
    await expect(this.page.locator("body")).toHaveAttribute("data-state", loaded, {
      timeout: MODEL_PATIENCE,
    });
    await expect(this.alert).toBeHidden();
    await expect(this.button).toHaveText("Generate");
  }

  async type(prompt: string): Promise<void> {
    await this.page.getByLabel("Prompt", { exact: true }).fill(prompt);
  }

  /** Sets fields under "Advanced" by their labels. */
  async set(fields: Record<string, string>): Promise<void> {
    const details = this.page.locator("#advanced");
    if (!(await details.evaluate((element: HTMLDetailsElement) => element.open))) {
      await this.page.getByText("Advanced").click();
    }
    for (const [label, value] of Object.entries(fields)) {
      await this.page.getByLabel(label, { exact: true }).fill(value);
    }
  }

  /** Presses Generate and waits for the end of the run. */
  async draw(timeout = 120_000): Promise<Watched> {
    const watching = this.page.evaluate(watch);
    await this.button.click();
    const watched = await Promise.race([watching, this.page.waitForTimeout(timeout)]);
    if (!watched) throw new Error("the run did not end in time");
    return watched;
  }

  /** What axe finds wrong with the page as it is now. */
  violations(): Promise<string[]> {
    return violations(this.page);
  }

  /** Saves what a link or button gives, the picture where none is named, and returns the file. */
  async save(control = this.download): Promise<{ name: string; bytes: Buffer }> {
    const saving = this.page.waitForEvent("download");
    await control.click();
    const file = await saving;
    return { name: file.suggestedFilename(), bytes: await readFile(await file.path()) };
  }
}

/** What could be seen during a run: the different frames of the canvas, in order, and the texts of progress. */
interface Watched {
  frames: string[];
  texts: string[];
}

/** Runs in the page: looks at the canvas at every frame of the screen, from when a run starts to when it ends. */
function watch(): Promise<Watched> {
  const frames: string[] = [];
  const texts: string[] = [];
  const remember = (list: string[], value: string) => {
    if (list.at(-1) !== value) list.push(value);
  };
  const small = document.createElement("canvas");
  small.width = small.height = 8;
  const context = small.getContext("2d", { willReadFrequently: true });
  const text = document.getElementById("progress-text");
  const canvas = document.querySelector<HTMLCanvasElement>("#canvas");
  if (!context || !text || !canvas) throw new Error("the page is not as it should be");
  const look = () => {
    context.drawImage(canvas, 0, 0, 8, 8);
    remember(frames, context.getImageData(0, 0, 8, 8).data.join());
  };
  const observer = new MutationObserver(() => remember(texts, text.textContent ?? ""));
  observer.observe(text, { childList: true });
  let started = false;
  return new Promise((resolve) => {
    const next = () => {
      const { state } = document.body.dataset;
      started ||= state === "running";
      if (started) look();
      if (!started || state === "running") return requestAnimationFrame(next);
      observer.disconnect();
      resolve({ frames, texts });
    };
    next();
  });
}

/** Width and height of a PNG file. */
export function pngSize(bytes: Buffer): { width: number; height: number } {
  expect(bytes.subarray(0, 8).toString("latin1")).toBe("\x89PNG\r\n\x1a\n");
  return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
}

/** Runs in the page: its connection asks to save data. */
function saveData(): void {
  const connection = (navigator as { connection?: object }).connection;
  if (connection) Object.defineProperty(connection, "saveData", { value: true });
}

/** Tests with the page; uncaught exceptions and CSP violations fail them. */
export const test = base.extend<{ easel: EaselPage; savesData: boolean }>({
  // The model comes when a test asks for it, and not by itself meanwhile.
  savesData: [true, { option: true }],
  easel: async ({ page, context, savesData }, use) => {
    if (savesData) await context.addInitScript(saveData);
    const faults: string[] = [];
    page.on("pageerror", (error) => faults.push(error.message));
    page.on("console", (message) => {
      if (/Content.Security.Policy/i.test(message.text())) faults.push(message.text());
    });
    await use(new EaselPage(page));
    expect(faults).toEqual([]);
  },
});
export { expect };
