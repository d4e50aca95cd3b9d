// Models of the user's device with the real engine: a folder through an archive and back, and a checkpoint in one file.
import { cpSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { checkpoint } from "./checkpoint.ts";
import { type EaselPage, expect, site, test } from "./easel_page.ts";
import { STARTER } from "./starter_model.ts";

const PATIENCE = 300_000;

/** Opens the page without a folder picker, so that fields and archives take its place. */
async function open({ page }: EaselPage): Promise<void> {
  await page.addInitScript(() => {
    Reflect.deleteProperty(window, "showDirectoryPicker");
  });
  await page.goto(site("shipped", "?device=cpu"));
  await page.locator("#models > summary").click();
}

async function give(page: Page, what: "folder" | "file", path: string): Promise<void> {
  const before = page.url();
  await page.locator(`#${what}-input`).setInputFiles(path);
  await expect(page).not.toHaveURL(before);
}

/** The picture of one step and a seed. */
async function picture(easel: EaselPage): Promise<string> {
  await easel.ready();
  await easel.type("a red apple");
  await easel.set({ Steps: "1", Seed: "3", Width: "64", Height: "64" });
  await easel.draw(PATIENCE);
  return (await easel.save()).bytes.toString("base64");
}

test("a folder that was saved as an archive and opened again draws the same picture", async ({ easel }) => {
  test.setTimeout(PATIENCE);
  const { page } = easel;
  const place = join(mkdtempSync(join(tmpdir(), "easel-")), "starter copy");
  cpSync(STARTER, place, { recursive: true });
  await open(easel);
  await give(page, "folder", place);
  const first = await picture(easel);
  const row = page.getByRole("listitem").filter({ hasText: "starter copy" });
  const saving = page.waitForEvent("download");
  await row.getByRole("button", { name: "Save to files…" }).click();
  const archive = join(mkdtempSync(join(tmpdir(), "easel-")), "saved.tar");
  await (await saving).saveAs(archive);
  await give(page, "file", archive);
  expect(await picture(easel)).toBe(first);
});

test("a checkpoint draws, and draws the same from what is kept of it", async ({ easel }) => {
  test.setTimeout(PATIENCE);
  const { page } = easel;
  const file = join(mkdtempSync(join(tmpdir(), "easel-")), "small.safetensors");
  writeFileSync(file, checkpoint());
  await open(easel);
  await give(page, "file", file);
  const first = await picture(easel);
  await page.reload();
  expect(await picture(easel)).toBe(first);
});
