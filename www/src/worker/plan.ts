// Which files make up a model, how large they are and what they must be: asked before the first large byte is fetched.
import { asEaselError, EaselError } from "../shared/errors.ts";
import { hubFolder } from "../shared/model_address.ts";
import type { Licence } from "../shared/protocol.ts";
import { checkGitBlob, linkedSha256, parsePointer, sha256Hex } from "./digest.ts";
import { announcedLength, contentRange, validatorOf } from "./file_bytes.ts";
import type { Host } from "./host.ts";
import { MODEL_INDEX, type Part, parts, shardPaths, weightPaths } from "./layout.ts";
import { MANIFEST, type Manifest, parseManifest } from "./manifest.ts";
import { licenceOf } from "./model_card.ts";
import { Transient, withRetries } from "./retries.ts";

/** What is known of a file before it is fetched. */
export interface PlannedFile {
  path: string;
  size: number;
  /** Of the whole file, lower-case hex, where the source tells it. */
  sha256?: string;
  /** Bytes of a chunk; the last one may be smaller. */
  chunkSize: number;
  /** Of each chunk, where the manifest tells it. */
  chunkSha256?: string[];
  validator?: string;
}

/** The files of a model at one moment. */
export interface Plan {
  /** Commit that the files are of, on a hub. */
  commit?: string;
  /** The manifest as it came. */
  manifest?: string;
  licence?: Licence;
  files: PlannedFile[];
}

/** A plan with the small files that had to be read to make it. */
export interface Planned {
  plan: Plan;
  contents: Map<string, Uint8Array<ArrayBuffer>>;
}

const COMMIT = /^[0-9a-f]{40}$/;
const COMMIT_IN_PATH = /\/([0-9a-f]{40})\//;
const CARD = "README.md";
const TOKENIZER_FILES = ["tokenizer_config.json", "special_tokens_map.json"];

/** The manifest's text as it is on the host now, `undefined` for a model without one. */
export async function fetchManifest(
  host: Host,
): Promise<{ text: string; commit: string | undefined } | undefined> {
  const found = await host.small(MANIFEST);
  return found && { text: new TextDecoder().decode(found.bytes), commit: commitOf(found, host) };
}

/** The plan that a manifest is. */
export function planOfManifest(text: string, chunkSize: number, commit: string | undefined): Plan {
  return { ...(commit && { commit }), manifest: text, files: filesOf(parseManifest(text), chunkSize) };
}

function filesOf(manifest: Manifest, chunkSize: number): PlannedFile[] {
  return [...manifest.values()].map(({ chunks, ...file }) =>
    chunks ? { ...file, chunkSize: chunks.size, chunkSha256: chunks.sha256 } : { ...file, chunkSize },
  );
}

/** Finds the files of a model that has no manifest by its `model_index.json` and by asking for names. */
export async function planOfLayout(host: Host, chunkSize: number): Promise<Planned> {
  const index = await smallFile(host, MODEL_INDEX);
  if (!index) {
    const advice = "a model's address is that of its folder in diffusers layout";
    throw new EaselError("file_not_found", `there is no ${MODEL_INDEX} at ${host.base.href}: ${advice}`);
  }
  const commit = commitOf(index, host);
  const pinned = commit && host.hub ? host.at(hubFolder(host.hub, "resolve", commit)) : host;
  const planner = new Planner(pinned, chunkSize, commit);
  await planner.lookAround(index.bytes);
  return planner.planned;
}

type SmallFile = { bytes: Uint8Array<ArrayBuffer>; headers: Headers; url: string };

/** A small file, compared with what a hub says of it. */
function smallFile(host: Host, path: string): Promise<SmallFile | undefined> {
  return withRetries(host.retries(), async () => {
    const found = await host.small(path);
    if (found && host.hub) await checkGitBlob(path, found.bytes, found.headers);
    return found;
  });
}

/** The commit that an answer of a hub is of. */
function commitOf({ headers, url }: { headers: Headers; url: string }, { hub }: Host): string | undefined {
  if (!hub) return undefined;
  if (COMMIT.test(hub.revision)) return hub.revision;
  const told = headers.get("x-repo-commit");
  return told && COMMIT.test(told) ? told : COMMIT_IN_PATH.exec(new URL(url).pathname)?.[1];
}

class Planner {
  readonly planned: Planned;
  readonly #host: Host;
  readonly #chunkSize: number;

  constructor(host: Host, chunkSize: number, commit: string | undefined) {
    this.#host = host;
    this.#chunkSize = chunkSize;
    this.planned = { plan: { files: [], ...(commit && { commit }) }, contents: new Map() };
  }

  async lookAround(index: Uint8Array<ArrayBuffer>): Promise<void> {
    for (const part of parts(await this.#note(MODEL_INDEX, index))) {
      if (part.holds === "scheduler") await this.#require(`${part.folder}/scheduler_config.json`);
      else if (part.holds === "tokenizer") await this.#tokenizer(part.folder);
      else await this.#weights(part);
    }
    await this.#licence();
  }

  async #tokenizer(folder: string): Promise<void> {
    if ((await this.#small(`${folder}/tokenizer.json`)) === undefined) {
      for (const name of ["vocab.json", "merges.txt"]) await this.#require(`${folder}/${name}`);
    }
    for (const name of TOKENIZER_FILES) await this.#small(`${folder}/${name}`);
  }

  async #weights(part: Part): Promise<void> {
    await this.#require(`${part.folder}/config.json`);
    for (const path of weightPaths(part)) {
      if (path.endsWith(".json")) {
        const index = await this.#small(path);
        if (index === undefined) continue;
        for (const shard of shardPaths(path, index)) {
          if (!(await this.#large(shard))) throw absent(shard);
        }
        return;
      }
      if (await this.#large(path)) return;
    }
    const reason =
      "only weights in safetensors files are read, because opening .bin and .ckpt files can run code";
    throw new EaselError("file_not_found", `${part.folder} has no ${part.stem}.safetensors: ${reason}`);
  }

  async #require(path: string): Promise<string> {
    const text = await this.#small(path);
    if (text === undefined) throw absent(path);
    return text;
  }

  async #small(path: string): Promise<string | undefined> {
    const found = await smallFile(this.#host, path);
    return found && this.#note(path, found.bytes);
  }

  /** Takes a small file as it came: its bytes are what it must be. */
  async #note(path: string, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
    this.planned.contents.set(path, bytes);
    const file = { path, size: bytes.length, chunkSize: this.#chunkSize, sha256: await sha256Hex(bytes) };
    this.planned.plan.files.push(file);
    return new TextDecoder().decode(bytes);
  }

  /** Notes size and hash of a large file; whether it is there. */
  #large(path: string): Promise<boolean> {
    return withRetries(this.#host.retries(), async () => {
      const met = await this.#meet(path);
      if (!met) return false;
      const pointer = met.sha256 ? undefined : await this.#pointer(path);
      const size = met.size ?? pointer?.size;
      if (size === undefined) {
        const message = `the server does not say how large ${path} is, so that room for it cannot be asked for`;
        throw new EaselError("http", message);
      }
      if (pointer && pointer.size !== size) {
        throw new Transient("changed_file", `the server says two different sizes of ${path}`);
      }
      const { commit } = this.planned.plan;
      // What a commit names never changes; hosts of redirects have validators of their own.
      const validator = commit === undefined && met.validator ? { validator: met.validator } : {};
      const sha256 = met.sha256 ?? pointer?.sha256;
      const file = { path, size, chunkSize: this.#chunkSize, ...(sha256 && { sha256 }), ...validator };
      this.planned.plan.files.push(file);
      return true;
    });
  }

  /** What the answer to a request for a file's first byte tells of it. */
  async #meet(path: string): Promise<Met | undefined> {
    const met = await this.#host.get(path, meet, { start: 0, end: 1 });
    if (!met || met.size !== undefined) return met;
    // Hosts may keep `Content-Range` from pages of other origins, but not `Content-Length`.
    return { ...met, ...(await this.#host.get(path, meet)) };
  }

  /** Hubs keep a pointer with the hash in the place of a large file; the way to the file itself hides its headers. */
  async #pointer(path: string): Promise<{ sha256: string; size: number } | undefined> {
    const { hub } = this.#host;
    const { commit } = this.planned.plan;
    if (!hub || commit === undefined) return undefined;
    const raw = this.#host.at(hubFolder(hub, "raw", commit));
    const read = async (response: Response) =>
      (announcedLength(response) ?? 0) > 1024 ? "" : response.text();
    const text = await raw.get(path, read).catch((error) => {
      if (asEaselError(error).code === "cancelled") throw error;
      return undefined;
    });
    return text === undefined ? undefined : parsePointer(text);
  }

  async #licence(): Promise<void> {
    const { hub } = this.#host;
    const card = hub && (await this.#host.small(CARD).catch(() => undefined));
    const licence = hub && card && licenceOf(new TextDecoder().decode(card.bytes), hub);
    if (licence) this.planned.plan.licence = licence;
  }
}

interface Met {
  size: number | undefined;
  sha256: string | undefined;
  validator: string | undefined;
}

async function meet(response: Response): Promise<Met> {
  const part = contentRange(response);
  if (part === "unreadable" || (part && part.start !== 0)) {
    throw new Transient("bad_range", "the server sent another part of a file than was asked for");
  }
  const size = response.status === 206 ? part?.total : announcedLength(response);
  return { size, sha256: linkedSha256(response.headers), validator: validatorOf(response) };
}

function absent(path: string): EaselError {
  return new EaselError("file_not_found", `${path} is missing from the model`);
}

/** Bytes of all files. */
export function planBytes({ files }: Plan): number {
  return files.reduce((sum, file) => sum + file.size, 0);
}
