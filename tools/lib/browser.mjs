// What the tests need beyond the toolchains: a browser, and a Vulkan driver that works without a GPU.
import { existsSync, readdirSync } from "node:fs";
import { debianPackages, firstExisting } from "./packages.mjs";
import { Failure, output } from "./run.mjs";

const DRIVERS = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

function installedBrowser() {
  const named = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  return firstExisting([process.env.CHROMIUM, ...named.map((name) => output("which", [name]))]);
}

/** Path of a Chromium: `CHROMIUM`, one that is installed, or Debian's. */
export async function chromium() {
  if (!installedBrowser()) await debianPackages(["chromium"], "the browser tests");
  const path = installedBrowser();
  if (!path) throw new Failure("No Chromium was found: set CHROMIUM to the path of one.");
  return path;
}

/** Makes sure that some Vulkan driver is installed; lavapipe where there is none. */
export async function vulkanDriver() {
  const drivers = DRIVERS.filter(existsSync).flatMap((folder) => readdirSync(folder));
  if (process.platform === "linux" && !drivers.some((name) => name.endsWith(".json"))) {
    await debianPackages(["mesa-vulkan-drivers"], "the GPU tests");
  }
}
