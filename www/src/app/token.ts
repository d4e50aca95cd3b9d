// Access tokens for gated models: in memory, or for as long as the tab is open. Each is for one origin.
import { EaselError } from "../shared/errors.ts";
import { hubModel } from "../shared/model_address.ts";

const STORED = "easel.token ";
const LOCAL = /^(localhost|127\.0\.0\.1|\[::1\])$/;
const inMemory = new Map<string, string>();

/** The token for a model's host, when one was given. */
export function tokenFor(model: URL): string | undefined {
  return hubModel(model) ? (inMemory.get(model.origin) ?? stored(model.origin)) : undefined;
}

/** Takes a token for a model's hub; `keep` lets it outlive a reload. */
export function giveToken(model: URL, token: string, keep: boolean): void {
  if (!hubModel(model)) {
    throw new EaselError(
      "model_address",
      "an access token is for a model on a hub: owner/name, or its address there",
    );
  }
  if (model.protocol !== "https:" && !LOCAL.test(model.hostname)) {
    throw new EaselError("model_address", "an access token is sent over https only");
  }
  // A header takes nothing else.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new EaselError("model_address", "that is no access token");
  forgetToken(model);
  if (keep) sessionStorage.setItem(STORED + model.origin, token);
  else inMemory.set(model.origin, token);
}

export function forgetToken(model: URL): void {
  inMemory.delete(model.origin);
  sessionStorage.removeItem(STORED + model.origin);
}

function stored(origin: string): string | undefined {
  try {
    return sessionStorage.getItem(STORED + origin) ?? undefined;
  } catch {
    return undefined;
  }
}
