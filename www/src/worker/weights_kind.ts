// What a safetensors file holds, told by the names of its tensors before anything else of it is read.
import { EaselError } from "../shared/errors.ts";
import type { Plan } from "./plan.ts";
import type { ByteSource, Provider } from "./provider.ts";
import { LENGTH_BYTES, readHeader } from "./safetensors.ts";

/** `checkpoint`: a whole model; `lora`: changes to the layers of one; `embedding`: new words; `part`: weights of one network. */
export type WeightsKind = "checkpoint" | "lora" | "embedding" | "part";

const UNET = "model.diffusion_model.";
/** Places of the other networks in a checkpoint, under the names of each family. */
const REST = [["first_stage_model."], ["cond_stage_model.", "conditioner.embedders."]];
const LORA = /(^|[._])lora[._]|\.hada_w|\.lokr_w/;
const EMBEDDING = /^(emb_params|clip_[lg]|<.+>)$/;

/**
 * Tells what the file `name` is. Throws `bad_safetensors` for a file of another kind or a damaged one, and
 * `not_a_model_file` for a checkpoint that lacks networks.
 */
export async function weightsKind(name: string, source: ByteSource): Promise<WeightsKind> {
  const tensors = await tensorNames(name, source);
  const has = (prefixes: readonly string[]) =>
    tensors.some((tensor) => prefixes.some((prefix) => tensor.startsWith(prefix)));
  // Some tools leave names of LoRAs in the checkpoints that they merged them into.
  if (has([UNET]) && REST.every(has)) return "checkpoint";
  if (tensors.some((tensor) => LORA.test(tensor))) return "lora";
  if (tensors.length > 0 && tensors.every((tensor) => EMBEDDING.test(tensor))) return "embedding";
  if (!has([UNET])) return "part";
  const lack = "it lacks the text encoder or the VAE";
  throw new EaselError(
    "not_a_model_file",
    `${name} is only a part of a model: ${lack}. Get the whole checkpoint`,
  );
}

/** The sentence for a file that is no checkpoint, where only that will do. */
export function notACheckpoint(name: string, kind: Exclude<WeightsKind, "checkpoint">): EaselError {
  const what = {
    lora: "is a LoRA, which changes a model and is none itself: open a model first",
    embedding:
      "is a textual inversion, which adds words to a model and is none itself: it cannot be used yet",
    part: "holds the weights of one network, not a whole model: give the model's whole folder, or a checkpoint",
  };
  return new EaselError("not_a_model_file", `${name} ${what[kind]}`);
}

/** Throws for a plan of a single file that is not what it is planned as, before the rest of it is fetched. */
export async function checkWeights(provider: Provider, plan: Plan): Promise<void> {
  const file = plan.files.find(({ path }) => path === (plan.lora ?? plan.checkpoint));
  if (!file) return;
  const kind = await weightsKind(file.path, provider.open(plan, file));
  if (plan.lora !== undefined) {
    if (kind !== "lora") throw new EaselError("not_a_model_file", `${file.path} holds no LoRA`);
  } else if (kind !== "checkpoint") throw notACheckpoint(file.path, kind);
}

async function tensorNames(name: string, source: ByteSource): Promise<string[]> {
  const text = new TextDecoder().decode((await readHeader(name, source)).subarray(LENGTH_BYTES));
  try {
    const header: unknown = JSON.parse(text);
    if (typeof header === "object" && header !== null) {
      return Object.keys(header).filter((key) => key !== "__metadata__");
    }
  } catch {
    // Said below.
  }
  const reason = "its header is not a JSON object";
  throw new EaselError("bad_safetensors", `${name} is damaged or not a safetensors file: ${reason}`);
}
