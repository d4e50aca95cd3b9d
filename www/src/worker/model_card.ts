// What a model's card, the README.md of its repository, says of the licence.
import { type HubModel, hubFolder } from "../shared/model_address.ts";
import type { Licence } from "../shared/protocol.ts";

const LONGEST_NAME = 80;

/** Reads the front matter of a card; `undefined` when it names no licence. */
export function licenceOf(card: string, model: HubModel): Licence | undefined {
  const front = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card)?.[1] ?? "";
  const field = (name: string) =>
    new RegExp(`^${name}:[ \\t]*["']?([^"'\\r\\n]+)`, "m").exec(front)?.[1]?.trim();
  const licence = field("license");
  // Licences without a common name are "other", and have their name in a field of its own.
  const name = licence === "other" ? (field("license_name") ?? licence) : licence;
  if (!name) return undefined;
  return { name: name.slice(0, LONGEST_NAME), link: linkOf(field("license_link"), model) };
}

/** The licence's text, or the model's page where the card gives no link to it. */
function linkOf(link: string | undefined, model: HubModel): string {
  const page = new URL(`${model.owner}/${model.name}`, model.hub).href;
  if (link === undefined) return page;
  const folder = hubFolder({ ...model, folder: "" }, "blob", model.revision);
  if (!URL.canParse(link, folder.href)) return page;
  const url = new URL(link, folder);
  return /^https?:$/.test(url.protocol) ? url.href : page;
}
