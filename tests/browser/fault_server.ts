// A host of models that behaves like a hub, like a plain web server, and like bad ones of both kinds.
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

/** What goes wrong with one answer; `at` is a share of its body. */
export type Fault =
  | { kind: "cut" | "flip" | "stall"; at: number }
  | { kind: "slow" | "long_length" | "short_length" | "other_range" | "other_total" | "page" | "reset" }
  | { kind: "status"; status: number; retryAfter?: string };

/** A model as a host shows it. */
export interface Hosted {
  /** `hub`: redirects to another origin, pointers, commits; the others: a folder with a manifest. */
  kind: "hub" | "ranges" | "no_ranges";
  files: ReadonlyMap<string, Buffer>;
  /** Faults by the answer with a body that they befall: the 5th of all is `any 4`, the first with weights `weights 0`. */
  faults: Map<`${"any" | "weights"} ${number}`, Fault>;
  /** After so many bytes the host goes silent; for tabs that are closed in the middle. */
  holdAfter?: number;
  /** The commit that `main` is at. */
  commit?: string;
  /** Answers of a gated model are for this token only. */
  token?: string;
  /** Status of the answer for what it lacks, 404 elsewhere. */
  absence?: number;
}

/** A request as it arrived. */
export interface Seen {
  origin: "hub" | "storage";
  path: string;
  range: string | undefined;
  authorization: string | undefined;
  method: string;
}

const PIECE = 4096;
export const CHUNK = 16 << 10;
const LARGE = /\.safetensors$/;
const EXPOSED = "X-Repo-Commit, X-Linked-ETag, X-Linked-Size, X-Error-Code, ETag, Content-Range, Retry-After";

export const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const gitBlob = (bytes: Buffer) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

/** What becomes of a model that is offered. */
export class Mounted {
  readonly hosted: Hosted;
  readonly seen: Seen[] = [];
  /** Resolves when the host has gone silent. */
  held: Promise<void> = Promise.resolve();
  hold: () => void = () => {};
  /** Faults that came to pass. */
  befallen: Fault[] = [];
  sent = 0;
  /** With a body, so far. */
  answers = 0;
  #weights = 0;

  constructor(hosted: Hosted) {
    this.hosted = hosted;
    this.again();
  }

  /** What befalls the next answer. */
  nextFault(weights: boolean): Fault | undefined {
    const { faults } = this.hosted;
    const fault =
      faults.get(`any ${this.answers}`) ?? (weights ? faults.get(`weights ${this.#weights}`) : undefined);
    this.answers += 1;
    if (weights) this.#weights += 1;
    if (fault) this.befallen.push(fault);
    return fault;
  }

  /** Speaks again, until `holdAfter` is reached anew. */
  again(): void {
    this.held = new Promise((resolve) => {
      this.hold = resolve;
    });
  }
}

/** Serves models at `/{owner}/{name}/…`, from an origin of its own and a second one for a hub's storage. */
export class FaultServer {
  readonly #models = new Map<string, Mounted>();
  readonly #tickets = new Map<string, Mounted>();
  readonly #hub: Server;
  readonly #storage: Server;

  constructor() {
    this.#hub = createServer((request, response) => void this.#answer("hub", request, response));
    this.#storage = createServer((request, response) => void this.#answer("storage", request, response));
  }

  async open(): Promise<void> {
    for (const server of [this.#hub, this.#storage]) {
      await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
    }
  }

  close(): void {
    for (const server of [this.#hub, this.#storage]) {
      server.closeAllConnections();
      server.close();
    }
  }

  get origin(): string {
    return `http://localhost:${(this.#hub.address() as AddressInfo).port}`;
  }

  get #storageOrigin(): string {
    return `http://localhost:${(this.#storage.address() as AddressInfo).port}`;
  }

  /** Offers a model as `owner/name` and returns what becomes of it. */
  mount(name: string, hosted: Hosted): Mounted {
    const mounted = new Mounted(hosted);
    this.#models.set(name, mounted);
    return mounted;
  }

  /** The address that a user would give. */
  address(name: string): string {
    const hub = this.#models.get(name)?.hosted.kind === "hub";
    return `${this.origin}/${name}/${hub ? "resolve/main/" : ""}`;
  }

  async #answer(origin: Seen["origin"], request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on("error", () => {});
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Access-Control-Expose-Headers", EXPOSED);
    const url = new URL(request.url ?? "/", this.origin);
    const [, owner, name, ...rest] = decodeURIComponent(url.pathname).split("/");
    const mounted = this.#models.get(`${owner}/${name}`);
    if (request.method === "OPTIONS") {
      response.setHeader("Access-Control-Allow-Headers", "Authorization, Range");
      return void response.writeHead(204).end();
    }
    if (!mounted) return void response.writeHead(404, { "X-Error-Code": "RepoNotFound" }).end();
    const { range, authorization } = request.headers;
    mounted.seen.push({ origin, path: rest.join("/"), range, authorization, method: request.method ?? "" });
    const found = this.#find(mounted, origin, url, rest, authorization, response);
    if (!found) return;
    const weights = LARGE.test(url.pathname) && rest[0] !== "raw" && range !== "bytes=0-0";
    await send(mounted, found, request, response, mounted.nextFault(weights));
  }

  /** The body for a request; an answer without one is given here. */
  #find(
    mounted: Mounted,
    origin: Seen["origin"],
    url: URL,
    rest: string[],
    authorization: string | undefined,
    response: ServerResponse,
  ): Buffer | undefined {
    const { kind, files, token, absence = 404 } = mounted.hosted;
    const absent = () => void response.writeHead(absence, { "X-Error-Code": "EntryNotFound" }).end();
    if (kind !== "hub")
      return rest.join("/") === "manifest.json" ? manifestOf(files) : (files.get(rest.join("/")) ?? absent());
    if (token !== undefined && origin === "hub" && authorization !== `Bearer ${token}`) {
      return void response.writeHead(401, { "X-Error-Code": "GatedRepo" }).end();
    }
    const [verb, revision, ...path] = rest;
    const commit = mounted.hosted.commit ?? "c".repeat(40);
    response.setHeader("X-Repo-Commit", commit);
    if (revision !== "main" && revision !== commit) {
      return void response.writeHead(404, { "X-Error-Code": "RevisionNotFound" }).end();
    }
    const file = files.get(path.join("/"));
    if (!file) return absent();
    if (!LARGE.test(path.join("/"))) {
      response.setHeader("ETag", `"${gitBlob(file)}"`);
      return file;
    }
    if (verb === "raw") return pointerOf(file);
    if (origin === "storage") {
      // Addresses of storage are for one request each.
      const ticket = url.searchParams.get("ticket") ?? "";
      return this.#tickets.delete(ticket) ? file : void response.writeHead(403).end();
    }
    const ticket = `${this.#tickets.size}-${mounted.seen.length}-${url.pathname}`;
    this.#tickets.set(ticket, mounted);
    const location = `${this.#storageOrigin}${url.pathname}?ticket=${encodeURIComponent(ticket)}`;
    const linked = { "X-Linked-ETag": `"${sha256(file)}"`, "X-Linked-Size": file.length };
    return void response.writeHead(302, { Location: location, ...linked }).end();
  }
}

function pointerOf(file: Buffer): Buffer {
  return Buffer.from(
    `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(file)}\nsize ${file.length}\n`,
  );
}

function manifestOf(files: ReadonlyMap<string, Buffer>): Buffer {
  const entries = [...files].map(([path, bytes]) => {
    const chunks = Array.from({ length: Math.ceil(bytes.length / CHUNK) }, (_, index) =>
      sha256(bytes.subarray(index * CHUNK, (index + 1) * CHUNK)),
    );
    return { path, size: bytes.length, sha256: sha256(bytes), chunk_size: CHUNK, chunk_sha256: chunks };
  });
  return Buffer.from(JSON.stringify({ version: 1, files: entries }));
}

async function send(
  mounted: Mounted,
  file: Buffer,
  request: IncomingMessage,
  response: ServerResponse,
  fault: Fault | undefined,
): Promise<void> {
  if (fault?.kind === "reset") return void request.socket.destroy();
  if (fault?.kind === "status") {
    const wait = fault.retryAfter === undefined ? {} : { "Retry-After": fault.retryAfter };
    return void response.writeHead(fault.status, wait).end();
  }
  if (fault?.kind === "page") {
    return void response
      .writeHead(200, { "Content-Type": "text/html" })
      .end("<!doctype html><p>Sign in first");
  }
  const asked = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  const ranged = asked && mounted.hosted.kind !== "no_ranges";
  let [start, end] = ranged
    ? [Number(asked[1]), Math.min(file.length, Number(asked[2]) + 1)]
    : [0, file.length];
  if (start >= file.length && file.length > 0) return void response.writeHead(416).end();
  let total = file.length;
  if (fault?.kind === "other_range" && start > 0) [start, end] = [start - 1, end - 1];
  if (fault?.kind === "other_total") total += 7;
  let body = Buffer.from(file.subarray(start, end));
  let length = body.length;
  if (fault?.kind === "long_length") length += 100;
  if (fault?.kind === "short_length") length = Math.max(0, length - 100);
  if (fault?.kind === "short_length") body = body.subarray(0, length);
  const place = "at" in (fault ?? {}) ? Math.floor((fault as { at: number }).at * body.length) : 0;
  if (fault?.kind === "flip" && body.length > 0) body[place] = (body[place] ?? 0) ^ 16;
  response.setHeader("Content-Type", "application/octet-stream");
  response.setHeader("Content-Length", length);
  if (ranged) response.setHeader("Content-Range", `bytes ${start}-${end - 1}/${total}`);
  response.writeHead(ranged ? 206 : 200);
  await write(mounted, body, response, fault, place);
}

async function write(
  mounted: Mounted,
  body: Buffer,
  response: ServerResponse,
  fault: Fault | undefined,
  place: number,
): Promise<void> {
  const breaksAt = fault?.kind === "cut" || fault?.kind === "stall" ? place : Number.POSITIVE_INFINITY;
  const { holdAfter = Number.POSITIVE_INFINITY } = mounted.hosted;
  for (let at = 0; at < body.length && !response.destroyed; at += PIECE) {
    const piece = body.subarray(at, Math.min(at + PIECE, breaksAt));
    response.write(piece);
    mounted.sent += piece.length;
    if (at + PIECE >= breaksAt) {
      if (fault?.kind === "cut") response.destroy();
      return;
    }
    if (mounted.sent >= holdAfter) {
      // The browser gets what was written before its tab goes.
      await pause(30);
      return mounted.hold();
    }
    await pause(fault?.kind === "slow" ? 5 : 0);
  }
  if (fault?.kind === "long_length") response.destroy();
  else response.end();
}
