// Where build outputs live: outside the checkout, so that a clean clone builds on earlier work.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** `EASEL_CACHE`, else `easel` in the user's cache folder. */
export const cache =
  process.env.EASEL_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "easel");
mkdirSync(cache, { recursive: true });

/** Hex SHA-256 of the contents of some files, in order. */
export function fingerprint(files) {
  const hash = createHash("sha256");
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest("hex");
}

/** Does `work` unless the stamp file already holds `value`; writes the stamp when it is done. */
export async function unlessStamped(stamp, value, work) {
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === value) return;
  await work();
  writeFileSync(stamp, value);
}
