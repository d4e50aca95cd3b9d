// LoRAs in the page: added, drawn with, left out and deleted, with the real engine and a tiny model.
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { type EaselPage, expect, site, test } from "./easel_page.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const GOLDENS = here("../goldens");

let folder = "";
test.beforeEach(() => {
  folder = mkdtempSync(here("../../models/test-"));
  cpSync(`${GOLDENS}/models/sd1`, folder, { recursive: true });
  for (const name of ["sd1-kohya", "sd1-old", "sdxl-kohya"]) {
    cpSync(`${GOLDENS}/loras/${name}.safetensors`, `${folder}/${name}.safetensors`);
  }
  writeFileSync(`${folder}/page.safetensors`, "<!DOCTYPE html><title>Not found</title>");
});
test.afterEach(() => rmSync(folder, { recursive: true }));

/** The picture that the page draws now, always from the same seed. */
async function picture(easel: EaselPage): Promise<Buffer> {
  await easel.set({ Seed: "7" });
  await easel.draw();
  await expect(easel.page.locator("#status")).toHaveText("Done");
  return (await easel.save()).bytes;
}

/** Adds a LoRA by its address; what the page then says. */
async function add({ page }: EaselPage, file: string, said: string | RegExp): Promise<void> {
  await page.getByLabel(/^LoRA: address/).fill(`models/${basename(folder)}/${file}`);
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await expect(page.locator("#lora-note")).toHaveText(said);
}

test("a LoRA changes pictures while the prompt asks for it, and leaves no trace", async ({ easel }) => {
  test.setTimeout(300_000);
  const { page } = easel;
  await page.goto(site("shipped", `?device=cpu&model=models/${basename(folder)}/`));
  await easel.ready();
  await easel.set({ Steps: "2", Width: "32", Height: "32" });
  await easel.type("a red fox");
  const plain = await picture(easel);

  await page.locator("#models > summary").click();
  await page.locator("#file-input").setInputFiles(`${GOLDENS}/loras/sd1-kohya.safetensors`);
  await expect(page.locator("#lora-note")).toHaveText("Kept. Move its slider to use it.");
  const prompt = page.getByLabel("Prompt", { exact: true });
  const slider = page.getByLabel("Strength of sd1-kohya");
  expect((await picture(easel)).equals(plain), "not asked for").toBe(true);
  await slider.fill("0.8");
  await expect(prompt).toHaveValue("a red fox <lora:sd1-kohya:0.8>");
  const styled = await picture(easel);
  expect(styled.equals(plain), "asked for").toBe(false);

  await add(easel, "sd1-old.safetensors", /^Kept/);
  await expect(page.getByRole("list", { name: "LoRAs in this browser" }).getByRole("listitem")).toHaveCount(
    2,
  );
  await prompt.fill("a red fox <lora:sd1-kohya:0.8><lora:sd1-old>");
  await expect(page.getByLabel("Strength of sd1-old")).toHaveValue("1");
  const both = await picture(easel);
  expect(both.equals(plain) || both.equals(styled), "two").toBe(false);
  await page.screenshot({ path: "test-results/loras.png", fullPage: true });

  await page.getByLabel("Strength of sd1-old").fill("0");
  await expect(prompt).toHaveValue("a red fox <lora:sd1-kohya:0.8>");
  expect((await picture(easel)).equals(styled), "one again").toBe(true);

  const row = page.getByRole("listitem").filter({ hasText: "sd1-kohya" });
  await row.getByRole("button", { name: "Delete" }).click();
  await row.getByRole("button", { name: "Delete for good?" }).click();
  await expect(prompt).toHaveValue("a red fox");
  expect((await picture(easel)).equals(plain), "deleted").toBe(true);
  await prompt.fill("a red fox <lora:sd1-kohya>");
  await easel.button.click();
  await expect(page.locator("#alert")).toContainText("there are sd1-old");

  await page.reload();
  await easel.ready();
  await prompt.fill("a red fox <lora:sd1-old>");
  expect((await picture(easel)).equals(plain), "kept").toBe(false);
});

test("fetching a LoRA can be called off, and begun again", async ({ easel }) => {
  const { page } = easel;
  await page.goto(site("shipped", `?device=cpu&model=models/${basename(folder)}/`));
  await page.locator("#models > summary").click();
  // A host that never answers.
  const silent = "**/sd1-old.safetensors";
  await page.context().route(silent, () => {});
  await page.getByLabel(/^LoRA: address/).fill(`models/${basename(folder)}/sd1-old.safetensors`);
  await page.getByRole("button", { name: "Add", exact: true }).click();
  const cancel = page.locator("#lora-cancel");
  await cancel.click();
  await expect(page.locator("#lora-note")).toHaveText(/stopped/);
  await expect(cancel).toBeHidden();
  await page.context().unroute(silent);
  await add(easel, "sd1-old.safetensors", /^Kept/);
});

test("what is no LoRA, or one of another family, is named and does no harm", async ({ easel }) => {
  test.setTimeout(300_000);
  const { page } = easel;
  await page.goto(site("shipped", `?device=cpu&model=models/${basename(folder)}/`));
  await easel.ready();
  await easel.set({ Steps: "1", Width: "32", Height: "32" });
  await page.locator("#models > summary").click();
  await add(easel, "page.safetensors", /not a safetensors file/);
  await add(easel, "unet/diffusion_pytorch_model.safetensors", /holds no LoRA/);
  await add(easel, "gone.safetensors", /missing|not on the server/);
  await add(easel, "", /ends in .safetensors/);
  await add(easel, "sdxl-kohya.safetensors", /^Kept/);
  await page.getByLabel("Strength of sdxl-kohya").fill("1");
  await easel.button.click();
  await expect(page.locator("#alert-code")).toHaveText("bad_lora");
  await expect(page.locator("#alert")).toContainText("made for another family of models");
  await easel.type("a red fox");
  await picture(easel);
});
