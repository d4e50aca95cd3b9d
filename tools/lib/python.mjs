// A Python environment with pinned packages, in the cache.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fingerprint, unlessStamped } from "./cache.mjs";
import { Failure, output, run, say } from "./run.mjs";

/**
 * Path of a Python with the packages of a `requirements.txt`, in an environment at `folder` that is made if need be.
 * `EASEL_PYTHON` names one that has them already.
 */
export async function pythonWith(requirements, folder) {
  if (process.env.EASEL_PYTHON) return process.env.EASEL_PYTHON;
  if (output("python3", ["--version"]) === undefined)
    throw new Failure("python3 is needed to export the UNet.");
  const python = join(folder, "bin", "python");
  await unlessStamped(join(folder, ".requirements"), fingerprint([requirements]), async () => {
    say("making a Python environment (torch's packages for Linux have some gigabytes, once)");
    const hint = "Debian: apt-get install python3-venv. EASEL_PYTHON names a Python that has the packages.";
    if (!existsSync(python)) await run("python3", ["-m", "venv", folder], { hint });
    await run(python, ["-m", "pip", "install", "--quiet", "--requirement", requirements], { hint });
  });
  return python;
}
