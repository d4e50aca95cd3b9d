// Ways through the page, past all that it shows.
import { join } from "node:path";
import { root } from "./run.mjs";

const LORA = join(root, "tests", "goldens", "loras", "sd1-kohya.safetensors");
const PROMPTS = ["a red apple", "a sunflower", "a rainbow", "a fox", "a panda", "a purple heart"];

const button = (page, name) => page.getByRole("button", { name, exact: true });
const state = (page, name) => page.locator(`body[data-state="${name}"]`).waitFor();
/** Once more than the next frame, when what was asked for is drawn. */
const settled = (page) =>
  page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

async function visit(page, address) {
  await page.addInitScript(() =>
    Object.defineProperty(navigator.connection, "saveData", { value: true, configurable: true }),
  );
  await page.goto(`${address}?device=cpu`);
  await state(page, "offered");
  await page.getByText("Needs the network").waitFor();
}

async function getModel(page) {
  await page.locator("#go").click();
  await state(page, "ready");
  await page.getByText("Ready for offline use.").waitFor();
}

async function draw(page, prompt, seed) {
  await page.getByLabel("Prompt", { exact: true }).fill(prompt);
  await page.locator("#seed").fill(String(seed));
  await page.locator("#go").click();
  await state(page, "running");
  await state(page, "ready");
  await page.getByRole("link", { name: "Download PNG" }).waitFor();
}

async function open(page, panel) {
  await page.locator(`${panel} > summary`).click();
  await page.locator(panel).evaluate((element) => element.scrollIntoView({ block: "start" }));
  await settled(page);
}

async function toTop(page) {
  await page.evaluate(() => scrollTo(0, 0));
  await settled(page);
}

async function showGallery(page, count) {
  await page.getByText(count === 1 ? "One picture" : `${count} pictures`).waitFor();
  await page.locator("#gallery").evaluate((element) => element.scrollIntoView({ block: "end" }));
  await page.waitForFunction(() =>
    [...document.querySelectorAll("#gallery li img")].every((image) => image.complete),
  );
  await settled(page);
}

/** First visit, generating, finished, and what is below and behind that. */
async function everyday({ page, site, shot }) {
  await visit(page, site.page);
  await shot("first-visit");
  await button(page, "See them all").click();
  await shot("what-it-draws");
  await page.keyboard.press("Escape");
  await getModel(page);
  await page.getByLabel("Prompt", { exact: true }).fill("a red apple");
  await page.locator("#go").click();
  await page.waitForFunction(() => {
    const [, index, total] = /^(\d+)\/(\d+)/.exec(document.getElementById("progress-text").textContent) ?? [];
    return 2 * index >= total;
  });
  await shot("generating");
  await state(page, "ready");
  for (const [at, prompt] of PROMPTS.entries()) await draw(page, prompt, at + 4);
  await page.evaluate(() => document.activeElement.blur());
  await toTop(page);
  await shot("finished");
  await page.locator("#process").evaluate((element) => {
    element.open = true;
  });
  const scrubber = page.getByRole("slider", { name: "From noise to picture" });
  const last = await scrubber.getAttribute("max");
  await scrubber.fill(String(Math.floor(Number(last) / 2)));
  await page.locator("#process").evaluate((element) => element.scrollIntoView({ block: "end" }));
  await shot("how-it-works");
  await scrubber.fill(last);
  await gallery(page, shot);
  await panels(page, shot);
}

async function gallery(page, shot) {
  await showGallery(page, PROMPTS.length + 1);
  await shot("gallery");
  await page.locator("#gallery li button").first().click();
  await page.getByRole("dialog", { name: "Picture" }).waitFor();
  await button(page, "☆ Star").click();
  await button(page, "★ Starred").waitFor();
  await shot("viewer");
  await button(page, "Compare").click();
  await button(page, "End comparing").waitFor();
  await settled(page);
  await shot("compare");
  await page.keyboard.press("Escape");
}

async function panels(page, shot) {
  await open(page, "#advanced");
  await shot("advanced");
  await page.locator("#advanced > summary").click();
  await open(page, "#models");
  await page.getByRole("list", { name: "Models in this browser" }).getByRole("listitem").first().waitFor();
  await shot("models");
  await page.locator("#file-input").setInputFiles(LORA);
  await page.getByText("Kept. Move its slider").waitFor();
  await page.getByLabel("Strength of sd1-kohya").fill("0.8");
  await page.locator("#lora-list").evaluate((element) => element.scrollIntoView({ block: "center" }));
  await shot("loras");
  await page.getByLabel("Prompt", { exact: true }).fill("a red apple");
  await page.locator("#models > summary").click();
  await maskedPicture(page, shot);
  await page.getByLabel("Prompt", { exact: true }).fill("a (red:) apple");
  await page.locator("#go").click();
  await page.locator("#alert").waitFor();
  await settled(page);
  await shot("error");
  await button(page, "Keyboard shortcuts").click();
  await shot("shortcuts");
  await page.keyboard.press("Escape");
}

async function maskedPicture(page, shot) {
  await page.locator("#gallery li button").first().click();
  await button(page, "Start from it").click();
  await button(page, "Paint a mask").click();
  const frame = page.locator(".start-frame");
  await frame.evaluate((element) => element.scrollIntoView({ block: "center" }));
  const { x, y, width, height } = await frame.boundingBox();
  await page.mouse.move(x + 0.25 * width, y + 0.4 * height);
  await page.mouse.down();
  await page.mouse.move(x + 0.7 * width, y + 0.5 * height, { steps: 8 });
  await page.mouse.up();
  await page.locator("#picture-input").evaluate((element) => element.scrollIntoView({ block: "start" }));
  await settled(page);
  await shot("picture-and-mask");
  await button(page, "Remove").click();
}

/** Path of a page of somebody else. */
export const THEIR_PAGE = "/their-page.html";

/** That page, beside the files of the package, with the element and with the frame of the site at `site`. */
export function theirPage(site) {
  const model = new URL("models/starter/", site).href;
  const frame = new URL("embed.html#prompt=a+purple+heart&seed=4", site).href;
  return `<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Their page</title>
<script type="module" src="/dist/element.js"></script>
<style>
  body { margin: 2rem auto; max-width: 46rem; padding: 0 1rem; font: 1rem/1.6 Georgia, serif }
  div { display: flex; flex-wrap: wrap; gap: 2rem; align-items: start }
  h2 { font-size: 1rem }
</style>
<h1>A page with pictures</h1>
<div>
<section><h2>The element</h2>
<easel-image id="drawn" model="${model}" prompt="a red apple" seed="4" controls></easel-image></section>
<section><h2>The element, not asked yet</h2>
<easel-image model="${model}" prompt="a star" controls></easel-image></section>
<section><h2>The element, with an error</h2>
<easel-image id="wrong" model="${model}none/" prompt="a star" controls></easel-image></section>
<section><h2>The frame</h2>
<iframe title="A picture" src="${frame}" width="320" height="430"></iframe></section>
</div>
</html>`;
}

/** The element and the frame there. */
async function embedded({ page, site, shot }) {
  await page.goto(new URL(THEIR_PAGE, site.engine).href);
  await page.locator("#drawn").getByRole("button").click();
  await page.locator("#drawn").getByText("Done").waitFor();
  await page.locator("#wrong").getByRole("button").click();
  await page
    .locator("#wrong")
    .getByText(/\(\w+\)/)
    .waitFor();
  const inner = page.frameLocator("iframe");
  await inner.getByRole("button").click();
  await inner.getByText("Done").waitFor();
  await settled(page);
  await shot("element");
  await page.locator("iframe").evaluate((element) => element.scrollIntoView({ block: "end" }));
  await shot("frame");
}

/** Views that are taken in the dark too. */
const IN_THE_DARK = ["finished", "viewer", "models", "picture-and-mask", "error"];

/** `{name, form, scheme, visit, views}`: what a tour's pictures begin with, how it goes, and which are kept, all by default. */
export const TOURS = [
  { name: "desktop", form: "desktop", scheme: "light", visit: everyday },
  { name: "desktop-dark", form: "desktop", scheme: "dark", visit: everyday, views: IN_THE_DARK },
  { name: "phone", form: "phone", scheme: "light", visit: everyday },
  {
    name: "phone-dark",
    form: "phone",
    scheme: "dark",
    visit: everyday,
    views: ["first-visit", ...IN_THE_DARK],
  },
  { name: "embedded", form: "desktop", scheme: "light", visit: embedded },
  { name: "embedded-phone-dark", form: "phone", scheme: "dark", visit: embedded },
];
