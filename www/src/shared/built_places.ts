import type { Places } from "./model_address.ts";

declare const __MODEL_PLACES__: { hub: string; modelBaseUrl: string; hosts: string[] };

/** Where this build of a page looks for models. */
export function builtPlaces(page: URL): Places {
  const { hub, modelBaseUrl, hosts } = __MODEL_PLACES__;
  const base = new URL(".", page);
  return {
    page: base,
    hub: new URL(hub),
    modelBaseUrl: modelBaseUrl ? new URL(modelBaseUrl, base) : undefined,
    hosts,
  };
}
