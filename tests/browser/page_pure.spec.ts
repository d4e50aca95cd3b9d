// Functions of the page's controls that need no page.
import { expect, test } from "@playwright/test";
import { explanationOf, factsOf } from "../../www/src/app/process/moments.ts";
import { hasStyle, stylesFor, withoutStyle, withStyle } from "../../www/src/app/prompt/styles.ts";
import { reweigh } from "../../www/src/app/prompt/weights.ts";
import { presetsOf } from "../../www/src/app/settings/presets.ts";
import { SHAPES, sizeOf } from "../../www/src/app/settings/sizes.ts";
import { animatedPng } from "../../www/src/shared/animated_png.ts";
import { StagePace, TransferPace } from "../../www/src/shared/pace.ts";
import { readChunks, writeChunks } from "../../www/src/shared/png_chunks.ts";

/** Where `|` stands, the selection begins and ends; one `|` is a cursor. */
function marked(text: string): { text: string; start: number; end: number } {
  const start = text.indexOf("|");
  const end = text.lastIndexOf("|");
  return { text: text.replaceAll("|", ""), start, end: end === start ? end : end - 1 };
}

for (const [before, change, after] of [
  ["a |red| apple", 0.1, "a (|red|:1.1) apple"],
  ["a (|red|:1.1) apple", 0.1, "a (|red|:1.2) apple"],
  ["a (|red|:1.1) apple", -0.1, "a |red| apple"],
  ["a |red| apple", -0.1, "a (|red|:0.9) apple"],
  ["a re|d, apple", 0.1, "a (|red|:1.1), apple"],
  ["a (red ap|ple:1.3)", 0.1, "a (|red apple|:1.4)"],
  ["|(red apple:1.3)|", 0.1, "(|red apple|:1.4)"],
  ["(red |apple|:1.3)", 0.1, "(red (|apple|:1.1):1.3)"],
  ["a (|red|) apple", 0.1, "a (|red|:1.2) apple"],
  ["a |red |apple", 0.1, "a (|red|:1.1) apple"],
  ["(|red|:2)", 0.1, "(|red|:2)"],
  ["(|red|:0.1)", -0.1, "(|red|:0.1)"],
  ["(|red|:3)", 0.1, "(|red|:3)"],
  ["(|red|:3)", -0.1, "(|red|:2)"],
  ["(|red|:-0.5)", -0.1, "(|red|:-0.5)"],
  ["(|red|:-0.5)", 0.1, "(|red|:0.1)"],
  ["(|red|:+.5)", 0.1, "(|red|:0.6)"],
  ["<lora:fo|x:0.8> red", 0.1, "<lora:fo|x:0.8> red"],
  ["<lora:fox|:0.8> red|", 0.1, "<lora:fox|:0.8> red|"],
  ["|<lora:fox:0.8> red|", 0.1, "(|<lora:fox:0.8> red|:1.1)"],
  ["a \\(re|d\\) b", 0.1, "a \\((|red|:1.1)\\) b"],
  ["a |(red| b)", 0.1, "a |(red| b)"],
  ["a  | b", 0.1, "a  | b"],
  ["|", 0.1, "|"],
] as const) {
  test(`"${before}" weighed by ${change} is "${after}"`, () => {
    const { text, start, end } = reweigh(marked(before), change);
    const shown = `${text.slice(0, start)}|${text.slice(start, end)}${start === end ? "" : "|"}${text.slice(end)}`;
    expect(shown).toBe(after);
  });
}

test("styles come and go and leave the rest of a prompt alone", () => {
  for (const bundled of [true, false]) {
    const { styles } = stylesFor(bundled);
    for (const style of styles) {
      const prompt = withStyle("a red apple", style, []);
      expect([prompt.startsWith("a red apple"), hasStyle(prompt, style)]).toEqual([true, true]);
      expect(withoutStyle(prompt, style)).toBe("a red apple");
      expect(styles.filter((other) => hasStyle(prompt, other))).toEqual([style]);
    }
  }
});

const INFO = {
  pipeline: "StableDiffusionPipeline",
  width: 512,
  height: 512,
  factor: 8,
  sampler: "ddim",
  samplers: ["ddim", "pndm", "lcm", "dpmpp-2m"].map((name) => ({ name, label: name })),
  steps: 20,
  guidance_scale: 7.5,
  token_limit: 75,
};

for (const { name, own, wanted } of [
  { name: "DDIM", own: {}, wanted: ["ddim 10 7.5", "ddim 20 7.5", "ddim 40 7.5"] },
  { name: "PNDM", own: { sampler: "pndm" }, wanted: ["dpmpp-2m 12 7.5", "pndm 20 7.5", "pndm 40 7.5"] },
  {
    name: "LCM",
    own: { sampler: "lcm", steps: 4, guidance_scale: 1.5 },
    wanted: ["lcm 2 1.5", "lcm 4 1.5", "lcm 8 1.5"],
  },
  { name: "one step", own: { steps: 1, guidance_scale: 1 }, wanted: ["ddim 1 1", "ddim 1 1"] },
  {
    name: "few steps without guidance",
    own: { steps: 4, guidance_scale: 1 },
    wanted: ["ddim 2 1", "ddim 4 1"],
  },
]) {
  test(`presets of a model for ${name}`, () => {
    const presets = presetsOf({ ...INFO, ...own });
    expect(
      presets.map(({ sampler, steps, guidance_scale }) => `${sampler} ${steps} ${guidance_scale}`),
    ).toEqual(wanted);
  });
}

for (const { side, factor, wanted } of [
  { side: 64, factor: 16, wanted: "48x80 48x64 64x64 64x48 80x48" },
  { side: 512, factor: 8, wanted: "384x704 448x576 512x512 576x448 704x384" },
  { side: 1024, factor: 8, wanted: "768x1344 896x1216 1024x1024 1216x896 1344x768" },
]) {
  test(`shapes of a model for ${side} pixels a side`, () => {
    const info = { ...INFO, width: side, height: side, factor };
    const sizes = SHAPES.map((shape) => sizeOf(shape, info));
    expect(sizes.map(({ width, height }) => `${width}x${height}`).join(" ")).toBe(wanted);
  });
}

const PARAMS = {
  prompt: "<b>a</b> star\n of gold",
  negative_prompt: "",
  steps: 20,
  guidance_scale: 4,
  sampler: "ddim",
  seed: 7,
  width: 64,
  height: 64,
};

test("moments are explained with the prompt's own words", () => {
  const step = (index: number) =>
    ({ kind: "step", index, total: 20, timestep: 539.6, sigma: 3.1234 }) as const;
  expect(factsOf(step(7), PARAMS)).toBe("Step 7 of 20, sigma 3.1, time 540");
  expect(explanationOf(step(1), PARAMS)).toContain("“<b>a</b> star of gold”");
  expect(explanationOf(step(7), PARAMS)).toContain("large shapes and the colours settle");
  expect(explanationOf(step(17), PARAMS)).toContain("edges and details");
  expect(explanationOf({ kind: "noise" }, { ...PARAMS, prompt: " " })).toContain("a prompt without words");
  expect(explanationOf(step(7), { ...PARAMS, guidance_scale: 1 })).not.toContain("guidance");
  expect(explanationOf(step(1), { ...PARAMS, prompt: "🙂".repeat(999) }).length).toBeLessThan(400);
});

test("the time left of a transfer follows how fast it has been lately", () => {
  const pace = new TransferPace();
  expect(pace.secondsLeft(0, 1000, 0)).toBeUndefined();
  expect(pace.secondsLeft(100, 1000, 500)).toBeUndefined();
  expect(pace.secondsLeft(200, 1000, 2000)).toBeCloseTo(8);
  expect(pace.secondsLeft(300, 1000, 11_000)).toBeDefined();
  // The beginning is forgotten: 400 bytes came in the nine seconds since.
  expect(pace.secondsLeft(700, 1000, 20_000)).toBeCloseTo((300 / 400) * 9);
});

test("each stage has its own time left, and one of unknown length none", () => {
  const pace = new StagePace();
  pace.secondsLeft("weights", 0, 100, 0);
  expect(pace.secondsLeft("weights", 50, 100, 2000)).toBe(2);
  expect(pace.secondsLeft("drawing", 1, 10, 2100)).toBeUndefined();
  expect(pace.secondsLeft("drawing", 5, 10, 4100)).toBe(2.5);
  // A second picture: what the first one took says nothing of its beginning.
  expect(pace.secondsLeft("drawing", 1, 10, 5000)).toBeUndefined();
  expect(pace.secondsLeft("measuring", 1, 0, 9000)).toBeUndefined();
});

/** A PNG file of one pixel; only its chunks matter. */
function png(...types: string[]): Uint8Array {
  const header = new Uint8Array(13).fill(1);
  return writeChunks([
    { type: "IHDR", data: header },
    ...types.map((type) => ({ type, data: Uint8Array.of(1, 2, 3) })),
    { type: "IEND", data: new Uint8Array() },
  ]);
}

test("an animated PNG numbers its chunks without a gap, and shows its last frame where nothing moves", () => {
  const frames = [png("gAMA", "IDAT", "IDAT"), png("IDAT", "IDAT"), png("IDAT")];
  const file = animatedPng(frames.map((frame) => ({ png: frame, duration: 99_999 })));
  const chunks = readChunks(file) ?? [];
  const types = "IHDR acTL IDAT fcTL fdAT fdAT fcTL fdAT fdAT fcTL fdAT IEND";
  expect(chunks.map(({ type }) => type).join(" ")).toBe(types);
  const numbered = chunks.filter(({ type }) => type === "fcTL" || type === "fdAT");
  expect(numbered.map(({ data }) => data[3])).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect([...(numbered[0]?.data.subarray(20, 24) ?? [])]).toEqual([0xff, 0xff, 3, 232]);
});

test("frames that do not belong together are refused", () => {
  const other = png("IDAT");
  other[20] = 9;
  for (const frames of [
    [],
    [png()],
    [png("PLTE", "IDAT")],
    [png("IDAT"), other],
    [png("IDAT").subarray(0, 40)],
  ]) {
    expect(() => animatedPng(frames.map((frame) => ({ png: frame, duration: 1 })))).toThrow();
  }
});

test("chunks have the checksums of the specification", () => {
  // The end of every PNG file.
  const file = writeChunks([{ type: "IEND", data: new Uint8Array() }]);
  expect([...file.subarray(8)]).toEqual([0, 0, 0, 0, 73, 69, 78, 68, 0xae, 0x42, 0x60, 0x82]);
  expect(readChunks(Uint8Array.of(1, 2, 3))).toBeUndefined();
});
