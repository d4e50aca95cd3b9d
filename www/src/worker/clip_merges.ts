// The merges of CLIP's tokenizer, which single-file checkpoints do not carry.
import { EaselError } from "../shared/errors.ts";

/** Path under which they are kept beside a checkpoint; the engine looks there. */
export const MERGES = "merges.txt";

const ADDRESS = new URL("../../../assets/clip/merges.txt", import.meta.url);

/** The file that the page brings along. */
export async function clipMerges(): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(ADDRESS).catch((cause) => {
    throw new EaselError(
      "network",
      "the tokenizer could not be fetched: check the network, then load again",
      { cause },
    );
  });
  if (!response.ok)
    throw new EaselError("http", `the tokenizer could not be fetched: the server said ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
