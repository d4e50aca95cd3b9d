// `npm run lighthouse`: what Lighthouse says of the built site in dist/, on a phone and on a desktop. It fails below the
// goals. It is none of the tests: a speed depends on what else the machine does. It fetches Lighthouse, which would more
// than double what `npm ci` installs, when it is run.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "./lib/browser.mjs";
import { Failure, root, say, script } from "./lib/run.mjs";
import { serveStatic } from "./lib/static_host.mjs";

/** 13 needs a newer Node. */
const LIGHTHOUSE = "lighthouse@12.8.2";
const FLAGS = "--headless=new --no-sandbox --disable-quic --no-first-run";
const GOALS = { performance: 95, accessibility: 100, "best-practices": 100 };
const PAGES = { page: "", frame: "embed.html" };
const FORMS = { phone: [], desktop: ["--preset=desktop"] };
const ROUNDS = 3;

function lighthouse(address, options) {
  const only = `--only-categories=${Object.keys(GOALS).join(",")}`;
  const args = ["--yes", LIGHTHOUSE, address, "--quiet", "--output=json", only, ...options];
  return new Promise((resolve, reject) => {
    const child = spawn("npx", [...args, `--chrome-flags=${FLAGS}`], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (data) => {
      text += data;
    });
    child.on("error", reject);
    child.on("close", (code) =>
      code === 0 ? resolve(JSON.parse(text)) : reject(new Failure(`Lighthouse ended with ${code}.`)),
    );
  });
}

/** Of several reports the one of median performance; the rest is the same in all. */
async function typical(address, options) {
  const reports = [];
  for (let round = 0; round < ROUNDS; round += 1) reports.push(await lighthouse(address, options));
  const speed = (report) => report.categories.performance.score;
  return reports.sort((a, b) => speed(a) - speed(b))[ROUNDS >> 1];
}

/** Prints scores and what costs points; returns the categories below their goals. */
function tell(name, { categories, audits }) {
  const scores = Object.entries(categories).map(([key, { score }]) => [key, Math.round(100 * score)]);
  say(`${name}: ${scores.map(([key, score]) => `${key} ${score}`).join(", ")}`);
  for (const { auditRefs } of Object.values(categories)) {
    for (const { id, weight } of auditRefs) {
      const { score, title, displayValue = "", details } = audits[id];
      if (weight === 0 || score === null || score >= 0.9) continue;
      say(`  ${title} ${displayValue}`);
      for (const { node } of details?.items?.slice(0, 5) ?? []) if (node) say(`    ${node.snippet}`);
    }
  }
  return scores.filter(([key, score]) => score < GOALS[key]).map(([key]) => `${name}: ${key}`);
}

await script(async () => {
  const site = join(root, "dist");
  if (!existsSync(join(site, "index.html"))) throw new Failure("`npm run build -- --optimize` comes first.");
  process.env.CHROME_PATH = await chromium();
  const { url, close } = await serveStatic(site);
  try {
    const missed = [];
    for (const [page, path] of Object.entries(PAGES)) {
      for (const [form, options] of Object.entries(FORMS)) {
        missed.push(...tell(`${page}, ${form}`, await typical(url + path, options)));
      }
    }
    if (missed.length > 0) throw new Failure(`goals were missed: ${missed.join("; ")}.`);
  } finally {
    close();
  }
});
