// One model's host: requests, what their answers mean, and the bytes of files however often the connection breaks.
import { EaselError } from "../shared/errors.ts";
import { type HubModel, hubModel } from "../shared/model_address.ts";
import { type Patience, Retries, requestedDelay, stopped, Transient, withRetries } from "./retries.ts";

/** A part of a file, from `start` to before `end`. */
export interface Range {
  start: number;
  end: number;
}

/** What must be known of a file to fetch parts of it. */
export interface RemoteFile {
  path: string;
  size: number;
  /** `ETag` or `Last-Modified` of the file as it was first met; absent where the address itself never changes. */
  validator?: string;
}

export interface HostOptions {
  /** Sent to the origin of the model's address and nowhere else. */
  token: string | undefined;
  patience: Patience;
  signal: AbortSignal;
}

/** Most bytes of a file that is read at once. */
export const LARGEST_TEXT = 32 << 20;
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/** The files below one address. Every request is a plain GET, so that public files need no permission beforehand. */
export class Host {
  readonly base: URL;
  readonly hub: HubModel | undefined;
  readonly options: HostOptions;

  constructor(base: URL, options: HostOptions) {
    this.base = base;
    this.hub = hubModel(base);
    this.options = options;
  }

  /** The same host for another folder. */
  at(base: URL): Host {
    return new Host(base, this.options);
  }

  retries(): Retries {
    return new Retries(this.options.patience, this.options.signal);
  }

  /** One attempt. The answer has status 200 or 206. */
  async ask(path: string, watch: Watch, range?: Range): Promise<Response> {
    const response = await this.#ask(path, watch, range);
    if (response.ok && !isPage(response)) return response;
    if (response.status === 404 || response.status === 410) {
      throw new EaselError("changed_file", `${path} is not on the server, or not any more`);
    }
    throw refusal(response, path, this);
  }

  /** One attempt for a file that a model may lack: `undefined` where it does. */
  async askFor(path: string, watch: Watch, range?: Range): Promise<Response | undefined> {
    const response = await this.#ask(path, watch, range);
    if (response.ok && !isPage(response)) return response;
    if (this.#isAbsence(response)) return undefined;
    throw refusal(response, path, this);
  }

  async #ask(path: string, watch: Watch, range: Range | undefined): Promise<Response> {
    // A redirect leads to an address that expires, so that every request starts from the file's own.
    const response = await this.#fetch(path, watch, range);
    if (PASSING.has(response.status)) {
      const requestedMs = requestedDelay(response.headers.get("retry-after"), Date.now());
      const message = `${path} could not be fetched: the server said ${response.status}. Load again later`;
      throw new Transient("http", message, { requestedMs });
    }
    if (response.status === 416) {
      throw new EaselError("changed_file", `${path} has changed on the server: it is shorter than it was`);
    }
    return response;
  }

  async #fetch(path: string, watch: Watch, range: Range | undefined): Promise<Response> {
    const url = new URL(path.split("/").map(encodeURIComponent).join("/"), this.base);
    // The address of a file may need its query, that of a folder is no file's.
    if (!this.base.pathname.endsWith("/")) url.search = this.base.search;
    const headers = new Headers();
    if (range) headers.set("Range", `bytes=${range.start}-${range.end - 1}`);
    if (this.options.token) headers.set("Authorization", `Bearer ${this.options.token}`);
    try {
      // The store keeps files better than the HTTP cache, which would hold them a second time.
      const init: RequestInit = { credentials: "omit", referrerPolicy: "no-referrer", cache: "no-store" };
      return await fetch(url, { ...init, headers, signal: watch.signal });
    } catch (cause) {
      throw this.lost(path, cause);
    }
  }

  /** Hosts other than a hub answer with 403 or with a page of their own for what they do not have. */
  #isAbsence(response: Response): boolean {
    if (response.status === 404 || response.status === 410) return missing(response);
    return !this.hub && (response.status === 403 || isPage(response));
  }

  /** The error of a connection that broke, unless it was us who broke it. */
  lost(path: string, cause: unknown): EaselError {
    if (this.options.signal.aborted) return stopped();
    const message = `${path} could not be fetched: check the network, then load again`;
    return new Transient("network", message, { cause });
  }

  /** Asks for a file that a model may lack, with retries, and lets `use` read the answer. */
  async get<T>(
    path: string,
    use: (response: Response, watch: Watch) => Promise<T>,
    range?: Range,
  ): Promise<T | undefined> {
    return withRetries(this.retries(), async () => {
      const watch = new Watch(this.options);
      try {
        const response = await this.askFor(path, watch, range);
        return response && (await use(response, watch));
      } finally {
        // What `use` has not read is not wanted.
        watch.end();
      }
    });
  }

  /** A small file in one piece. */
  small(
    path: string,
  ): Promise<{ bytes: Uint8Array<ArrayBuffer>; headers: Headers; url: string } | undefined> {
    return this.get(path, async (response, watch) => {
      const pieces: Uint8Array<ArrayBuffer>[] = [];
      let size = 0;
      for await (const piece of this.received(response, path, watch)) {
        size += piece.length;
        if (size > LARGEST_TEXT)
          throw new EaselError("not_a_model_file", `${path} is larger than such a file can be`);
        pieces.push(piece);
      }
      const bytes = new Uint8Array(await new Blob(pieces).arrayBuffer());
      return { bytes, headers: response.headers, url: response.url };
    });
  }

  /** What comes over the network, as it comes; leaving the loop early ends the connection. */
  async *received(response: Response, path: string, watch: Watch): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const reader = response.body?.getReader();
    if (!reader) return;
    try {
      for (;;) {
        watch.wait();
        const { done, value } = await reader.read();
        // While the bytes are put to use, the host is not the one that keeps us waiting.
        watch.heard();
        if (done) return;
        yield value;
      }
    } catch (cause) {
      throw this.lost(path, cause);
    }
  }
}

/** Ends a request when its download is stopped, and when its host is waited for in vain. */
export class Watch {
  readonly #controller = new AbortController();
  readonly #options: HostOptions;
  readonly #abort = () => this.#controller.abort();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: HostOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", this.#abort);
    if (options.signal.aborted) this.#abort();
    this.wait();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  heard(): void {
    clearTimeout(this.#timer);
  }

  wait(): void {
    this.heard();
    this.#timer = setTimeout(this.#abort, this.#options.patience.stallMs);
  }

  end(): void {
    this.heard();
    this.#options.signal.removeEventListener("abort", this.#abort);
    this.#abort();
  }
}

function isPage(response: Response): boolean {
  return response.headers.get("content-type")?.startsWith("text/html") ?? false;
}

/** Whether a 404 is about the file, and not about the whole model or its revision. */
function missing(response: Response): boolean {
  const reason = response.headers.get("x-error-code");
  return reason !== "RepoNotFound" && reason !== "RevisionNotFound";
}

/** The sentence for an answer that more attempts would not change. */
function refusal(response: Response, path: string, { hub, options }: Host): EaselError {
  if (response.ok) {
    const message = `the server answered with a web page instead of ${path}: check the model's address`;
    // Networks that ask to sign in answer so for anything, until one has.
    return new Transient("not_a_model_file", message);
  }
  const { status } = response;
  if (!hub) {
    const code = status === 401 || status === 403 ? "forbidden" : "http";
    return new EaselError(code, `${path} could not be fetched: the server said ${status}`);
  }
  const model = `${hub.owner}/${hub.name}`;
  const page = new URL(model, hub.hub).href;
  const reason = response.headers.get("x-error-code");
  if (reason === "RevisionNotFound") {
    return new EaselError(
      "model_not_found",
      `${model} has no revision \`${hub.revision}\`: check the address`,
    );
  }
  if (status === 403 || reason === "GatedRepo") {
    const first = `${model} asks its users to accept terms: sign in at ${page} and accept them`;
    const then = options.token
      ? "then load again"
      : "make an access token in the hub's settings and give it under Models";
    return new EaselError("forbidden", `${first}, ${then}`);
  }
  if (status === 401 && options.token) {
    const advice = "check that it is whole, still valid, and may read this model";
    return new EaselError(
      "forbidden",
      `${hub.hub.host} did not take the access token for ${model}: ${advice}`,
    );
  }
  if (status === 401 || status === 404) {
    const advice = "check the spelling; a private or gated model needs an access token, under Models";
    return new EaselError("model_not_found", `${hub.hub.host} shows no model ${model}: ${advice}`);
  }
  return new EaselError("http", `${path} could not be fetched: the server said ${status}`);
}
