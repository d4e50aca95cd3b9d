import { EaselError } from "../shared/errors.ts";
import { modelAddress } from "../shared/model_address.ts";

const HUB = "https://huggingface.co";
/** Which hosts a page may read from is said by its Content-Security-Policy. */
const ANY_HOST = ["https:", "http:"];

/**
 * Address of a model that a page names: `owner/name` on the hub, the address of a folder in diffusers layout, or a path
 * below the page. Throws `model_address`.
 */
export function sourceAddress(source: string | URL, hub: string | URL = HUB): URL {
  if (!URL.canParse(hub, document.baseURI)) {
    throw new EaselError("model_address", `\`${hub}\` is no address of a hub`);
  }
  return modelAddress(String(source), {
    page: new URL(".", document.baseURI),
    hub: new URL(hub, document.baseURI),
    modelBaseUrl: undefined,
    hosts: ANY_HOST,
  });
}
