// Packages from npm and from Debian.
import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import { fingerprint, unlessStamped } from "./cache.mjs";
import { Failure, output, root, run, say } from "./run.mjs";

/** `npm ci` in a folder, unless its `node_modules` already is what the lock file says. */
export async function npmPackages(folder = root) {
  const modules = join(folder, "node_modules");
  const lock = fingerprint([join(folder, "package-lock.json")]);
  await unlessStamped(join(modules, ".easel-lock"), lock, async () => {
    say(`installing npm packages${folder === root ? "" : ` of ${relative(root, folder)}`}`);
    const options = { cwd: folder, hint: "Is the npm registry reachable?" };
    await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], options);
  });
}

/** Path of a program that an npm package installs. */
export function npmProgram(name) {
  return join(root, "node_modules", ".bin", name);
}

/** Installs Debian packages; `why` completes "… are needed for". */
export async function debianPackages(names, why) {
  const wanted = names.join(" ");
  if (output("apt-get", ["--version"]) === undefined) {
    throw new Failure(
      `${wanted} needed for ${why}: this system has no apt-get, so install the like by hand.`,
    );
  }
  const administrator = process.getuid?.() === 0;
  if (!administrator && output("sudo", ["--version"]) === undefined) {
    throw new Failure(
      `${wanted} needed for ${why}: run \`apt-get install ${wanted}\` as root, then this again.`,
    );
  }
  const apt = (args) => {
    const command = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", ...args];
    const [program, ...rest] = administrator ? command : ["sudo", ...command];
    return run(program, rest, { hint: `Install by hand: apt-get install ${wanted}` });
  };
  say(`installing ${wanted} with apt-get, for ${why}`);
  await apt(["update"]);
  await apt(["install", "--yes", "--no-install-recommends", ...names]);
}

/** First of the paths that exists. */
export function firstExisting(paths) {
  return paths.find((path) => path && existsSync(path));
}
