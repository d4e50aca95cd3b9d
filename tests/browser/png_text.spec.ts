// What PNG files say of how they were made: written by this program, and read from the ways of others.
import { readFileSync } from "node:fs";
import { deflateSync } from "node:zlib";
import { expect, test } from "@playwright/test";
import { formatInfotext, parseInfotext } from "../../www/src/shared/infotext.ts";
import { pictureSettings } from "../../www/src/shared/picture_settings.ts";
import { chunkOf } from "../../www/src/shared/png_chunks.ts";
import { LARGEST_TEXTS, readPng, textChunk, withText } from "../../www/src/shared/png_text.ts";
import { fromFragment, type Settings, toFragment } from "../../www/src/shared/settings.ts";

/** Shared with the test of the command line. */
interface Case {
  name: string;
  settings: Settings;
  version: string;
  text: string;
  chunk: "tEXt" | "iTXt";
}
const CASES: Case[] = JSON.parse(readFileSync(new URL("../infotexts.json", import.meta.url), "utf8"));

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10);

/** A picture of one pixel with chunks before its end. */
function png(...chunks: Uint8Array<ArrayBuffer>[]): Blob {
  const header = Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0);
  const pixels = new Uint8Array(deflateSync(Uint8Array.of(0, 1, 2, 3)));
  const end = chunkOf("IEND", new Uint8Array());
  return new Blob([SIGNATURE, chunkOf("IHDR", header), chunkOf("IDAT", pixels), ...chunks, end]);
}

const bytes = (text: string) => new Uint8Array(Buffer.from(text, "utf8"));
const latin1 = (text: string) => new Uint8Array(Buffer.from(text, "latin1"));
const packed = (text: string) => new Uint8Array(deflateSync(Buffer.from(text, "utf8")));
const join = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts));

for (const { name, settings, version, text, chunk } of CASES) {
  test(`${name}: as text, in a file and back`, async () => {
    expect(formatInfotext(settings, version)).toBe(text);
    const { settings: read } = parseInfotext(text);
    // Without a strength or a prompt none is written.
    expect({ prompt: "", negative_prompt: "", ...read }).toEqual({
      prompt: "",
      negative_prompt: "",
      ...settings,
    });
    const file = withText(png(), "parameters", text);
    expect(Buffer.from(await file.arrayBuffer()).toString("latin1", 37, 41)).toBe(chunk);
    expect(await readPng(file)).toEqual({
      width: 1,
      height: 1,
      texts: [{ keyword: "parameters", text }],
      skipped: 0,
    });
  });
}

for (const { name, text, settings } of [
  {
    name: "of the web UI 1.4",
    text: "a (red:1.2) apple, <lora:x:1>\nsecond line\nNegative prompt: bad, worse\nworst\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 965400086, Size: 512x768, Model hash: 45dee52b, Model: v1-5",
    settings: {
      prompt: "a (red:1.2) apple, <lora:x:1>\nsecond line",
      negative_prompt: "bad, worse\nworst",
      steps: 20,
      sampler: "dpmpp-2m-karras",
      guidance_scale: 7.5,
      seed: 965400086,
      width: 512,
      height: 768,
      model: "v1-5",
    },
  },
  {
    name: "of Forge, with quoted values",
    text: 'p\nSteps: 4, Sampler: Euler a, Schedule type: Automatic, CFG scale: 1, Seed: 7, Size: 64x64, Lora hashes: "a: 1, b: 2", Denoising strength: 0.4, Version: f2.0.1',
    settings: {
      prompt: "p",
      negative_prompt: "",
      steps: 4,
      sampler: "euler-a",
      guidance_scale: 1,
      seed: 7,
      width: 64,
      height: 64,
      strength: 0.4,
    },
  },
  {
    name: "of two pairs, which are a prompt",
    text: "Steps: 4, Seed: 1",
    settings: { prompt: "Steps: 4, Seed: 1", negative_prompt: "" },
  },
  {
    name: "with values out of bounds",
    text: "p\nSteps: 1000000, Sampler: Restart, CFG scale: -1, Seed: 1e30, Size: 99999x1, Denoising strength: nan",
    settings: { prompt: "p", negative_prompt: "" },
  },
]) {
  test(`a text ${name}`, () => expect(parseInfotext(text).settings).toEqual(settings));
}

test("a text with clip skip lacks it", () => {
  const text = (skip: number) => `p\nSteps: 4, Sampler: Heun, CFG scale: 1, Seed: 7, Clip skip: ${skip}`;
  expect(parseInfotext(text(2)).lacks).toBe("the sampler “Heun” and clip skip");
  expect(parseInfotext(text(1)).lacks).toBe("the sampler “Heun”");
});

for (const { sampler, schedule, own, lacks } of [
  { sampler: "Euler", schedule: "Automatic", own: "euler" },
  { sampler: "DPM++ 2M", schedule: "Karras", own: "dpmpp-2m-karras" },
  { sampler: "DPM++ 2M", schedule: "Exponential", own: "dpmpp-2m", lacks: "Exponential" },
  { sampler: "Euler", schedule: "Karras", own: "euler", lacks: "Karras" },
  { sampler: "DPM++ 2M SDE", schedule: "Karras", own: undefined, lacks: "DPM++ 2M SDE" },
]) {
  test(`${sampler} with the schedule ${schedule} is ${own} and lacks ${lacks}`, () => {
    const text = `p\nSteps: 4, Sampler: ${sampler}, Schedule type: ${schedule}, CFG scale: 1, Seed: 7`;
    const found = parseInfotext(text);
    expect(found.settings.sampler).toBe(own);
    if (lacks) expect(found.lacks).toContain(`“${lacks}”`);
    else expect(found.lacks).toBeUndefined();
  });
}

const COMFY = {
  "3": {
    class_type: "KSampler",
    inputs: {
      seed: 42,
      steps: 25,
      cfg: 6,
      sampler_name: "dpmpp_2m",
      scheduler: "karras",
      denoise: 1,
      model: ["10", 0],
      positive: ["12", 0],
      negative: ["12", 1],
      latent_image: ["5", 0],
    },
  },
  "4": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "model.safetensors" } },
  "5": { class_type: "EmptyLatentImage", inputs: { width: 512, height: 640, batch_size: 1 } },
  "6": { class_type: "CLIPTextEncode", inputs: { text: ["11", 0], clip: ["4", 1] } },
  "7": { class_type: "CLIPTextEncode", inputs: { text: "blurry", clip: ["4", 1] } },
  "10": { class_type: "LoraLoader", inputs: { lora_name: "x", model: ["4", 0] } },
  "11": { class_type: "PrimitiveString", inputs: { value: "a fox" } },
  "12": {
    class_type: "ControlNetApplyAdvanced",
    inputs: { strength: 1, positive: ["6", 0], negative: ["7", 0] },
  },
  "13": { class_type: "Loop", inputs: { is_changed: "NAN" } },
};
const FOUND = { prompt: "a fox", negative_prompt: "blurry", steps: 25, seed: 42, width: 512, height: 640 };
const WORKFLOW = {
  nodes: [
    {
      id: 3,
      type: "KSampler",
      widgets_values: [42, "randomize", 25, 6, "dpmpp_2m", "karras", 1],
      inputs: [
        { name: "positive", link: 1 },
        { name: "negative", link: 2 },
        { name: "latent_image", link: 3 },
      ],
    },
    { id: 6, type: "CLIPTextEncode", widgets_values: ["a fox"] },
    { id: 7, type: "CLIPTextEncode", widgets_values: ["blurry"] },
    { id: 5, type: "EmptyLatentImage", widgets_values: [512, 640, 1] },
  ],
  links: [
    [1, 6, 0, 3, 1, "CONDITIONING"],
    [2, 7, 0, 3, 2, "CONDITIONING"],
    [3, 5, 0, 3, 3, "LATENT"],
  ],
};
const FOOOCUS = {
  prompt: "a fox",
  negative_prompt: "blurry",
  steps: 25,
  guidance_scale: 4,
  sampler: "euler_ancestral",
  scheduler: "normal",
  seed: "42",
  resolution: "(512, 640)",
  base_model: "juggernaut",
};
const INVOKE = {
  positive_prompt: "a fox",
  negative_prompt: "blurry",
  steps: 25,
  cfg_scale: 7,
  scheduler: "dpmpp_2m_k",
  seed: 42,
  width: 512,
  height: 640,
  model: { name: "sd-1.5", key: "x" },
};
const DRAW_THINGS = JSON.stringify({
  c: "a fox",
  uc: "blurry",
  steps: 25,
  scale: 5,
  seed: 42,
  size: "512x640",
  sampler: "Euler Ancestral",
  model: "m.ckpt",
  strength: 1,
}).replaceAll('"', "&quot;");

for (const { tool, keyword, text, more } of [
  {
    tool: "ComfyUI",
    keyword: "prompt",
    text: JSON.stringify(COMFY).replace('"NAN"', "[NaN]"),
    more: { guidance_scale: 6, sampler: "dpmpp-2m-karras", model: "model.safetensors" },
  },
  {
    tool: "ComfyUI",
    keyword: "workflow",
    text: JSON.stringify(WORKFLOW),
    more: { guidance_scale: 6, sampler: "dpmpp-2m-karras" },
  },
  {
    tool: "Fooocus",
    keyword: "parameters",
    text: JSON.stringify(FOOOCUS),
    more: { guidance_scale: 4, sampler: "euler-a", model: "juggernaut" },
  },
  {
    tool: "InvokeAI",
    keyword: "invokeai_metadata",
    text: JSON.stringify(INVOKE),
    more: { guidance_scale: 7, sampler: "dpmpp-2m-karras", model: "sd-1.5" },
  },
  {
    tool: "Draw Things",
    keyword: "XML:com.adobe.xmp",
    text: `<x:xmpmeta><exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">${DRAW_THINGS}</rdf:li></rdf:Alt></exif:UserComment></x:xmpmeta>`,
    more: { guidance_scale: 5, sampler: "euler-a", model: "m.ckpt" },
  },
]) {
  test(`the ${keyword} of ${tool}`, async () => {
    const found = await readPng(png(textChunk(keyword, text)));
    const settings = pictureSettings(found?.texts ?? []);
    expect(settings?.tool).toBe(tool);
    expect(settings?.settings).toEqual({ ...FOUND, ...more });
  });
}

for (const { name, chunk, text } of [
  { name: "UTF-8 where Latin-1 belongs", chunk: chunkOf("tEXt", bytes("k\0é🦊")), text: "é🦊" },
  { name: "Latin-1", chunk: chunkOf("tEXt", latin1("k\0é")), text: "é" },
  { name: "a packed text", chunk: chunkOf("zTXt", join(bytes("k\0\0"), packed("text"))), text: "text" },
  {
    name: "a packed international text",
    chunk: chunkOf("iTXt", join(bytes("k\0\x01\0en\0schl\0"), packed("é🦊"))),
    text: "é🦊",
  },
]) {
  test(`${name} is read`, async () =>
    expect((await readPng(png(chunk)))?.texts).toEqual([{ keyword: "k", text }]));
}

const damaged = textChunk("parameters", "text");
damaged[12] = 0;
for (const { name, chunk } of [
  { name: "a text with a wrong checksum", chunk: damaged },
  {
    name: "a packed text that is larger than all may be",
    chunk: chunkOf("zTXt", join(bytes("k\0\0"), packed("x".repeat(LARGEST_TEXTS + 1)))),
  },
  { name: "a text that is larger than all may be", chunk: textChunk("k", "x".repeat(LARGEST_TEXTS)) },
  { name: "a packed text that is damaged", chunk: chunkOf("zTXt", bytes("k\0\0nonsense")) },
  { name: "a text of an unknown packing", chunk: chunkOf("zTXt", join(bytes("k\0\x07"), packed("text"))) },
  { name: "a text without a keyword", chunk: chunkOf("tEXt", bytes("text")) },
  { name: "an international text that ends early", chunk: chunkOf("iTXt", bytes("k\0\0\0")) },
]) {
  test(`${name} is passed over, and the next is read`, async () => {
    const found = await readPng(png(chunk, textChunk("parameters", "next")));
    expect(found).toMatchObject({ skipped: 1, texts: [{ keyword: "parameters", text: "next" }] });
  });
}

test("files that are no PNG, or end early, are no fault", async () => {
  expect(await readPng(new Blob([]))).toBeUndefined();
  expect(await readPng(new Blob([bytes("GIF89a and so on and so on and so on")]))).toBeUndefined();
  const whole = png(textChunk("parameters", "text"));
  for (let end = 0; end < whole.size; end += 1) {
    const { texts = [] } = (await readPng(whole.slice(0, end))) ?? {};
    expect(texts.every(({ text }) => text === "text")).toBe(true);
  }
  const endless = Uint8Array.of(0xff, 0xff, 0xff, 0xff, ...bytes("tEXtparameters"));
  expect(await readPng(png(endless))).toMatchObject({ texts: [], skipped: 0 });
});

for (const text of [
  `${"a, ".repeat(100_000)}\n${"a".repeat(1_000_000)}`,
  `p\n${" ".repeat(1_000_000)}`,
  `p\n${'aa: "x,'.repeat(100_000)}`,
  `p\n${"Steps: ".repeat(100_000)}`,
  `{${'"a":['.repeat(100_000)}`,
]) {
  test(`a hostile text is read at once: ${text.slice(0, 20)}…`, () => {
    // What takes quadratic time takes minutes, and the test's time is over.
    const keywords = ["parameters", "prompt", "XML:com.adobe.xmp"];
    const found = keywords.map((keyword) => pictureSettings([{ keyword, text }])?.settings.steps);
    expect(found).toEqual([undefined, undefined, undefined]);
  });
}

test("a graph that turns in a circle ends", () => {
  const text = '{"1":{"class_type":"KSampler","inputs":{"steps":["1",0],"cfg":1,"positive":["1",0]}}}';
  expect(pictureSettings([{ keyword: "prompt", text }])?.settings).toEqual({ guidance_scale: 1 });
});

test("a link holds what settings hold, and strength is none of it", () => {
  const settings: Settings = {
    prompt: "a (red:1.2) fox & 100 %\n🦊 <b>",
    negative_prompt: "",
    steps: 8,
    guidance_scale: 4.5,
    sampler: "euler-a",
    seed: 2 ** 40,
    width: 64,
    height: 128,
    model: "owner/name",
  };
  expect(fromFragment(`#${toFragment({ ...settings, strength: 0.5 })}`)).toEqual(settings);
});

for (const { fragment, settings } of [
  { fragment: "", settings: {} },
  { fragment: "#%", settings: {} },
  { fragment: "#steps=0&seed=-1&width=7&height=1e9&guidance_scale=Infinity&sampler=<b>", settings: {} },
  { fragment: "#steps=8.5&seed=0x10&width= 64&__proto__=1&strength=0.5", settings: { width: 64 } },
  { fragment: `#seed=1&prompt=${"a".repeat(100_000)}`, settings: {} },
  { fragment: `#prompt=${"a".repeat(30_000)}`, settings: { prompt: "a".repeat(20_000) } },
  { fragment: "#prompt=a%00b%ED%A0%80", settings: { prompt: "ab\ufffd\ufffd\ufffd" } },
]) {
  test(`the fragment ${fragment.slice(0, 80)}`, () => expect(fromFragment(fragment)).toEqual(settings));
}
