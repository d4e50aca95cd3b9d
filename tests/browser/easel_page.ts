// The page as a user meets it.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test as base, expect, type Page } from "@playwright/test";

const MODEL_PATIENCE = 120_000;

/** Address of a site: the shipped one, or the one with the scripted engine. */
export function site(name: "shipped" | "scripted", query = ""): string {
  const url = process.env[`EASEL_${name.toUpperCase()}_URL`];
  if (!url) throw new Error("the servers are not running: use `npm test`");
  return url + query;
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

  /** Waits until the model is loaded. */
  async ready(): Promise<void> {
    await expect(this.button.or(this.alert)).not.toHaveText("Loading…", { timeout: MODEL_PATIENCE });
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

  /** Looks at the canvas until the run is over; hashes of the different frames, in order, and the steps read. */
  async watch(timeout = 120_000): Promise<{ frames: string[]; steps: string[] }> {
    const frames: string[] = [];
    const steps: string[] = [];
    const end = Date.now() + timeout;
    while ((await this.page.locator("body").getAttribute("data-state")) === "running") {
      if (Date.now() > end) throw new Error("the run did not end in time");
      remember(
        frames,
        createHash("sha256")
          .update(await this.canvas.screenshot())
          .digest("hex"),
      );
      remember(steps, (await this.page.locator("#progress-text").textContent()) ?? "");
    }
    return { frames, steps };
  }

  /** Saves the picture and returns the file. */
  async save(): Promise<{ name: string; bytes: Buffer }> {
    const saving = this.page.waitForEvent("download");
    await this.download.click();
    const file = await saving;
    return { name: file.suggestedFilename(), bytes: await readFile(await file.path()) };
  }
}

function remember(list: string[], value: string): void {
  if (list.at(-1) !== value) list.push(value);
}

/** Width and height of a PNG file. */
export function pngSize(bytes: Buffer): { width: number; height: number } {
  expect(bytes.subarray(0, 8).toString("latin1")).toBe("\x89PNG\r\n\x1a\n");
  return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
}

/** Tests with the page; uncaught exceptions and CSP violations fail them. */
export const test = base.extend<{ easel: EaselPage }>({
  easel: async ({ page }, use) => {
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
