// The page: built by vite into dist/.
import { say } from "./run.mjs";

/** Builds the page; `www/pkg/` must exist. */
export async function buildSite() {
  say("building the page");
  const { build } = await import("vite");
  await build({ logLevel: "warn" });
}
