// How people name models, and where those names lead.
import { EaselError } from "./errors.ts";
import { isWeightsFile, otherFormat } from "./formats.ts";

/** What a build knows of places; origins and folders of models. */
export interface Places {
  /** The page's folder. */
  page: URL;
  /** The hub that `owner/name` means; its files are at `/{owner}/{name}/resolve/{revision}/{path}`. */
  hub: URL;
  /** A folder with folders `owner/name/` to use in the hub's place. */
  modelBaseUrl: URL | undefined;
  /** Sources, as a Content-Security-Policy writes them, that models may come from beside the page's own origin. */
  hosts: readonly string[];
}

/** A model on a hub, or on a host with a hub's addresses. */
export interface HubModel {
  /** The hub, with a slash at its end; its origin alone may see an access token. */
  hub: URL;
  owner: string;
  name: string;
  revision: string;
  /** Folder inside the repository: empty, or with a slash at its end; or the path of a checkpoint. */
  folder: string;
}

const OWN_FOLDER = "models/";
const LOCAL = "local:";
const LOCAL_MODEL = /^local:\/[0-9a-f]{16}\/[^/?#]+\/?$/;
const REPOSITORY = /^[\w-][\w.-]*\/[\w-][\w.-]*$/;
const RESOLVE = /^(.*\/)([^/]+)\/([^/]+)\/resolve\/([^/]+)\/(.*)$/;
const REPOSITORY_PATH = /^([\w-][\w.-]*\/[\w-][\w.-]*)\/(tree|blob|resolve)\/([^/?#]+)(?:\/(.*))?$/;
const REPOSITORY_PAGE = /^\/([\w.-]+)\/([\w.-]+)(?:\/(?:tree|blob|resolve)\/([^/]+)(\/.*)?)?\/?$/;

/**
 * Address of a model's folder, with a slash at its end, or of a checkpoint, which ends in `.safetensors`. `text` is
 * `owner/name`, a hub's page of a model or of a file, with or without the hub before it, an address of a folder, of a
 * `model_index.json` in it or of a checkpoint, or a path below the page; `models/…` is always the page's own.
 *
 * Throws `model_address` for what is no address, and `model_host` for one that the page may not read from.
 */
export function modelAddress(text: string, places: Places): URL {
  const name = text.trim();
  if (LOCAL_MODEL.test(name) && new URL(name).href === name) return new URL(name);
  const url = name.startsWith(OWN_FOLDER)
    ? parse(name, places)
    : (ofRepository(name, places) ?? parse(name, places));
  if (url.username || url.password) {
    throw new EaselError("model_address", "a model's address must not hold a name or a password");
  }
  if (url.origin === places.page.origin || places.hosts.some((host) => allows(host, url))) return url;
  const allowed = [places.page.origin, ...places.hosts].join(", ");
  throw new EaselError(
    "model_host",
    `the model \`${text}\` is not on a host that this page may read from (${allowed})`,
  );
}

/** What begins with the name of a repository: `undefined` for any other text. */
function ofRepository(text: string, { page, hub, modelBaseUrl }: Places): URL | undefined {
  const [, repository, , revision = "main", inside = ""] = REPOSITORY_PATH.exec(text) ?? [];
  const name = REPOSITORY.test(text) ? text : repository;
  if (name === undefined) return undefined;
  const url = modelBaseUrl
    ? new URL(`${name}/${inside}`, modelBaseUrl)
    : new URL(`${name}/resolve/${revision}/${inside}`, hub);
  return parse(url.href, { page, hub });
}

function parse(text: string, { page, hub }: Pick<Places, "page" | "hub">): URL {
  if (!URL.canParse(text, page.href)) {
    throw new EaselError("model_address", `\`${text}\` is no address of a model: try owner/name, or a URL`);
  }
  const url = new URL(text, page);
  url.hash = "";
  const [, owner, name, revision = "main", inside = ""] =
    (url.origin === hub.origin && REPOSITORY_PAGE.exec(url.pathname)) || [];
  if (owner) url.pathname = `/${owner}/${name}/resolve/${revision}${inside}`;
  // Links to a file that is to be downloaded say so in their query.
  if (url.origin === hub.origin) url.search = "";
  if (isWeightsFile(url.pathname)) return url;
  const other = otherFormat(url.pathname);
  if (other !== undefined) throw new EaselError("model_address", `${modelName(url)} ${other}`);
  url.pathname = url.pathname.replace(/\/model_index\.json$/, "/");
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}

/** Whether a source of a Content-Security-Policy covers an address: `https:`, or an origin with `*.` or `:*` in it. */
export function allows(source: string, url: URL): boolean {
  if (source === url.protocol) return true;
  const parts = /^(https?:)\/\/(\*\.)?([^:/]+)(?::(\d+|\*))?\/?$/.exec(source);
  if (!parts) return false;
  const [, protocol, anyHost, host = "", port = ""] = parts;
  const rightHost = anyHost ? url.hostname.endsWith(`.${host}`) : url.hostname === host;
  return url.protocol === protocol && rightHost && (port === "*" || url.port === port);
}

/** The parts of an address of a hub's kind; `undefined` for any other. */
export function hubModel(model: URL): HubModel | undefined {
  const [, before, owner, name, revision, folder] = RESOLVE.exec(model.pathname) ?? [];
  if (!owner || !name || !revision || before === undefined || folder === undefined) return undefined;
  return { hub: new URL(before, model), owner, name, revision, folder };
}

/** Address of a hub's folder of files: `kind` is `resolve` for the files themselves, `raw` for what git keeps. */
export function hubFolder({ hub, owner, name, folder }: HubModel, kind: string, revision: string): URL {
  return new URL(`${owner}/${name}/${kind}/${revision}/${folder}`, hub);
}

/** Name of the file that a model is, for the address of a checkpoint; `undefined` for that of a folder. */
export function checkpointName(model: URL): string | undefined {
  return model.pathname.endsWith("/") ? undefined : lastPart(model);
}

/** What to call a model: `owner/name`, or the name of its folder or file. */
export function modelName(model: URL): string {
  const onHub = hubModel(model);
  if (!onHub) return lastPart(model) ?? model.host;
  const file = checkpointName(model);
  return [onHub.owner, onHub.name, file].filter((part) => part !== undefined).join("/");
}

function lastPart({ pathname }: URL): string | undefined {
  const name = pathname.split("/").filter(Boolean).at(-1);
  try {
    return name && decodeURIComponent(name);
  } catch {
    // What is no escape is a name as it stands.
    return name;
  }
}

/**
 * Address of a model that the user gave: `local:/FINGERPRINT/NAME/` for a folder, without the last slash for a file. It is
 * the same whenever the same files are given, and only for them.
 */
export function localAddress(fingerprint: string, name: string, kind: "folder" | "file"): URL {
  // Paths have a meaning for names of dots, and characters may be halves.
  const harmless = name.replace(/[^\p{L}\p{N}._ -]/gu, "_").replace(/^\.+/, "") || "model";
  return new URL(`${LOCAL}/${fingerprint}/${encodeURIComponent(harmless)}${kind === "folder" ? "/" : ""}`);
}

export function isLocal(model: URL): boolean {
  return model.protocol === LOCAL;
}
