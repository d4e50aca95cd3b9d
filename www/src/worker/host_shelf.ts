// What a host knows of the files of a model, before the first large byte is fetched.
import { asEaselError, EaselError } from "../shared/errors.ts";
import { checkpointName, type HubModel, hubFolder } from "../shared/model_address.ts";
import type { Licence } from "../shared/protocol.ts";
import { checkGitBlob, linkedSha256, parsePointer } from "./digest.ts";
import { announcedLength, contentRange, validatorOf } from "./file_bytes.ts";
import type { Host } from "./host.ts";
import { licenceOf } from "./model_card.ts";
import type { FileFacts, Shelf } from "./planner.ts";
import { Transient, withRetries } from "./retries.ts";

const COMMIT = /^[0-9a-f]{40}$/;
const COMMIT_IN_PATH = /\/([0-9a-f]{40})\//;
const CARD = "README.md";
/** Files that nearly every repository of a hub has. */
const SMALL_FILES = [".gitattributes", CARD];

/** A host's files. On a hub, the first answer names the commit that all others then come from. */
export class HostShelf implements Shelf {
  readonly name: string;
  readonly checkpoint: string | undefined;
  readonly #hub: HubModel | undefined;
  #host: Host;
  #commit: string | undefined;

  constructor(host: Host) {
    this.#host = host;
    this.#hub = host.hub;
    this.name = host.base.href;
    this.checkpoint = checkpointName(host.base);
  }

  get commit(): string | undefined {
    return this.#commit;
  }

  small(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.#small(this.#host, path);
  }

  #small(host: Host, path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return withRetries(host.retries(), async () => {
      const found = await host.small(path);
      if (!found) return undefined;
      if (this.#hub) await checkGitBlob(path, found.bytes, found.headers);
      this.#pin(found);
      return found.bytes;
    });
  }

  /** A small file of the repository that a hub's model is in. */
  async #repositoryFile(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const hub = this.#hub;
    if (!hub) return undefined;
    const folder = hubFolder({ ...hub, folder: "" }, "resolve", this.#commit ?? hub.revision);
    return this.#small(this.#host.at(folder), path);
  }

  #pin({ headers, url }: { headers: Headers; url: string }): void {
    if (!this.#hub || this.#commit !== undefined) return;
    const told = COMMIT.test(this.#hub.revision) ? this.#hub.revision : headers.get("x-repo-commit");
    this.#commit = told && COMMIT.test(told) ? told : COMMIT_IN_PATH.exec(new URL(url).pathname)?.[1];
    if (this.#commit) this.#host = this.#host.at(hubFolder(this.#hub, "resolve", this.#commit));
  }

  async large(path: string): Promise<FileFacts | undefined> {
    // The way to a large file hides its headers, so that only a small one tells the commit.
    for (const name of SMALL_FILES) {
      if (this.#hub && this.#commit === undefined) await this.#repositoryFile(name);
    }
    return withRetries(this.#host.retries(), async () => {
      const met = await this.#meet(path);
      if (!met) return undefined;
      const pointer = met.sha256 ? undefined : await this.#pointer(path);
      const size = met.size ?? pointer?.size;
      if (size === undefined) {
        const message = `the server does not say how large ${path} is, so that room for it cannot be asked for`;
        throw new EaselError("http", message);
      }
      if (pointer && pointer.size !== size) {
        throw new Transient("changed_file", `the server says two different sizes of ${path}`);
      }
      // What a commit names never changes; hosts of redirects have validators of their own.
      const validator = this.#commit === undefined && met.validator ? { validator: met.validator } : {};
      const sha256 = met.sha256 ?? pointer?.sha256;
      return { size, ...(sha256 && { sha256 }), ...validator };
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
    if (!this.#hub || this.#commit === undefined) return undefined;
    const raw = this.#host.at(hubFolder(this.#hub, "raw", this.#commit));
    const read = async (response: Response) =>
      (announcedLength(response) ?? 0) > 1024 ? "" : response.text();
    const text = await raw.get(path, read).catch((error) => {
      if (asEaselError(error).code === "cancelled") throw error;
      return undefined;
    });
    return text === undefined ? undefined : parsePointer(text);
  }

  async licence(): Promise<Licence | undefined> {
    const hub = this.#host.hub;
    const card = hub && (await this.#repositoryFile(CARD).catch(() => undefined));
    return hub && card && licenceOf(new TextDecoder().decode(card), hub);
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
