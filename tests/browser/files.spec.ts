// Models from files of the user's device, in the page: picked, dropped, refused, finished, saved and opened again.
import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page, Worker } from "@playwright/test";
import { EaselPage, expect, site, test } from "./easel_page.ts";
import { flipKeptByte } from "./kept_damage.ts";
import { folder, hashes, modelFiles, WEIGHTS, weightsNamed, withManifest } from "./local_folder.ts";
import { openLab } from "./trials.ts";

const CHECKPOINT = weightsNamed(["model.diffusion_model.a", "cond_stage_model.b", "first_stage_model.c"]);

/** Takes the folder picker away, as in browsers that have none. */
async function withoutPicker(page: Page): Promise<void> {
  await page.addInitScript(() => {
    Reflect.deleteProperty(window, "showDirectoryPicker");
  });
}

async function open({ page }: EaselPage): Promise<void> {
  await page.goto(site("scripted", "?device=cpu"));
  await page.locator("#models > summary").click();
}

/** The list's row of a model. */
const row = ({ page }: EaselPage, name: string) =>
  page.getByRole("list", { name: "Models in this browser" }).getByRole("listitem").filter({ hasText: name });

/** Gives files by a button. */
async function pick({ page }: EaselPage, what: "folder" | "file", paths: string | string[]): Promise<void> {
  const choosing = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: `Open ${what}…` }).click();
  await (await choosing).setFiles(paths);
}

/** Waits until the model of files is the one that is open. */
async function opened(easel: EaselPage): Promise<void> {
  await expect(easel.page).toHaveURL(/model=local/);
  await easel.ready();
}

/** Drags files of the device over the page, as the browser itself does it; `check` looks at the page before they drop. */
async function drop(page: Page, files: string[], check = async () => {}): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files, dragOperationsMask: 1 };
  const send = (type: "dragEnter" | "dragOver" | "drop") =>
    session.send("Input.dispatchDragEvent", { type, x: 300, y: 300, data });
  await send("dragEnter");
  await send("dragOver");
  await check();
  await send("drop");
}

for (const how of ["field", "picker", "drop"] as const) {
  test(`a folder that is given by ${how} is kept and opens again without it`, async ({ easel }) => {
    const { page } = easel;
    const place = folder("my model", modelFiles());
    if (how === "field") await withoutPicker(page);
    if (how === "picker") await page.addInitScript(feignPicker);
    await open(easel);
    if (how === "field") await pick(easel, "folder", place);
    else if (how === "picker") {
      await page.evaluate(fillFeigned, modelTexts());
      await page.getByRole("button", { name: "Open folder…" }).click();
    } else {
      await drop(page, [place], async () => {
        await expect(page.getByText("Drop a model's folder")).toBeVisible();
        await page.screenshot({ path: "test-results/drop.png" });
      });
      await expect(page.getByText("Drop a model's folder")).toBeHidden();
    }
    await opened(easel);
    await expect(row(easel, "my model")).toContainText(/complete · .*from this device/);
    await page.screenshot({ path: "test-results/local-model.png", fullPage: true });
    await page.reload();
    await easel.ready();
  });
}

/** A model whose files are texts, for a feigned picker. */
function modelTexts(): Record<string, string> {
  const files = Object.entries(modelFiles(1000));
  return Object.fromEntries(files.map(([path, bytes]) => [path, Buffer.from(bytes).toString("latin1")]));
}

/** Runs in the page: its picker gives a folder that the browser keeps for tests. */
function feignPicker(): void {
  const chosen = async () =>
    (await navigator.storage.getDirectory()).getDirectoryHandle("chosen", { create: true });
  Object.assign(window, {
    showDirectoryPicker: async () => {
      const folder = await chosen();
      for await (const name of folder.keys()) if (name === "my model") return folder.getDirectoryHandle(name);
      return folder;
    },
  });
}

/** Runs in the page: puts files into the folder of the feigned picker. */
async function fillFeigned(files: Record<string, string>): Promise<void> {
  const root = await navigator.storage.getDirectory();
  const chosen = await root.getDirectoryHandle("chosen", { create: true });
  const model = await chosen.getDirectoryHandle("my model", { create: true });
  for (const [path, text] of Object.entries(files)) {
    const parts = path.split("/");
    const name = parts.pop() ?? "";
    let folder = model;
    for (const part of parts) folder = await folder.getDirectoryHandle(part, { create: true });
    const file = await (await folder.getFileHandle(name, { create: true })).createWritable();
    await file.write(text);
    await file.close();
  }
}

test("a checkpoint that is dropped is kept with a tokenizer and opens again without it", async ({
  easel,
  context,
}) => {
  await open(easel);
  await drop(easel.page, [join(folder("x", { "dream.safetensors": CHECKPOINT }), "dream.safetensors")]);
  await opened(easel);
  await expect(row(easel, "dream.safetensors")).toContainText("complete");
  await easel.page.evaluate(() => navigator.serviceWorker.ready.then(() => {}));
  await context.setOffline(true);
  await easel.page.reload();
  await easel.ready();
});

const PART = weightsNamed(["down_blocks.0.resnets.0.conv1.weight"]);
const { "unet/config.json": _, ...WITHOUT_CONFIG } = modelFiles(9);
for (const { given, says } of [
  { given: { "model.ckpt": "x" }, says: /model\.ckpt is a pickle, and opening a pickle can run code/ },
  { given: { "model.gguf": "x" }, says: /model\.gguf is a GGUF file/ },
  { given: { "model.zip": "x" }, says: /model\.zip is a packed archive: unpack it/ },
  { given: { "notes.txt": "x" }, says: /notes\.txt is no model: a model is a folder/ },
  { given: { "a.safetensors": PART }, says: /a\.safetensors holds the weights of one network/ },
  { given: { "a.safetensors": weightsNamed(["emb_params"]) }, says: /is a textual inversion/ },
  {
    given: { "a.safetensors": weightsNamed(["model.diffusion_model.a"]) },
    says: /is only a part of a model/,
  },
  { given: { "a.safetensors": "<!doctype html>" }, says: /not a safetensors file: its header is too long/ },
  { given: { "a.safetensors": "" }, says: /not a safetensors file: it ends before its header/ },
  { given: { "a.tar": "x" }, says: /archive is damaged or cut off/ },
]) {
  test(`a file that is dropped is refused: ${says.source}`, async ({ easel }) => {
    const place = folder("given", given);
    await open(easel);
    await drop(
      easel.page,
      Object.keys(given).map((name) => join(place, name)),
    );
    await expect(easel.alert.filter({ hasText: says })).toBeVisible();
  });
}

for (const { given, says } of [
  { given: {}, says: /there are no files in it/i },
  { given: { "cat.png": "x" }, says: /cat\.png is a picture, not a model/ },
  { given: { "a/b.txt": "x" }, says: /there is no model_index\.json in it/i },
  { given: { "a.safetensors": PART, "b.safetensors": PART }, says: /several \.safetensors files/ },
  { given: { "a/model_index.json": "{}", "b/model_index.json": "{}" }, says: /several models/ },
  { given: { "model_index.json": "{}" }, says: /names no part of a model/ },
  { given: WITHOUT_CONFIG, says: /unet\/config\.json is missing from the model/ },
  {
    given: withManifest(modelFiles(9), { sha256: "0".repeat(64) }),
    says: /model_index\.json is damaged \(its SHA-256/,
  },
  { given: withManifest(modelFiles(9), { size: 3 }), says: /has \d+ bytes, not 3, as manifest\.json says/ },
]) {
  test(`a folder that is dropped is refused: ${says.source}`, async ({ easel }) => {
    const place = folder("given", given);
    await open(easel);
    await drop(easel.page, [place]);
    await expect(easel.alert.filter({ hasText: says })).toBeVisible();
  });
}

test("a folder that changed is another model", async ({ easel }) => {
  await open(easel);
  for (const count of [1, 2]) {
    await drop(easel.page, [folder("same name", modelFiles(1000 + count))]);
    await expect(row(easel, "same name")).toHaveCount(count);
    await opened(easel);
  }
});

test("two tabs that are given the same folder keep it once, and a model that is open is not deleted", async ({
  easel,
  context,
}) => {
  const place = folder("shared", modelFiles());
  const other = new EaselPage(await context.newPage());
  await Promise.all([easel, other].map(open));
  await Promise.all([easel, other].map(({ page }) => drop(page, [place])));
  await Promise.all([easel, other].map(opened));
  await expect(row(easel, "shared")).toHaveCount(1);
  const remove = async () => {
    await row(easel, "shared").getByRole("button", { name: "Delete" }).click();
    await row(easel, "shared").getByRole("button", { name: "Delete for good?" }).click();
  };
  await easel.page.goto(site("scripted", "?device=cpu"));
  await easel.ready();
  await easel.page.locator("#models > summary").click();
  await remove();
  await expect(row(easel, "shared")).toContainText("The model is open or being fetched");
  await other.page.close();
  await remove();
  await expect(row(easel, "shared")).toHaveCount(0);
});

test("a model is saved into a folder and opens from there, byte for byte", async ({ easel }) => {
  const { page } = easel;
  await page.addInitScript(feignPicker);
  const place = folder("original", modelFiles());
  await open(easel);
  await drop(page, [place]);
  await opened(easel);
  await row(easel, "original").getByRole("button", { name: "Save to files…" }).click();
  await expect(row(easel, "original")).toContainText("Saved as original.");
  const { "manifest.json": manifest, ...saved } = await page.evaluate(hashesOfFeigned, "original");
  expect(manifest).toBeDefined();
  expect(saved).toEqual(hashes(place));
  await page.getByRole("button", { name: "Open folder…" }).click();
  await expect(row(easel, "original")).toHaveCount(2);
  await opened(easel);
});

/** Runs in the page: SHA-256 of the files in a folder of the feigned picker. */
async function hashesOfFeigned(name: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const look = async (folder: FileSystemDirectoryHandle, prefix: string): Promise<void> => {
    for await (const entry of folder.values()) {
      if (entry instanceof FileSystemDirectoryHandle) await look(entry, `${prefix}${entry.name}/`);
      else if (entry instanceof FileSystemFileHandle) {
        const digest = await crypto.subtle.digest("SHA-256", await (await entry.getFile()).arrayBuffer());
        const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0"));
        found[prefix + entry.name] = hex.join("");
      }
    }
  };
  const root = await navigator.storage.getDirectory();
  await look(await (await root.getDirectoryHandle("chosen")).getDirectoryHandle(name), "");
  return found;
}

/** Runs in the page: names in the folder of the feigned picker, with the bytes of files. */
async function sizesOfFeigned(): Promise<Record<string, number | "folder">> {
  const chosen = await (await navigator.storage.getDirectory()).getDirectoryHandle("chosen");
  const sizes: Record<string, number | "folder"> = {};
  for await (const [name, entry] of chosen.entries()) {
    sizes[name] = entry instanceof FileSystemFileHandle ? (await entry.getFile()).size : "folder";
  }
  return sizes;
}

test("a model is saved beside what has its name, and nothing of it is left when it is damaged", async ({
  easel,
}) => {
  const { page } = easel;
  await page.addInitScript(feignPicker);
  await open(easel);
  await page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const chosen = await root.getDirectoryHandle("chosen", { create: true });
    await chosen.getDirectoryHandle("dream (2).safetensors", { create: true });
    const file = await (await chosen.getFileHandle("dream.safetensors", { create: true })).createWritable();
    await file.write("mine");
    await file.close();
  });
  await drop(page, [join(folder("x", { "dream.safetensors": CHECKPOINT }), "dream.safetensors")]);
  await opened(easel);
  const save = () => row(easel, "dream").getByRole("button", { name: "Save to files…" }).click();
  await save();
  await expect(row(easel, "dream")).toContainText("Saved as dream (3).safetensors.");
  const saved = {
    "dream.safetensors": 4,
    "dream (2).safetensors": "folder",
    "dream (3).safetensors": CHECKPOINT.length,
  };
  expect(await page.evaluate(sizesOfFeigned)).toEqual(saved);
  await page.evaluate(flipKeptByte, "dream.safetensors");
  await save();
  await expect(row(easel, "dream")).toContainText("is damaged");
  expect(await page.evaluate(sizesOfFeigned)).toEqual(saved);
});

/** Opens the model "original" from a folder, whose path it returns, in a browser that has no folder picker. */
async function openedWithoutPicker(easel: EaselPage): Promise<string> {
  await withoutPicker(easel.page);
  const place = folder("original", modelFiles());
  await open(easel);
  await pick(easel, "folder", place);
  await opened(easel);
  return place;
}

test("without a folder picker a model is saved as an archive that tar and the page open", async ({
  easel,
}) => {
  const { page } = easel;
  const place = await openedWithoutPicker(easel);
  const saving = page.waitForEvent("download");
  await row(easel, "original").getByRole("button", { name: "Save to files…" }).click();
  const download = await saving;
  expect(download.suggestedFilename()).toBe("original.tar");
  const out = mkdtempSync(join(tmpdir(), "easel-"));
  await download.saveAs(join(out, "original.tar"));
  execFileSync("tar", ["-xf", "original.tar"], { cwd: out });
  const { "manifest.json": manifest, ...saved } = hashes(join(out, "original"));
  expect(manifest).toBeDefined();
  expect(saved).toEqual(hashes(place));
  await pick(easel, "file", join(out, "original.tar"));
  await expect(row(easel, "original")).toHaveCount(2);
  await opened(easel);
});

test("a checkpoint is saved as the file that it was", async ({ easel }) => {
  const { page } = easel;
  await withoutPicker(page);
  const place = folder("x", { "dream.safetensors": CHECKPOINT });
  await open(easel);
  await pick(easel, "file", join(place, "dream.safetensors"));
  await opened(easel);
  const saving = page.waitForEvent("download");
  await row(easel, "dream").getByRole("button", { name: "Save to files…" }).click();
  const out = mkdtempSync(join(tmpdir(), "easel-"));
  await (await saving).saveAs(join(out, "dream.safetensors"));
  expect(hashes(out)).toEqual(hashes(place));
});

/** Runs in the page: how many archives take room. */
async function archives(): Promise<number> {
  const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("easel archives");
  let count = 0;
  for await (const _ of folder.keys()) count += 1;
  return count;
}

/** Runs in the page: how many archives a tab holds. */
async function archivesInUse(): Promise<number> {
  const { held = [] } = await navigator.locks.query();
  return held.filter(({ name }) => name?.startsWith("easel archives")).length;
}

test("an archive goes with the next one, with its tab and with its failure, and no other tab takes it", async ({
  easel,
  context,
}) => {
  const { page } = easel;
  await openedWithoutPicker(easel);
  const save = (tab: EaselPage) =>
    row(tab, "original").getByRole("button", { name: "Save to files…" }).click();
  const saved = async (tab: EaselPage) => {
    const saving = tab.page.waitForEvent("download");
    await save(tab);
    await (await saving).path();
    await expect(row(tab, "original")).toContainText("Saved as");
  };
  await saved(easel);
  await saved(easel);
  expect(await page.evaluate(archives)).toBe(1);
  const other = new EaselPage(await context.newPage());
  await withoutPicker(other.page);
  await open(other);
  await saved(other);
  expect(await page.evaluate(archives)).toBe(2);
  await other.page.close();
  await expect.poll(() => page.evaluate(archivesInUse)).toBe(1);
  await page.evaluate(flipKeptByte, WEIGHTS);
  await save(easel);
  await expect(row(easel, "original")).toContainText("is damaged: press Verify");
  expect(await page.evaluate(archives)).toBe(0);
});

const CHUNK = 16 << 10;
const SIZE = 5 * CHUNK + 1000;

/** A page of the storage alone. */
async function laboratory(
  page: Page,
  noteReceived: (path: string, start: number, length: number) => void,
): Promise<Worker> {
  await page.exposeFunction("noteReceived", noteReceived);
  return openLab(page);
}

/** A folder that the laboratory makes. */
function made(modified: number) {
  const { [WEIGHTS]: _weights, ...texts } = modelFiles(0);
  const files = Object.entries(texts).map(([path, text]) => ({
    path: `m/${path}`,
    contents: `${text}`,
    modified,
  }));
  return [...files, { path: `m/${WEIGHTS}`, contents: SIZE, modified }];
}

test("a tab that is closed in the middle costs less than a chunk, and only the same folder finishes it", async ({
  context,
}) => {
  const files = made(1);
  const first = await context.newPage();
  let fallSilent = () => {};
  const silent = new Promise<void>((resolve) => {
    fallSilent = resolve;
  });
  await first.exposeFunction("noteSilence", () => fallSilent());
  await laboratory(first, () => {});
  void first
    .evaluate(([given, size]) => lab.give(given, size, 2.5 * size), [files, CHUNK] as const)
    .catch(() => {});
  await silent;
  await first.close();
  const starts: number[] = [];
  const second = await context.newPage();
  await laboratory(second, (path, start) => {
    if (path.endsWith(WEIGHTS)) starts.push(start);
  });
  const address = await second.evaluate((given) => lab.addressOf(given), files);
  const complete = () => second.evaluate(([to, size]) => lab.complete(to, size), [address, CHUNK] as const);
  expect(await complete()).toMatch(/^needs_files: not all of m is in this browser: drop the same folder/);
  await second.evaluate(([given, size]) => lab.give(given, size), [made(2), CHUNK] as const);
  expect(await complete()).toMatch(/^needs_files/);
  starts.length = 0;
  expect(await second.evaluate(([given, size]) => lab.give(given, size), [files, CHUNK] as const)).toBe(
    "whole",
  );
  expect(starts[0]).toBe(2 * CHUNK);
  expect(await complete()).toBe("whole");
});

test("room is asked for before weights are copied", async ({ page }) => {
  const read: string[] = [];
  const worker = await laboratory(page, (path) => read.push(path));
  const result = await worker.evaluate(
    ([given, size]) => {
      navigator.storage.estimate = async () => ({ quota: 60_000, usage: 10_000 });
      return lab.give(given, size);
    },
    [made(1), CHUNK] as const,
  );
  expect(result).toMatch(/^quota: .* it needs 0\.1 MB more, but 0\.0 MB of that is missing/);
  expect(read.filter((path) => path.endsWith(WEIGHTS))).toEqual([]);
});
