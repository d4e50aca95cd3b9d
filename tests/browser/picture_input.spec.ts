// Pictures given to the page: to start from, to paint a mask on, to read settings from; and links, with the scripted
// engine, which keeps what it is to keep of a picture and draws the rest in teal.
import { deflateSync } from "node:zlib";
import type { Page } from "@playwright/test";
import { chunkOf } from "../../www/src/shared/png_chunks.ts";
import { textChunk, withText } from "../../www/src/shared/png_text.ts";
import { violations } from "./accessibility.ts";
import { type EaselPage, expect, site, test } from "./easel_page.ts";
import { SCRIPTED_MODEL } from "./scripted_model.ts";

const TEAL = [0, 128, 128, 255];
const RED = [255, 0, 0, 255];

/** A PNG file of one colour, the left half of which may have another. */
function picture(width: number, height: number, right = RED, left = right): Blob {
  const row = Array.from({ length: width }, (_, x) => (x < width / 2 ? left : right).slice(0, 3)).flat();
  const rows = Uint8Array.from(Array.from({ length: height }, () => [0, ...row]).flat());
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint16(8, 0x0802);
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10);
  const pixels = new Uint8Array(deflateSync(rows));
  const end = chunkOf("IEND", new Uint8Array());
  return new Blob([signature, chunkOf("IHDR", new Uint8Array(header.buffer)), chunkOf("IDAT", pixels), end]);
}

async function open(easel: EaselPage, query = "?device=cpu"): Promise<void> {
  await easel.page.goto(site("scripted", query));
  await easel.ready();
}

async function choose(page: Page, file: Blob): Promise<void> {
  const buffer = Buffer.from(await file.arrayBuffer());
  await page
    .getByLabel("Picture to start from", { exact: true })
    .setInputFiles({ name: "a.png", mimeType: "image/png", buffer });
  await expect(named(page, "Remove")).toBeVisible();
}

/** Drops a file on an element, or pastes it there. */
async function give(
  page: Page,
  how: "drop" | "paste",
  file: Blob,
  place = "body",
  type = "image/png",
): Promise<void> {
  const bytes = [...new Uint8Array(await file.arrayBuffer())];
  const transfer = await page.evaluateHandle(
    ([content, kind]) => {
      const made = new DataTransfer();
      made.items.add(new File([Uint8Array.from(content)], "given.png", { type: kind }));
      return made;
    },
    [bytes, type] as const,
  );
  const event = how === "drop" ? { dataTransfer: transfer } : { clipboardData: transfer, bubbles: true };
  if (how === "drop") return page.locator(place).dispatchEvent("drop", event);
  await page.evaluate((clipboardData) => {
    document.body.dispatchEvent(
      new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }),
    );
  }, transfer);
}

const named = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const dropped = (page: Page, name = "Settings in this picture") => page.getByRole("dialog", { name });

/** Draws, and returns pixels of the finished picture. */
async function drawn(easel: EaselPage, points: [x: number, y: number][]): Promise<number[][]> {
  await easel.set({ Steps: "1" });
  await easel.draw();
  const { bytes } = await easel.save();
  const read = async ([file, places]: [number[], typeof points]) => {
    const bitmap = await createImageBitmap(new Blob([Uint8Array.from(file)]));
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context?.drawImage(bitmap, 0, 0);
    return places.map(([x, y]) => [...(context?.getImageData(x, y, 1, 1).data ?? [])]);
  };
  return easel.page.evaluate(read, [[...bytes], points] as [number[], typeof points]);
}

/** The middle of the frame, and its size, on the screen. */
async function frameOf(page: Page) {
  const frame = page.locator(".start-frame");
  await frame.scrollIntoViewIfNeeded();
  const box = await frame.boundingBox();
  if (!box) throw new Error("there is no picture to paint on");
  return box;
}

test("a picture is cut to the request's shape and drawn from", async ({ easel }) => {
  await open(easel);
  await choose(easel.page, picture(96, 32, RED, [0, 0, 255, 255]));
  await easel.set({ "Strength as a number": "0.5" });
  await expect(easel.page.getByRole("slider", { name: "Strength" })).toHaveValue("0.5");
  const [left, right] = await drawn(easel, [
    [2, 32],
    [61, 32],
  ]);
  expect(left).toEqual([0, 0, 255, 255]);
  expect(right).toEqual(RED);
  const { bytes } = await easel.save();
  expect(bytes.toString("latin1")).toContain("Denoising strength: 0.5,");
  await named(easel.page, "Remove").click();
  expect(await drawn(easel, [[2, 32]])).toEqual([TEAL]);
});

test("a mask is painted with the mouse, erased, undone, inverted, and kept over a reload", async ({
  easel,
}) => {
  const { page } = easel;
  await open(easel);
  await choose(page, picture(64, 64));
  await named(page, "Paint a mask").click();
  const at = async (x: number, y: number) => {
    const box = await frameOf(page);
    return [box.x + box.width * x, box.y + box.height * y] as const;
  };
  await page.mouse.move(...(await at(0.2, 0.5)));
  await page.mouse.down();
  await page.mouse.move(...(await at(0.8, 0.5)), { steps: 4 });
  await page.mouse.up();
  await page.screenshot({ path: "test-results/mask.png" });
  expect(await violations(page)).toEqual([]);
  expect(
    await drawn(easel, [
      [32, 32],
      [32, 50],
    ]),
  ).toEqual([TEAL, RED]);
  await named(page, "Eraser").click();
  await page.mouse.click(...(await at(0.5, 0.5)));
  expect(
    await drawn(easel, [
      [32, 32],
      [16, 32],
    ]),
  ).toEqual([RED, TEAL]);
  await named(page, "Undo").press("Control+z");
  expect(await drawn(easel, [[32, 32]])).toEqual([TEAL]);
  // What was done last is kept, too, by a page that is left in the same moment.
  const loaded = page.waitForEvent("load");
  await named(page, "Invert").evaluate((button: HTMLButtonElement) => {
    button.click();
    location.reload();
  });
  await loaded;
  await easel.ready();
  // A finger that scrolls the page is not to paint.
  await expect(named(page, "Paint a mask")).toHaveAttribute("aria-pressed", "false");
  expect(
    await drawn(easel, [
      [32, 32],
      [32, 50],
    ]),
  ).toEqual([RED, TEAL]);
});

test("a picture of the gallery is drawn again from what it was drawn from", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await easel.type("from a picture");
  await choose(page, picture(64, 64));
  await named(page, "Paint a mask").click();
  const { x, y, width, height } = await frameOf(page);
  await page.mouse.click(x + 0.5 * width, y + 0.5 * height);
  await easel.set({ "Strength as a number": "0.5" });
  const places: [number, number][] = [
    [32, 32],
    [4, 60],
  ];
  expect(await drawn(easel, places)).toEqual([TEAL, RED]);
  const first = (await easel.save()).bytes;
  await easel.draw();
  expect(await startsKept(page)).toBe(1);
  await named(page, "Remove").click();
  await easel.type("another");
  expect(await drawn(easel, places)).toEqual([TEAL, TEAL]);

  await page.locator("#gallery").evaluate((gallery) => gallery.scrollIntoView({ block: "end" }));
  await named(page, "from a picture").last().click();
  await named(page, "Draw again").click();
  await expect(page.locator("#gallery")).toContainText("4 pictures");
  expect((await easel.save()).bytes.equals(first)).toBe(true);
  expect(await startsKept(page)).toBe(1);
  await page.locator(".toast").getByRole("button", { name: "Undo" }).click();
  await expect(named(page, "Choose a picture")).toBeVisible();
  await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("another");

  // A picture from noise is drawn again from noise, whatever is set now.
  await choose(page, picture(64, 64));
  await page.locator("#gallery").evaluate((gallery) => gallery.scrollIntoView({ block: "end" }));
  await named(page, "another").click();
  await named(page, "Draw again").click();
  await expect(page.locator("#gallery")).toContainText("5 pictures");
  await expect(named(page, "Choose a picture")).toBeVisible();

  for (const left of [4, 3, 2]) {
    await page.locator("#gallery").evaluate((gallery) => gallery.scrollIntoView({ block: "end" }));
    await named(page, "from a picture").first().focus();
    await page.keyboard.press("Delete");
    await expect(page.locator("#gallery")).toContainText(`${left} pictures`);
  }
  // The last one can be brought back until its message goes.
  expect(await startsKept(page)).toBe(1);
  await named(page, "Close this message").click();
  await expect.poll(() => startsKept(page)).toBe(0);
});

/** How many pictures to start from the gallery keeps. */
function startsKept(page: Page): Promise<number> {
  return page.evaluate(async () => {
    const settled = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const db = await settled(indexedDB.open("easel-gallery"));
    const count = await settled(db.transaction("starts").objectStore("starts").count());
    db.close();
    return count;
  });
}

test("a mask is made with keys alone", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await choose(page, picture(64, 64));
  await named(page, "Paint a mask").press("Enter");
  await page.getByText("Mask a rectangle").press("Enter");
  await page.getByLabel("Left of a rectangle").fill("50");
  await page.getByLabel("Height of a rectangle").fill("100");
  await named(page, "Mask it").press("Enter");
  expect(
    await drawn(easel, [
      [16, 32],
      [48, 8],
      [48, 60],
    ]),
  ).toEqual([RED, TEAL, TEAL]);
  await named(page, "All").press("Enter");
  await named(page, "Unmask it").press("Enter");
  expect(
    await drawn(easel, [
      [16, 32],
      [48, 8],
    ]),
  ).toEqual([TEAL, RED]);
});

test("a finger paints, and scrolls where it does not paint", async ({ browser }) => {
  const context = await browser.newContext({
    hasTouch: true,
    isMobile: true,
    viewport: { width: 390, height: 800 },
  });
  const page = await context.newPage();
  await page.goto(site("scripted", "?device=cpu"));
  await choose(page, picture(64, 64));
  const overlay = page.locator(".start-frame .mask");
  await expect(overlay).not.toHaveCSS("touch-action", "none");
  await named(page, "Paint a mask").tap();
  await expect(overlay).toHaveCSS("touch-action", "none");
  const box = await frameOf(page);
  const touch = await context.newCDPSession(page);
  const points = (x: number) => [{ x: box.x + box.width * x, y: box.y + box.height / 2 }];
  await touch.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: points(0.2) });
  for (const x of [0.4, 0.6, 0.8]) {
    await touch.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: points(x) });
  }
  await touch.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  await expect(named(page, "Undo")).toBeEnabled();
  const share = await page.getByRole("img", { name: /masked/ }).getAttribute("aria-label");
  // A line of 0.6 by 0.12 of the frame with round ends.
  expect(Number(/(\d+) %/.exec(share ?? "")?.[1])).toBeGreaterThan(6);
  await page.screenshot({ path: "test-results/mask-phone.png" });
  await context.close();
});

for (const how of ["drop", "paste"] as const) {
  test(`settings of a picture are shown and used (${how})`, async ({ easel }) => {
    const { page } = easel;
    await open(easel);
    const text =
      "a fox\nNegative prompt: blurry\nSteps: 5, Sampler: Euler, CFG scale: 3, Seed: 7, Size: 80x64, Model: other";
    await give(page, how, withText(picture(64, 64), "parameters", text));
    await expect(dropped(page).locator("dl").first()).toContainText("Modelother");
    expect(await violations(page)).toEqual([]);
    await page.screenshot({ path: `test-results/dropped-${how}.png` });
    await named(page, "Use these settings").click();
    await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("a fox");
    await expect(page.getByLabel("Width", { exact: true })).toHaveValue("80");
    await expect(page.locator("#sampler")).toHaveValue("euler");
    await expect(named(page, "Remove")).toBeHidden();
  });
}

test("a picture without settings, and one dropped on its place, are started from", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  await give(page, "paste", picture(64, 64));
  await expect(named(page, "Remove")).toBeVisible();
  await named(page, "Remove").click();
  await give(page, "drop", withText(picture(64, 64), "parameters", "a fox"), "#picture-input");
  await expect(named(page, "Remove")).toBeVisible();
  await named(page, "Remove").click();
  await give(page, "drop", withText(picture(64, 64), "parameters", "a fox"));
  await named(page, "Start from the picture").click();
  await expect(named(page, "Remove")).toBeVisible();
});

test("hostile texts are texts, and hostile pictures are refused", async ({ easel }) => {
  const { page } = easel;
  await open(easel);
  const markup =
    "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>\u202egnp\u0007";
  await give(
    page,
    "drop",
    withText(picture(8, 8), "parameters", `${markup}\nSteps: 1, Sampler: ${markup}, Seed: 1, A b: 2`),
  );
  await expect(dropped(page).locator("dd").first()).toHaveText(markup);
  await expect(page.locator("dialog img")).toHaveCount(2);
  await named(page, "Close").click();
  const { title } = await page.evaluate(() => ({ title: document.title }));
  expect(title).not.toBe("owned");
  const bomb = chunkOf(
    "zTXt",
    new Uint8Array([...Buffer.from("parameters\0\0"), ...deflateSync(Buffer.alloc(100 << 20))]),
  );
  const file = picture(8, 8);
  await give(
    page,
    "drop",
    new Blob([file.slice(0, 33), bomb, textChunk("parameters", "x".repeat(1000)), file.slice(33)]),
  );
  await expect(dropped(page)).toContainText("One text in this file was passed over");
  await named(page, "Close").click();
  const huge = picture(8, 8);
  const header = new Uint8Array(await huge.slice(16, 29).arrayBuffer());
  header.set([0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
  await give(page, "drop", new Blob([huge.slice(0, 8), chunkOf("IHDR", header), huge.slice(33)]));
  await expect(easel.alert).toContainText("more than 67 million pixels");
  await give(page, "drop", new Blob(["no picture"]));
  await expect(easel.alert).toContainText("cannot read this picture");
  await expect(named(page, "Remove")).toBeHidden();
});

test("a link fills the form, draws nothing, and is gone from the address", async ({ easel, context }) => {
  const { page } = easel;
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await open(easel);
  await easel.type("a fox & a <b>hen</b>");
  await easel.set({ Steps: "1", Seed: "77", "Negative prompt": "rain" });
  await easel.draw();
  await named(page, "Copy link").click();
  const readText = () => page.evaluate(() => navigator.clipboard.readText());
  await expect.poll(readText).toContain("#prompt=");
  const link = await readText();
  expect(new URL(link).search).toBe("");
  await named(page, "Copy image").click();
  const readTypes = () => page.evaluate(async () => (await navigator.clipboard.read())[0]?.types);
  await expect.poll(readTypes).toEqual(["image/png"]);
  await easel.type("something else");
  await easel.set({ Seed: "1" });
  await page.goto("about:blank");
  await page.goto(link.replace("#", "?device=cpu#"));
  await easel.ready();
  await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("a fox & a <b>hen</b>");
  await expect(page.getByLabel("Seed", { exact: true })).toHaveValue("77");
  await expect(page.getByLabel("Negative prompt")).toHaveValue("rain");
  await expect(page.locator("#frame")).toHaveAttribute("data-state", "empty");
  expect(new URL(page.url()).hash).toBe("");
  await named(page, "Undo").click();
  await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("something else");
  await page.reload();
  await easel.ready();
  await expect(page.getByLabel("Seed", { exact: true })).toHaveValue("1");
});

for (const fragment of [
  "#steps=1e9&seed=-1&width=7",
  "#prompt",
  "#%ff%00",
  `#prompt=${"%F0".repeat(30_000)}`,
]) {
  test(`the hostile fragment ${fragment.slice(0, 30)} does no harm`, async ({ easel }) => {
    await easel.page.goto(site("scripted", `?device=cpu${fragment}`));
    await easel.ready();
    await expect(easel.page.getByLabel("Steps")).toHaveValue(String(SCRIPTED_MODEL.steps));
    await easel.draw();
  });
}

test("a link to a model of another site asks, and to one of a forbidden host refuses", async ({ easel }) => {
  await easel.page.goto(site("scripted", "#model=https://example.org/model&prompt=a+fox"));
  await expect(easel.alert).toContainText("model_host");
});
