// A model with the UNet of Stable Diffusion 1.5, or the beginning of it, in random halves: it is nowhere whole.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Entry, headerBytes } from "./safetensors.ts";
import { generator } from "./trials.ts";

const UNET = "unet/diffusion_pytorch_model.fp16.safetensors";
const TEXT_WIDTH = 768;
const CHANNELS = [320, 640, 1280, 1280];

type Tensor = [name: string, shape: number[]];

/** The tensors of the UNet, in the order of its layers. */
function unetTensors(): Tensor[] {
  const tensors: Tensor[] = [];
  const weight = (layer: string, shape: number[]) => tensors.push([`${layer}.weight`, shape]);
  const layer = (name: string, shape: number[]) => {
    weight(name, shape);
    tensors.push([`${name}.bias`, shape.slice(0, 1)]);
  };
  const resnet = (place: string, inputs: number, outputs: number) => {
    layer(`${place}.norm1`, [inputs]);
    layer(`${place}.conv1`, [outputs, inputs, 3, 3]);
    layer(`${place}.time_emb_proj`, [outputs, 1280]);
    layer(`${place}.norm2`, [outputs]);
    layer(`${place}.conv2`, [outputs, outputs, 3, 3]);
    if (inputs !== outputs) layer(`${place}.conv_shortcut`, [outputs, inputs, 1, 1]);
  };
  const transformer = (place: string, width: number) => {
    layer(`${place}.norm`, [width]);
    layer(`${place}.proj_in`, [width, width, 1, 1]);
    const block = `${place}.transformer_blocks.0`;
    for (const [name, keys] of [
      ["attn1", width],
      ["attn2", TEXT_WIDTH],
    ] as const) {
      weight(`${block}.${name}.to_q`, [width, width]);
      weight(`${block}.${name}.to_k`, [width, keys]);
      weight(`${block}.${name}.to_v`, [width, keys]);
      layer(`${block}.${name}.to_out.0`, [width, width]);
    }
    layer(`${block}.ff.net.0.proj`, [8 * width, width]);
    layer(`${block}.ff.net.2`, [width, 4 * width]);
    for (const norm of ["norm1", "norm2", "norm3"]) layer(`${block}.${norm}`, [width]);
    layer(`${place}.proj_out`, [width, width, 1, 1]);
  };
  layer("conv_in", [320, 4, 3, 3]);
  layer("time_embedding.linear_1", [1280, 320]);
  layer("time_embedding.linear_2", [1280, 1280]);
  const skips = [320];
  let width = 320;
  for (const [i, outputs] of CHANNELS.entries()) {
    for (const j of [0, 1]) {
      resnet(`down_blocks.${i}.resnets.${j}`, width, outputs);
      width = outputs;
      if (i < 3) transformer(`down_blocks.${i}.attentions.${j}`, width);
      skips.push(width);
    }
    if (i === 3) continue;
    layer(`down_blocks.${i}.downsamplers.0.conv`, [width, width, 3, 3]);
    skips.push(width);
  }
  resnet("mid_block.resnets.0", width, width);
  transformer("mid_block.attentions.0", width);
  resnet("mid_block.resnets.1", width, width);
  for (const [i, outputs] of CHANNELS.toReversed().entries()) {
    for (const j of [0, 1, 2]) {
      resnet(`up_blocks.${i}.resnets.${j}`, width + (skips.pop() ?? 0), outputs);
      width = outputs;
      if (i > 0) transformer(`up_blocks.${i}.attentions.${j}`, width);
    }
    if (i < 3) layer(`up_blocks.${i}.upsamplers.0.conv`, [width, width, 3, 3]);
  }
  layer("conv_norm_out", [320]);
  layer("conv_out", [4, 320, 3, 3]);
  return tensors;
}

/** Length field and JSON for the first tensors of the UNet, about `most` bytes of them, and how many bytes they have. */
function headerOf(most: number): { header: Buffer; bytes: number } {
  const entries: Record<string, Entry> = {};
  let at = 0;
  for (const [name, shape] of unetTensors()) {
    if (at >= most) break;
    const end = at + 2 * shape.reduce((product, side) => product * side, 1);
    entries[name] = { dtype: "F16", shape, data_offsets: [at, end] };
    at = end;
  }
  return { header: headerBytes(entries), bytes: at };
}

/** Halves of about 0.01 to 1 and their negatives, which repeat after a MiB. */
function noise(): Buffer {
  const random = generator(1);
  const pattern = Buffer.alloc(1 << 20);
  for (let at = 0; at < pattern.length; at += 2)
    pattern.writeUInt16LE(0x2000 + Math.floor(0x1c00 * random()) + (random() < 0.5 ? 0x8000 : 0), at);
  return pattern;
}

/** Serves about `mib` MiB of the model to every origin, with or without its hash; `size` is that of its weights file. */
export async function serveLargeModel(
  mib: number,
  tellsHash: boolean,
): Promise<{ address: string; close: () => void; size: number }> {
  const { header, bytes } = headerOf(mib * 2 ** 20);
  const size = header.length + bytes;
  const pattern = noise();
  const pieces = function* (start: number, end: number) {
    for (let at = start; at < end; ) {
      const inside = (at - header.length) % pattern.length;
      const piece =
        at < header.length ? header.subarray(at, end) : pattern.subarray(inside, inside + end - at);
      at += piece.length;
      yield piece;
    }
  };
  const hash = createHash("sha256");
  if (tellsHash) for (const piece of pieces(0, size)) hash.update(piece);
  const linked = tellsHash ? { "X-Linked-ETag": `"${hash.digest("hex")}"` } : {};
  const texts = new Map([
    ["/model_index.json", JSON.stringify({ unet: ["diffusers", "UNet2DConditionModel"] })],
    ["/unet/config.json", "{}"],
  ]);
  const server = createServer(async (request, response) => {
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Access-Control-Expose-Headers", "Content-Range, X-Linked-ETag");
    response.on("error", () => {});
    const text = texts.get(request.url ?? "");
    if (text !== undefined) return void response.end(text);
    if (request.url !== `/${UNET}`) return void response.writeHead(404).end();
    const [, from = "0", last = `${size - 1}`] =
      /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    const [start, end] = [Number(from), Number(last) + 1];
    response.writeHead(206, {
      "Content-Length": end - start,
      "Content-Range": `bytes ${start}-${end - 1}/${size}`,
      ...linked,
    });
    // A tab that goes away is no fault of the host's.
    await pipeline(Readable.from(pieces(start, end)), response).catch(() => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
  const address = `http://localhost:${(server.address() as AddressInfo).port}/`;
  return { address, size, close: () => server.close() };
}
