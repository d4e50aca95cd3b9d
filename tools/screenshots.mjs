// `npm run screenshots`: every view of the built site as a picture in docs/views/, to be looked at. Arguments are names of
// tours to take alone.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "./lib/browser.mjs";
import { Failure, root, say, script } from "./lib/run.mjs";
import { serveStatic } from "./lib/static_host.mjs";
import { THEIR_PAGE, TOURS, theirPage } from "./lib/tours.mjs";

const OUT = join(root, "docs", "views");
const QUALITY = 0.85;
const ARGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--force-color-profile=srgb",
];
const FORMS = {
  desktop: { viewport: { width: 1280, height: 900 }, deviceScaleFactor: 1 },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true },
};

/** Takes what the window shows as WebP, which the browser itself makes of a PNG. */
async function take(page, painter, name) {
  const png = (await page.screenshot({ animations: "disabled", caret: "hide" })).toString("base64");
  const webp = await painter.evaluate(
    async ([source, quality]) => {
      const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${source}`)).blob());
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      const blob = await canvas.convertToBlob({ type: "image/webp", quality });
      return Array.from(new Uint8Array(await blob.arrayBuffer()));
    },
    [png, QUALITY],
  );
  writeFileSync(join(OUT, `${name}.webp`), Uint8Array.from(webp));
  say(`${name}.webp, ${Math.round(webp.length / 1000)} kB`);
}

async function tour(browser, site, { name, form, scheme, visit, views }) {
  const context = await browser.newContext({ ...FORMS[form], colorScheme: scheme, locale: "en-GB" });
  const painter = await context.newPage();
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  try {
    const shot = async (view) => {
      if (views && !views.includes(view)) return;
      // Nothing is pointed at.
      await page.mouse.move(0, 0);
      await take(page, painter, `${name}-${view}`);
    };
    await visit({ page, site, shot });
  } finally {
    await context.close();
  }
}

await script(async (names) => {
  const wanted = names.length === 0 ? TOURS : TOURS.filter(({ name }) => names.includes(name));
  if (wanted.length === 0) throw new Failure(`there are ${TOURS.map(({ name }) => name).join(", ")}.`);
  const { chromium: launcher } = await import("@playwright/test");
  mkdirSync(OUT, { recursive: true });
  const site = await serveStatic(join(root, "dist"));
  const engine = await serveStatic(join(root, "build", "npm"), { [THEIR_PAGE]: theirPage(site.url) });
  const browser = await launcher.launch({ executablePath: await chromium(), args: ARGS });
  try {
    for (const each of wanted) await tour(browser, { page: site.url, engine: engine.url }, each);
  } finally {
    await browser.close();
    site.close();
    engine.close();
  }
});
