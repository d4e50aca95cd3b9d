import { loraName, withLora } from "../shared/lora_tags.ts";
import { checkpointName } from "../shared/model_address.ts";
import type { LoraPlace } from "../shared/protocol.ts";
import { sourceAddress } from "./source.ts";
import type { LoraOption } from "./types.ts";

/**
 * A prompt with tags for LoRAs, and where those are that the tags name. Throws `model_address`.
 */
export function askedLoras(
  prompt: string,
  loras: readonly LoraOption[],
  hub: string | URL | undefined,
): { prompt: string; places: LoraPlace[] } {
  const places: LoraPlace[] = [];
  let tagged = prompt;
  for (const { source, strength = 1 } of loras) {
    const address = sourceAddress(source, hub);
    const file = loraName(checkpointName(address) ?? "");
    // Files of different folders may have one name.
    const taken = places.some(({ name }) => name === file);
    const name = taken ? `${file} ${places.length + 1}` : file;
    places.push({ name, address: address.href });
    tagged = withLora(tagged, name, strength);
  }
  return { prompt: tagged, places };
}
