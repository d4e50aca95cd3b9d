// The page: built by vite into dist/.
import { join } from "node:path";
import { root, say } from "./run.mjs";

/** Settings of the shipped page. */
export const configFile = join(root, "vite.config.js");

/** Builds the page; `www/pkg/` must exist. */
export async function buildSite() {
  say("building the page");
  const { build } = await import("vite");
  await build({ configFile, logLevel: "warn" });
}
