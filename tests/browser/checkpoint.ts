// A small checkpoint in one file that the engine can draw with: the shape of Stable Diffusion 1, noise for numbers.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Entry, headerBytes, safetensors, type Tensor } from "./safetensors.ts";

const GOLDENS = fileURLToPath(new URL("../goldens", import.meta.url));
/** Tokens of CLIP, whose merges checkpoints are read with. */
const VOCABULARY = 49_408;
const FILES = {
  text_encoder: "model.safetensors",
  unet: "diffusion_pytorch_model.safetensors",
  vae: "diffusion_pytorch_model.safetensors",
};
/** The golden model is narrower than what checkpoints are taken for: 32 groups of channels, heads of 64. */
const WIDER = 4;
const NARROWEST = 8;
/** Sizes that are not widths: positions, and the channels of latents, twice. */
const POSITIONS = 77;
const LATENTS = /quant_conv\.|encoder\.conv_out\./;

type Shapes = Map<string, number[]>;

/** The golden model as a checkpoint, which is packed but not drawn with; tensors are in an order that `random` draws. */
export function goldenCheckpoint(random: () => number): Buffer {
  const tensors = new Map<string, { entry: Entry; bytes: Buffer }>();
  for (const [part, file] of Object.entries(FILES)) {
    const bytes = readFileSync(`${GOLDENS}/models/sd1/${part}/${file}`);
    const start = 8 + Number(bytes.readBigUInt64LE(0));
    for (const [name, entry] of Object.entries<Entry>(JSON.parse(`${bytes.subarray(8, start)}`))) {
      if (name === "__metadata__") continue;
      const [from, to] = entry.data_offsets;
      tensors.set(`${part}/${name}`, { entry, bytes: bytes.subarray(start + from, start + to) });
    }
  }
  const noise = Buffer.from(Array.from({ length: 3000 }, () => Math.floor(256 * random())));
  const others = ["alphas_cumprod", "model_ema.x", "zeta"].map((name) => `${name} copy ${name}`);
  for (const name of ["alphas_cumprod", "model_ema.x", "zeta"])
    tensors.set(name, { entry: { dtype: "F16", shape: [1500], data_offsets: [0, 0] }, bytes: noise });
  const recipe = readFileSync(`${GOLDENS}/single_files/sd1.recipe`, "utf8").trim().split("\n");
  const lines = [...recipe, ...others].map((line) => ({ line, place: random() }));
  const placed = lines
    .sort((a, b) => a.place - b.place)
    .flatMap(({ line }): Tensor[] => {
      const [name = "", how, source = ""] = line.split(" ");
      const { entry, bytes } = tensors.get(source) ?? {};
      if (!entry || !bytes) return [];
      const shape = how === "convolution" ? [...entry.shape, 1, 1] : entry.shape;
      return [{ name, dtype: entry.dtype, shape, bytes }];
    });
  return safetensors(placed);
}

/** Shapes of the golden model, as `part/name`. */
function goldenShapes(): Shapes {
  return new Map(
    Object.entries(FILES).flatMap(([part, file]) => {
      const bytes = readFileSync(`${GOLDENS}/models/sd1/${part}/${file}`);
      const header = JSON.parse(`${bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0)))}`);
      return Object.entries<{ shape: number[] }>(header)
        .filter(([name]) => name !== "__metadata__" && !name.endsWith("position_ids"))
        .map(
          ([name, { shape }]) => [`${part}/${name}`, shape.map((_, at) => width(name, shape, at))] as const,
        );
    }),
  );
}

function width(name: string, shape: number[], at: number): number {
  const size = shape[at] ?? 0;
  if (at === 0 && name.endsWith("token_embedding.weight")) return VOCABULARY;
  if (size < NARROWEST || size === POSITIONS || (size === NARROWEST && LATENTS.test(name))) return size;
  return WIDER * size;
}

/** The file. Its numbers are halves of a size between 2^-6 and 2^-5. */
export function checkpoint(): Buffer {
  const shapes = goldenShapes();
  const entries: Record<string, Entry> = {};
  let size = 0;
  for (const line of readFileSync(`${GOLDENS}/single_files/sd1.recipe`, "utf8").trim().split("\n")) {
    const [name = "", how, source = ""] = line.split(" ");
    const shape = shapes.get(source);
    if (!shape) continue;
    const end = size + 2 * shape.reduce((product, length) => product * length, 1);
    entries[name] = {
      dtype: "F16",
      shape: how === "convolution" ? [...shape, 1, 1] : shape,
      data_offsets: [size, end],
    };
    size = end;
  }
  const header = headerBytes(entries);
  const file = Buffer.concat([header, Buffer.alloc(size)]);
  for (let at = header.length, state = 1; at < file.length; at += 2) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    file.writeUInt16LE(0x2400 | (state >>> 22) | ((state >>> 6) & 0x8000), at);
  }
  return file;
}
