// Writes the icons of the installed app, as PNG files in www/public/, from icon.svg there. To be run when that changes:
// `node tools/icons.mjs`.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium as playwright } from "@playwright/test";
import { chromium } from "./lib/browser.mjs";
import { root, say, script } from "./lib/run.mjs";

const PUBLIC = join(root, "www", "public");
const BACKGROUND = "#b8431a";

/** Systems cut maskable icons to shapes of their own: what matters is to be in a circle of 80% of the side. */
const ICONS = [
  { file: "icon-192.png", size: 192, scale: 1, background: "transparent" },
  { file: "icon-512.png", size: 512, scale: 1, background: "transparent" },
  { file: "icon-maskable.png", size: 512, scale: 0.85, background: BACKGROUND },
];

await script(async () => {
  const svg = readFileSync(join(PUBLIC, "icon.svg")).toString("base64");
  const browser = await playwright.launch({ executablePath: await chromium(), args: ["--no-sandbox"] });
  const page = await browser.newPage();
  for (const { file, size, scale, background } of ICONS) {
    await page.setViewportSize({ width: size, height: size });
    const image = `<img alt="" src="data:image/svg+xml;base64,${svg}" width="${scale * size}" height="${scale * size}">`;
    await page.setContent(
      `<body style="margin:0;display:grid;place-items:center;height:100vh;background:${background}">${image}`,
    );
    await page.locator("img").evaluate((element) => element.decode());
    await page.screenshot({ path: join(PUBLIC, file), omitBackground: background === "transparent" });
    say(`wrote ${file}`);
  }
  await browser.close();
});
