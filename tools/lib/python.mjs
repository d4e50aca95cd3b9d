// A Python environment with pinned packages, in the cache.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { cache, fingerprint, unlessStamped } from "./cache.mjs";
import { debianPackages } from "./packages.mjs";
import { output, root, run, say } from "./run.mjs";

/** The files with what is installed, together: pip refuses versions that contradict each other. */
export const REQUIREMENTS = ["models/starter/train", "tests/bench"].map((folder) =>
  join(root, folder, "requirements.txt"),
);

/**
 * Path of a Python with the packages of `REQUIREMENTS`, in an environment in the cache that is made if need be.
 * `EASEL_PYTHON` names one that has them already.
 */
export async function python() {
  if (process.env.EASEL_PYTHON) return process.env.EASEL_PYTHON;
  const folder = join(cache, "python");
  const interpreter = join(folder, "bin", "python");
  await unlessStamped(join(folder, ".requirements"), fingerprint(REQUIREMENTS), async () => {
    if (output("python3", ["-c", "import ensurepip"]) === undefined) {
      await debianPackages(["python3", "python3-venv"], "a Python environment");
    }
    say("making a Python environment (torch's packages for Linux have five gigabytes; some minutes, once)");
    if (!existsSync(interpreter)) await run("python3", ["-m", "venv", folder]);
    const files = REQUIREMENTS.flatMap((file) => ["--requirement", file]);
    await run(interpreter, ["-m", "pip", "install", "--quiet", ...files], {
      hint: "Is the package index reachable? EASEL_PYTHON names a Python that has the packages.",
    });
  });
  return interpreter;
}
