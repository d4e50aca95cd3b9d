// The licences of what the built site and the npm package ship of others: crates in the wasm module, npm packages in the
// scripts, and what the starter model was made of.
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fingerprint, unlessStamped } from "./cache.mjs";
import { Failure, output, root, say } from "./run.mjs";

export const NOTICES = "THIRD-PARTY-LICENSES.txt";

const TARGET = "wasm32-unknown-unknown";
const crateNotices = join(root, "www", "pkg", "crates-LICENSES.txt");
const starterFolder = join(root, "models", "starter");
const LICENCE_FILE = /^(licen[cs]e|copying|copyright|notice|unlicense)/i;
const RULE = "=".repeat(78);
const THIN = "-".repeat(78);

const INTRODUCTION = `Easel is offered under the MIT licence or the Apache License 2.0, as you choose. It is built with the
works listed here, and with Rust's standard library (MIT or Apache License 2.0, by the Rust project's
developers, https://github.com/rust-lang/rust). Where a work offers several licences, any one of them may
be chosen. The sources of all of them, those under the Mozilla Public License among them, are at the
addresses given.`;

/** Writes down the licences of the crates in the wasm module, unless they are known; `toolchain` is the one that built it. */
export async function noteCrates({ cargo, env }) {
  const inputs = ["Cargo.lock", "crate/Cargo.toml", "tools/lib/notices.mjs"].map((path) => join(root, path));
  mkdirSync(dirname(crateNotices), { recursive: true });
  const stamp = join(dirname(crateNotices), ".notices");
  await unlessStamped(stamp, fingerprint(inputs), async () => {
    say("collecting the licences of crates");
    writeFileSync(crateNotices, notices(shippedCrates(cargo, env)));
  });
}

/** All notices as one text. */
export function allNotices() {
  // A build for tests may have no engine in it.
  const crates = existsSync(crateNotices) ? readFileSync(crateNotices, "utf8") : "";
  return [
    INTRODUCTION,
    section("The starter model and its training data", starterTexts()),
    section("In the scripts", notices(shippedPackages())),
    section("In the WebAssembly module", crates),
  ].join("\n\n");
}

function section(title, text) {
  return `${RULE}\n${title}\n${RULE}\n\n${text}`;
}

/** What cargo links into the module: the resolved graph for wasm, without what only runs while it is compiled. */
function shippedCrates(cargo, env) {
  const scope = ["--locked", "--target", TARGET, "--edges", "normal,no-proc-macro", "--package", "easel"];
  const tree = output(cargo, ["tree", ...scope, "--prefix", "none", "--format", "{p}"], { env, loud: true });
  const filter = ["--format-version", "1", "--locked", "--filter-platform", TARGET];
  const metadata = output(cargo, ["metadata", ...filter], { env, loud: true });
  if (tree === undefined || metadata === undefined) throw new Failure("cargo did not tell what it linked.");
  const linked = new Set(tree.split("\n").map((line) => line.split(" ", 2).join(" ")));
  const crates = JSON.parse(metadata).packages.filter(
    ({ name, version }) => name !== "easel" && linked.has(`${name} v${version}`),
  );
  return crates.map(({ name, version, license, repository, homepage, authors, manifest_path }) => ({
    name: `${name} ${version}`,
    licence: license ?? "see its file",
    source: repository ?? homepage ?? `the crate ${name}`,
    authors: authors.join(", "),
    texts: licenceTexts(dirname(manifest_path)),
  }));
}

/** The dependencies of package.json, and theirs. */
function shippedPackages() {
  const { dependencies } = readJson(join(root, "package.json"));
  const found = new Map();
  const wanted = Object.keys(dependencies);
  for (let name = wanted.pop(); name !== undefined; name = wanted.pop()) {
    if (found.has(name)) continue;
    const folder = join(root, "node_modules", name);
    const {
      version,
      license,
      author,
      repository,
      dependencies: own = {},
    } = readJson(join(folder, "package.json"));
    found.set(name, {
      name: `${name} ${version}`,
      licence: license,
      source: repository?.url ?? `the npm package ${name}`,
      authors: typeof author === "string" ? author : (author?.name ?? ""),
      texts: licenceTexts(folder),
    });
    wanted.push(...Object.keys(own));
  }
  return [...found.values()].sort((a, b) => a.name.localeCompare(b.name));
}

/** Every licence text once, after the works that it is of. */
function notices(works) {
  const list = works.map(
    ({ name, licence, source, authors, texts }) =>
      `${name}: ${licence}, ${source}${texts.length === 0 && authors ? `, by ${authors}` : ""}`,
  );
  const owners = new Map();
  for (const { name, texts } of works) {
    for (const text of texts) owners.set(text, [...(owners.get(text) ?? []), name]);
  }
  const texts = [...owners].map(([text, names]) => `${THIN}\n${names.join(", ")}\n\n${text}`);
  return [list.join("\n"), ...texts].join("\n\n");
}

/** The notice itself comes before the texts that it names. */
function starterTexts() {
  const files = licenceFiles(starterFolder).reverse();
  return files.map((path) => `${THIN}\n${basename(path)}\n\n${textOf(path)}`).join("\n\n");
}

function licenceTexts(folder) {
  return licenceFiles(folder).map(textOf);
}

/** Paths of the licence files in a folder, sorted. */
function licenceFiles(folder) {
  const names = readdirSync(folder).filter((name) => LICENCE_FILE.test(name));
  const files = names.map((name) => join(folder, name));
  return files.filter((path) => statSync(path).isFile()).sort();
}

function textOf(path) {
  return readFileSync(path, "utf8").replaceAll("\r\n", "\n").trim();
}

function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}
